"""The front door: select() and score()."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyal.arrays import as_numpy, first_few, generator, n_jobs_checked
from pyal.pool import Pool, make_pool, why_no_candidates
from pyal.strategies.registry import Strategy, check_options, find, list_strategies


def select(
    X: Any,
    y: Any = None,
    *,
    strategy: str | Callable[..., Any] = "typiclust",
    batch_size: int = 1,
    labeled: Any = None,
    candidates: Any = None,
    proba: Any = None,
    features: Any = None,
    metric: str = "euclidean",
    random_state: Any = None,
    device: Any = None,
    n_jobs: int | None = None,
    **options: Any,
) -> NDArray[np.int64]:
    """Positions in X of the rows to label next: int64, distinct, in the order picked, never labelled.

    X: (N, d) embeddings: NumPy, memmap, torch, CuPy, anything with DLPack, or the path of a .npy file.
    y: (N,) labels with holes: NaN, None, pd.NA, masked, or -1 in an integer array means "not labelled".
    strategy: a name out of `pyal.list_strategies()`, or a callable f(pool, batch_size, *, rng, **options).
    batch_size: how many; more than there are candidates gives all of them and a UserWarning.
    labeled: instead of y, positions or a boolean mask. candidates: positions or a boolean mask of what may be picked;
    default: all that is not labelled. With neither y nor labeled nothing is labelled.
    proba: (N, C) class probabilities, or (T, N, C) of T passes or committee members. features: (N, h) activations of
    the current classifier, for the strategies that use them. metric: "cosine" normalises the rows of X once on entry.
    random_state: None, int, Generator or RandomState (only drawn from). device: default where X lives; features follow.
    n_jobs: CPU threads, None for all. options: the strategy's own, see its docstring.

    The same random_state gives the same picks. Nothing is changed in place, no global random state is touched.
    Raises ValueError or TypeError, saying what came and what was wanted, for shapes that do not fit, NaN or infinite
    rows, zero rows with metric="cosine", no candidates, candidates that are labelled, an unknown strategy or option,
    and an input that the strategy needs and did not get. Memory: O(N) beyond X unless `pyal.list_strategies()` says
    otherwise; a normalised copy of X with metric="cosine".

    >>> select([[0.0], [1.0], [5.0]], labeled=[0], strategy="coreset", batch_size=2)
    array([2, 1])
    """
    name, function = _resolved(strategy, options, {"proba": proba, "features": features})
    wanted = _batch_size(batch_size)
    rng = generator(random_state)
    pool = make_pool(
        X,
        y,
        labeled=labeled,
        candidates=candidates,
        proba=proba,
        features=features,
        metric=metric,
        device=device,
        n_jobs=n_jobs_checked(n_jobs),
    )
    if wanted == 0:
        return np.empty(0, np.int64)
    _check_needs_once_labeled(strategy, pool)
    available = len(pool.candidates)
    if available == 0:
        raise ValueError(why_no_candidates(pool, y, candidates))
    if wanted > available:
        warnings.warn(
            f"batch_size={wanted} is more than the {available} candidates; all of them are returned",
            UserWarning,
            stacklevel=2,
        )
        wanted = available
    return _checked_picks(function(pool, wanted, rng=rng, **options), name, pool, wanted)


def score(
    X: Any,
    y: Any = None,
    *,
    strategy: str = "entropy",
    labeled: Any = None,
    candidates: Any = None,
    proba: Any = None,
    features: Any = None,
    metric: str = "euclidean",
    device: Any = None,
    n_jobs: int | None = None,
    **options: Any,
) -> NDArray[np.float64]:
    """(N,) scores of the rows, higher is picked first, NaN where a row is not a candidate.

    For the strategies that score rows one by one: least_confidence, margin, entropy. The arguments are those of
    `select`, and so are the errors; a strategy that picks rows jointly is a ValueError.

    >>> score([[0.0], [1.0]], strategy="least_confidence", proba=[[0.5, 0.5], [1.0, 0.0]])
    array([0.5, 0. ])
    """
    if callable(strategy):
        raise TypeError("strategy must be the name of a registered strategy for score(); got a callable")
    name, _ = _resolved(strategy, options, {"proba": proba, "features": features})
    scores = find(name).scores
    if scores is None:
        have = ", ".join(s.name for s in list_strategies() if s.scores is not None)
        raise ValueError(f"strategy {name!r} picks rows jointly and has no score per row; those that have: {have}")
    pool = make_pool(
        X,
        y,
        labeled=labeled,
        candidates=candidates,
        proba=proba,
        features=features,
        metric=metric,
        device=device,
        n_jobs=n_jobs_checked(n_jobs),
    )
    if not len(pool.candidates):
        raise ValueError(why_no_candidates(pool, y, candidates))
    found = np.asarray(scores(pool, **options), np.float64)
    return np.where(pool.is_candidate, found, np.nan)


def _resolved(strategy: Any, options: dict[str, Any], inputs: dict[str, Any]) -> tuple[str, Callable[..., Any]]:
    """Name and function of the strategy, its options and the inputs it needs checked."""
    entry: Strategy | None = None
    if isinstance(strategy, str):
        entry = find(strategy)
        name, function = entry.name, entry.function
    elif callable(strategy):
        name, function = getattr(strategy, "__name__", type(strategy).__name__), strategy
    else:
        raise TypeError(
            f"strategy must be a name or a callable f(pool, batch_size, *, rng, **options); "
            f"got {type(strategy).__name__}"
        )
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        pass  # a builtin without a signature: it says itself what it does not take
    else:
        check_options(name, function, options)
    for need in entry.needs if entry else ():
        if inputs.get(need) is None:
            raise ValueError(f"strategy {name!r} needs {need}=, which is missing")
    return name, function


def _check_needs_once_labeled(strategy: Any, pool: Pool) -> None:
    if not isinstance(strategy, str) or not len(pool.labeled):
        return
    entry = find(strategy)
    for need in entry.needs_once_labeled:
        if getattr(pool, need) is None:
            which = " (labeled= says which rows are labelled, not with what)" if need == "y" else ""
            raise ValueError(f"strategy {entry.name!r} needs {need}= once rows are labelled{which}")


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
    if len(array) != wanted:
        raise ValueError(f"strategy {name!r} must return {wanted} positions; it returned {len(array)}")
    outside = array[(array < 0) | (array >= pool.n)]
    wrong = outside if outside.size else array[~pool.is_candidate[array]]
    if wrong.size:
        raise ValueError(f"strategy {name!r} must return candidates; it returned {first_few(wrong)}")
    if len(np.unique(array)) != wanted:
        raise ValueError(f"strategy {name!r} must return distinct positions; it returned some more than once")
    return array.astype(np.int64)
