"""The front door: select() and score()."""

from __future__ import annotations

import dataclasses
import inspect
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, first_few, generator
from pyal.pool import Inputs, Pool
from pyal.rules import away_from
from pyal.strategies.registry import Strategy, list_strategies, resolved

Function = TypeVar("Function", bound=Callable[..., Any])


def _spelled_out(function: Function) -> Function:
    """The function, with the fields of `Inputs` shown in its signature where it takes them as **inputs_and_options."""
    own = inspect.signature(function)
    *first, _ = own.parameters.values()
    inputs = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in dataclasses.fields(Inputs)
        if f.name not in own.parameters
    ]
    options = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD, annotation="Any")
    function.__signature__ = own.replace(parameters=[*first, *inputs, options])  # type: ignore[attr-defined]
    return function


@_spelled_out
def select(
    X: Any,
    y: Any = None,
    *,
    strategy: str | Callable[..., Any] = "typiclust",
    batch_size: int = 1,
    random_state: Any = None,
    **inputs_and_options: Any,
) -> NDArray[np.int64]:
    """Positions in X of the rows to label next, (b,) int64: distinct, in the order picked, never labelled.

    X: (N, d) embeddings: NumPy, memmap, torch, CuPy, anything with DLPack, or the path of a .npy file.
    y: (N,) labels with holes. NaN, None, pd.NA, a masked entry, or -1 in an integer array means "not labelled".
    strategy: a name out of `pyal.list_strategies()`, or a callable f(pool, batch_size, *, rng, **options).
    batch_size: how many rows to pick. Where there are fewer candidates, all of them come back with a UserWarning.
    random_state: None, an int, a Generator or a RandomState. The last two are drawn from and so move on.
    labeled: positions or a boolean mask of the labelled rows, instead of y. With neither, nothing is labelled.
    candidates: positions or a boolean mask of what may be picked. None: all that is not labelled.
    proba: (N, C) class probabilities, or (T, N, C) of T stochastic passes or committee members; or their logarithms,
        which are exponentiated.
    features: (N, h) activations of the current classifier, for the strategies that use them; they go where X is.
    views: (V, N, d) embeddings of V augmented copies of every image, or a list of V arrays or paths, for the strategies
        that compare them.
    groups, max_per_group: (N,) numbers or text, such as the patient or video of each row, and how many rows of one
        group a batch may hold. Holes, as in y, belong to no group.
    min_distance: a Euclidean distance (not squared) between rows as the strategy takes them. No pick is nearer than
        that to another pick or to a labelled row.
    class_balance: True lets a batch hold at most so many rows of one predicted class as are needed to fill it, if all
        classes give as many. It needs proba.
    weights: (N,) what the rows count, not negative, for strategies that value rows one by one; the others refuse it,
        and `pyal strategies` says which take it.
    metric: "euclidean", or "cosine", which takes the rows of X at norm 1, without a copy. None: what the strategy's
        source does, which `pyal strategies NAME` says.
    device: "cpu", "cuda" or "cuda:1". None: where X lives.
    n_jobs: CPU threads. None: all that this process may use.
    options: the strategy's own; `pyal strategies NAME` explains them.

    groups, min_distance and class_balance are rules that hold with every strategy. Greedy strategies (badge, batchbald,
    cdal, coreset, dcom, falcun, kmeans_plus_plus, lcmd, lookahead, maxherding, ntkcpl, probcover, supclust, typiclust,
    uherding) pick as if a row that breaks a rule had not been a candidate at that pick, the others, coreset and badge
    in parts, and lookahead in one pass, take their next best. Where fewer rows than batch_size keep the rules, these
    come back with a UserWarning.

    The same random_state gives the same picks. Nothing is changed in place, and no global random state is touched.
    Memory: O(N) beyond X unless `pyal.list_strategies()` says otherwise.

    Raises ValueError or TypeError that says what came and what was wanted: for shapes that do not fit, NaN or infinite
    rows, zero rows where rows are taken at norm 1, no candidates, candidates that are labelled, an unknown strategy or
    option, and an input that the strategy needs and did not get.

    >>> select([[0.0], [1.0], [5.0]], labeled=[0], strategy="coreset", batch_size=2)
    array([2, 1])
    """
    inputs, options = Inputs.split(X, y, inputs_and_options)
    named = resolved(strategy, options)
    named.check_needs(inputs, options)
    wanted, rng = _batch_size(batch_size), generator(random_state)
    pool = inputs.pool(named.metric)
    if wanted == 0:
        return np.empty(0, np.int64)
    if not len(pool.candidates):
        raise ValueError(inputs.why_no_candidates(pool))
    return pick(pool, named, wanted, rng=rng, options=options)


@_spelled_out
def score(
    X: Any,
    y: Any = None,
    *,
    strategy: str = "entropy",
    **inputs_and_options: Any,
) -> NDArray[np.float64]:
    """Scores of the rows, (N,) float64: higher is picked first, and a row that is not a candidate has NaN.

    strategy: one that scores rows one by one, as margin does. For one that picks rows jointly a ValueError names those
        that score.

    All other arguments, and what is raised for them, are as for `select`; rules have no effect, as nothing is picked.

    >>> score([[0.0], [1.0]], strategy="least_confidence", proba=[[0.5, 0.5], [1.0, 0.0]])
    array([0.5, 0. ])
    """
    if callable(strategy):
        raise TypeError("strategy must be the name of a registered strategy for score(); got a callable")
    inputs, options = Inputs.split(X, y, inputs_and_options)
    named = resolved(strategy, options)
    named.check_needs(inputs, options)
    if named.scores is None:
        have = ", ".join(s.name for s in list_strategies() if s.scores is not None)
        raise ValueError(
            f"strategy {named.name!r} picks rows jointly and has no score per row; those that have: {have}"
        )
    pool = inputs.pool(named.metric)
    if not len(pool.candidates):
        raise ValueError(inputs.why_no_candidates(pool))
    found = np.asarray(named.scores(pool, **options), np.float64)
    return np.where(pool.is_candidate, found, np.nan)


def pick(
    pool: Pool,
    strategy: str | Strategy | Callable[..., Any],
    batch_size: int,
    *,
    rng: np.random.Generator,
    options: Mapping[str, Any],
) -> NDArray[np.int64]:
    """What `select` returns for a pool that is checked and has candidates; batch_size is at least 1.

    It raises and warns as `select` does: where the strategy lacks something, where fewer candidates are left than
    wanted, and where the strategy returns anything but that many distinct candidates.
    """
    named = resolved(strategy, options)
    named.check_needs(pool, options)
    if len(pool.labeled):
        named.check_needs_once_labeled(pool, options)
    available = len(pool.candidates)
    if batch_size > available and pool.rules is None:
        warnings.warn(
            f"batch_size={batch_size} is more than the {available} candidates; all of them are returned",
            UserWarning,
            stacklevel=3,
        )
    wanted = min(batch_size, available)

    def asked(pool: Pool, wanted: int) -> NDArray[np.int64]:
        return _checked_picks(named.function(pool, wanted, rng=rng, **options), named.name, pool, wanted)

    if pool.rules is None:
        return asked(pool, wanted)
    picks = _under_rules(pool, wanted, asked)
    if len(picks) < batch_size:
        warnings.warn(
            f"the rules leave {len(picks)} rows to pick, fewer than batch_size={batch_size}; these are returned",
            UserWarning,
            stacklevel=3,
        )
    return picks


def _under_rules(pool: Pool, batch_size: int, asked: Callable[[Pool, int], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Picks that keep the pool's rules; of a strategy that does not see to it, the next best stand in for the others.

    These are what it picks out of the candidates that are left, as if nothing had been picked before.
    """
    rules = pool.rules
    assert rules is not None
    away = away_from(pool.labeled, rules, pool.X, pool.candidates, n_jobs=pool.n_jobs)
    if not len(away):
        raise ValueError(
            f"min_distance={rules.min_distance:g} leaves no row to pick: all {len(pool.candidates)} candidates lie "
            "closer than that to a labelled row"
        )
    pool = dataclasses.replace(pool, candidates=away)
    batch_size = min(batch_size, len(away))
    upkeep = pool.upkeep(batch_size)
    picks = upkeep.take(asked(pool, batch_size), skip=True)
    while (left := batch_size - len(picks)) and len(upkeep.candidates):
        rest = dataclasses.replace(pool, candidates=upkeep.candidates, rules=None)
        picks = np.concatenate([picks, upkeep.take(asked(rest, min(left, rest.candidates.size)), skip=True)])
    return picks


def _batch_size(batch_size: Any) -> int:
    if isinstance(batch_size, (bool, np.bool_)):
        raise TypeError(f"batch_size must be an integer; got {batch_size!r}")
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(f"batch_size must be an integer; got {batch_size!r}") from None
    if size < 0:
        raise ValueError(f"batch_size must not be negative; got {size}")
    return size


def _checked_picks(picks: Any, name: str, pool: Pool, wanted: int) -> NDArray[np.int64]:
    """What a strategy returned as int64 positions, or an error that names the strategy."""
    array = as_numpy(picks, f"the result of strategy {name!r}")
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"strategy {name!r} must return 1-D integer positions; it returned shape {array.shape}, dtype {array.dtype}"
        )
    if len(array) != wanted and (pool.rules is None or len(array) > wanted):  # under rules there may be no more
        raise ValueError(f"strategy {name!r} must return {wanted} positions; it returned {len(array)}")
    outside = array[(array < 0) | (array >= pool.n)]
    wrong = outside if outside.size else array[~pool.is_candidate[array]]
    if wrong.size:
        raise ValueError(f"strategy {name!r} must return candidates; it returned {first_few(wrong)}")
    if len(np.unique(array)) != len(array):
        raise ValueError(f"strategy {name!r} must return distinct positions; it returned some more than once")
    return array.astype(np.int64)
