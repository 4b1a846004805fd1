"""The contract of select() and score(), line by line; what holds for every strategy is in test_strategies.py."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from data import blobs

import pyal
from pyal.arrays import as_numpy
from pyal.pool import Pool

X = blobs(60, 5)
P = np.random.default_rng(1).dirichlet(np.ones(4), 60)


def test_returns_positions():
    picks = pyal.select(X, batch_size=4, random_state=0)
    assert isinstance(picks, np.ndarray)
    assert picks.dtype == np.int64
    assert picks.shape == (4,) == np.unique(picks).shape
    assert pyal.select(X, random_state=0).shape == (1,)


@pytest.mark.parametrize("size", [0, np.int64(0)])
def test_batch_size_zero(size):
    picks = pyal.select(X, batch_size=size)
    assert picks.dtype == np.int64
    assert picks.shape == (0,)
    assert pyal.select(X, batch_size=0, labeled=np.ones(60, bool)).shape == (0,)


def test_batch_larger_than_the_candidates():
    with pytest.warns(UserWarning, match="batch_size=9 is more than the 3 candidates"):
        picks = pyal.select(X, strategy="random", batch_size=9, candidates=[5, 1, 7])
    assert sorted(picks) == [1, 5, 7]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyal.select(X, strategy="random", batch_size=3, candidates=[5, 1, 7])


@pytest.mark.parametrize(
    ("size", "error"), [(-1, ValueError), (1.0, TypeError), (True, TypeError), ("3", TypeError), (None, TypeError)]
)
def test_batch_sizes_that_are_none(size, error):
    with pytest.raises(error, match="batch_size must"):
        pyal.select(X, batch_size=size)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": np.zeros(60, bool)}, "candidates is empty"),
        ({"labeled": np.arange(60)}, "all 60 rows of X are labelled"),
        ({"y": ["a"] * 60}, "all 60 rows of X are labelled"),
        ({"y": np.full(60, -1.0)}, "-1 is a label; NaN marks a hole"),
    ],
)
def test_no_candidates(arguments, words):
    for ask in (pyal.select, lambda *a, **k: pyal.score(*a, strategy="margin", proba=P, **k)):
        with pytest.raises(ValueError, match=words):
            ask(X, **arguments)


def test_labelled_candidates_are_named():
    with pytest.raises(ValueError, match="these are labelled: 2, 4"):
        pyal.select(X, labeled=[2, 4, 9], candidates=[1, 2, 3, 4])


def test_y_or_labeled():
    y = np.full(60, np.nan)
    y[[3, 8]] = [0, -1]
    by_y = pyal.select(X, y, strategy="coreset", batch_size=5)
    mask = np.isin(np.arange(60), [3, 8])
    for labeled in ([8, 3], mask, mask.tolist()):
        np.testing.assert_array_equal(pyal.select(X, labeled=labeled, strategy="coreset", batch_size=5), by_y)
    np.testing.assert_array_equal(pyal.select(X, y, labeled=[3, 8], strategy="coreset", batch_size=5), by_y)
    with pytest.raises(TypeError, match=r"y and labeled disagree.*row 5: 3 by labeled, 2 by y"):
        pyal.select(X, y, labeled=[3, 5, 8])


def test_y_of_plus_and_minus_one_asks_for_labeled():
    y = np.where(np.arange(60) % 2, 1, -1)
    with pytest.raises(ValueError, match=r"ambiguous.*labeled="):
        pyal.select(X, y)
    picks = pyal.select(X, y, labeled=[0, 1], strategy="coreset", batch_size=58)
    assert sorted(picks) == list(range(2, 60))


def test_y_of_another_length():
    with pytest.raises(ValueError, match=r"y must hold one label or hole per row of X, shape \(60,\); got \(59,\)"):
        pyal.select(X, np.zeros(59))


def test_rows_that_are_not_finite_are_named():
    bad = X.copy()
    bad[7, 2], bad[11, 0] = np.nan, np.inf
    for strategy, proba in (("random", None), ("margin", P)):
        with pytest.raises(ValueError, match=r"X.*7, 11"):
            pyal.select(bad, strategy=strategy, proba=proba)
    with pytest.raises(ValueError, match=r"features.*7, 11"):
        pyal.select(X, strategy="badge", proba=P, features=bad)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("typiclst", "'typiclust'"),
        ("CoreSet", "'coreset'"),
        ("xyz", "known are activeft, "),
        ("least-confidence", "'least_confidence'"),
    ],
)
def test_unknown_strategies(name, close):
    with pytest.raises(ValueError, match=f"strategy {name!r} is unknown") as error:
        pyal.select(X, strategy=name)
    assert close in str(error.value)
    with pytest.raises(TypeError, match="strategy must be a name or a callable"):
        pyal.select(X, strategy=3)


def test_aliases():
    np.testing.assert_array_equal(
        pyal.select(X, strategy="k_center", labeled=[0], batch_size=3),
        pyal.select(X, strategy="coreset", labeled=[0], batch_size=3),
    )


def test_misspelt_options():
    message = "'coreset' has no option 'frist'; its options are first, cover_on, n_partitions; did you mean 'first'"
    with pytest.raises(TypeError, match=message):
        pyal.select(X, strategy="coreset", frist="norm")
    with pytest.raises(TypeError, match="'random' has no option 'first'; it has none"):
        pyal.select(X, strategy="random", first="norm")
    with pytest.raises(TypeError, match="'margin' has no option 'agregate'"):
        pyal.score(X, strategy="margin", proba=P, agregate="probs")


@pytest.mark.parametrize(
    ("strategy", "option", "words"),
    [
        ("typiclust", {"k_nn": "20"}, "'k_nn' of strategy 'typiclust' must be an integer; got '20'"),
        ("typiclust", {"k_nn": 2.5}, "must be an integer; got 2.5"),
        ("typiclust", {"squared": 1}, "must be True or False; got 1"),
        ("typiclust", {"k_nn": True}, "must be an integer; got True"),
        ("typiclust", {"k_nn": 0}, "k_nn must be at least 1"),
        ("typiclust", {"max_clusters": 0}, "max_clusters must be at least 1"),
        ("probcover", {"delta": "wide"}, "delta must be a positive distance, 'purity' or None; got 'wide'"),
        ("probcover", {"coverage": 0.0}, "coverage must lie in"),
        ("probcover", {"delta": 0}, "delta must be a positive"),
        ("probcover", {"exhausted": "stop"}, "exhausted must be"),
        ("probcover", {"top": 0}, "top must be at least 1"),
        ("probcover", {"alpha": 0.0}, "alpha must lie in"),
        ("probcover", {"n_classes": 61}, "n_classes must lie in 1 .. 60"),
        ("maxherding", {"bandwidth": -1}, "bandwidth must be a positive"),
        ("coreset", {"first": "last"}, "first must be"),
        ("supclust", {"fraction": 0.0}, "fraction must lie in"),
        ("supclust", {"temperature": 0.0}, "temperature must be positive"),
        ("badge", {"n_partitions": 0}, "n_partitions must be at least 1; got 0"),
        ("margin", {"aggregate": "mean"}, "aggregate must be"),
    ],
)
def test_options_of_a_wrong_kind_or_value(strategy, option, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pyal.select(X, strategy=strategy, proba=P, **option)


def test_missing_inputs_are_named():
    for strategy in ("margin", "badge"):
        with pytest.raises(ValueError, match=f"strategy '{strategy}' needs proba=, which is missing"):
            pyal.select(X, strategy=strategy)


@pytest.mark.parametrize(
    ("proba", "words"),
    [
        (P[:-1], r"one row per row of X, 60; got shape \(59, 4\)"),
        (P[:, 0], r"np.stack\(\[1 - p, p\]"),
        (P[:, :1] * 0 + 1, "at least 2 classes"),
        (2 * P, "must sum to 1 over the classes; row 0 sums to 2"),
        (np.log(P) - 1, "must not be negative; row 0"),
        (np.where(np.arange(60)[:, None] == 9, np.nan, P), "must be finite; row 9"),
        (P.astype(str), "must hold real numbers"),
        (np.stack([P, 2 * P]), "sum to 1"),
        (P[None, None], "must be"),
    ],
)
def test_proba_is_checked(proba, words):
    with pytest.raises((TypeError, ValueError), match=words) as error:
        pyal.select(X, strategy="margin", proba=proba)
    assert "proba" in str(error.value)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_proba_of_any_float_type(dtype):
    picks = pyal.select(X, strategy="margin", proba=P.astype(dtype), batch_size=3)
    np.testing.assert_array_equal(
        picks, pyal.select(X, strategy="margin", proba=P.astype(dtype).tolist(), batch_size=3)
    )


def test_views_are_checked():
    seen = []

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(pool)
        return pool.candidates[:batch_size]

    pyal.select(X, strategy=spy, views=np.stack([X, 2 * X]))
    pyal.select(X, strategy=spy, views=[X, 3 * X], metric="cosine")
    assert [len(pool.views) for pool in seen] == [2, 2]
    assert np.array_equal(seen[0].views[1].array, 2 * X)
    np.testing.assert_allclose(np.linalg.norm(as_numpy(seen[1].views[1], "views"), axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match=r"views must be \(V, N, d\) or a list of \(N, d\) embeddings; got \(60, 5\)"):
        pyal.select(X, strategy=spy, views=X)
    with pytest.raises(ValueError, match="views must hold at least one view; got none"):
        pyal.select(X, strategy=spy, views=[])
    for wrong, shape in ((X[:-1], "59, 5"), (X[:, :4], "60, 4")):
        with pytest.raises(ValueError, match=rf"views must have the shape of X, \(60, 5\), each; views\[1\].*{shape}"):
            pyal.select(X, strategy=spy, views=[X, wrong])
    with pytest.raises(ValueError, match=r"views\[0\] must be finite; NaN or infinity in row 3"):
        pyal.select(X, strategy=spy, views=[np.where(np.arange(60)[:, None] == 3, np.nan, X)])


def test_features_are_checked():
    with pytest.raises(ValueError, match="features must have one row per row of X, 60; got 59"):
        pyal.select(X, strategy="badge", proba=P, features=X[:-1])


def test_random_states():
    def picks(state):
        return pyal.select(X, strategy="random", batch_size=20, random_state=state).tolist()

    assert picks(3) == picks(np.int32(3)) == picks(np.random.default_rng(3)) != picks(4)
    assert picks(np.random.RandomState(3)) == picks(np.random.RandomState(3)) != picks(np.random.RandomState(4))
    assert picks(None) != picks(None)
    generator = np.random.default_rng(3)
    assert picks(generator) != picks(generator)
    for state, error in ((-1, ValueError), ("3", TypeError), (3.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="random_state must"):
            picks(state)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_log_probabilities(dtype):
    certain = np.eye(P.shape[1])[np.arange(len(P)) % P.shape[1]]
    with np.errstate(divide="ignore"):
        for proba in (P, np.stack([P, P[:, ::-1]]), certain):
            given = {"strategy": "margin", "batch_size": 5}
            logs = np.log(proba).astype(dtype)
            before = logs.copy()
            picks = pyal.select(X, proba=logs, **given)
            np.testing.assert_array_equal(picks, pyal.select(X, proba=np.exp(logs), **given))
            np.testing.assert_array_equal(logs, before)
    with pytest.raises(ValueError, match="proba must not be negative"):
        pyal.select(X, proba=np.log(P) - 1, strategy="margin")


def test_metric():
    far = X * np.linspace(1, 50, 60, dtype=np.float32)[:, None]
    by_angle = pyal.select(far, strategy="coreset", labeled=[0], metric="cosine", batch_size=6)
    np.testing.assert_array_equal(
        by_angle, pyal.select(X, strategy="coreset", labeled=[0], metric="cosine", batch_size=6)
    )
    zero = X.copy()
    zero[[4, 6]] = 0
    pyal.select(zero, strategy="coreset")
    with pytest.raises(ValueError, match="metric='cosine' cannot normalise zero rows; X has some at 4, 6"):
        pyal.select(zero, strategy="coreset", metric="cosine")
    with pytest.raises(ValueError, match="metric must be 'euclidean', 'cosine' or None; got 'l2'"):
        pyal.select(X, metric="l2")


@pytest.mark.parametrize(("n_jobs", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_n_jobs(n_jobs, error):
    pyal.select(X, strategy="coreset", n_jobs=-1)
    with pytest.raises(error, match="n_jobs must be"):
        pyal.select(X, strategy="random", n_jobs=n_jobs)


def test_path_of_a_file(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "P.npy", P)
    found = pyal.select(tmp_path / "X.npy", strategy="badge", proba=tmp_path / "P.npy", batch_size=3, random_state=0)
    np.testing.assert_array_equal(found, pyal.select(X, strategy="badge", proba=P, batch_size=3, random_state=0))


def lowest(pool: Pool, batch_size: int, *, rng: np.random.Generator, skip: int = 0) -> np.ndarray:  # noqa: ARG001
    return pool.candidates[skip : skip + batch_size]


def test_callable_strategies():
    assert pyal.select(X, strategy=lowest, labeled=[0], batch_size=2).tolist() == [1, 2]
    assert pyal.select(X, strategy=lowest, labeled=[0], batch_size=2, skip=3).tolist() == [4, 5]
    assert pyal.select(
        X,
        strategy=lambda pool, b, *, rng, **any_option: list(range(b)),  # noqa: ARG005
        batch_size=2,
        x=1,
    ).tolist() == [0, 1]
    with pytest.raises(TypeError, match="'lowest' has no option 'ship'; its options are skip; did you mean 'skip'"):
        pyal.select(X, strategy=lowest, ship=1)


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        ([3], ValueError, "must return 2 positions; it returned 1"),
        ([3, 3], ValueError, "distinct"),
        ([0, 3], ValueError, "candidates; it returned 0"),
        ([3, 60], ValueError, "candidates; it returned 60"),
        ([-1, 3], ValueError, "it returned -1"),
        ([3.0, 4.0], TypeError, "integer positions"),
        ([[3], [4]], TypeError, r"shape \(2, 1\)"),
        (None, TypeError, "integer positions"),
    ],
)
def test_what_a_callable_returns_is_checked(returned, error, words):
    def custom(pool, batch_size, *, rng):  # noqa: ARG001
        return returned

    with pytest.raises(error, match=words) as raised:
        pyal.select(X, strategy=custom, labeled=[0], batch_size=2)
    assert "custom" in str(raised.value)


def test_what_a_pool_holds():
    seen = []

    def spy(pool, batch_size, *, rng):  # noqa: ARG001
        seen.append(pool)
        return pool.candidates[:batch_size]

    y = np.full(60, -1)
    y[[5, 2]] = [1, 7]
    pyal.select(X, y, strategy=spy, features=X[:, :2], proba=np.stack([P, P]))
    pool = seen[0]
    assert pool.labeled.tolist() == [2, 5]
    assert pool.y.tolist() == [7, 1]
    assert len(pool.candidates) == 58
    assert (pool.n, pool.X.d, pool.features.d, pool.n_classes) == (60, 5, 2, 4)
    np.testing.assert_allclose(pool.sqnorms, (X.astype(float) ** 2).sum(axis=1))
    assert pool.is_candidate.sum() == 58
    assert pool.is_labeled.sum() == 2


def test_score():
    scores = pyal.score(X, strategy="least_confidence", proba=P, labeled=[1], candidates=[0, 2, 3])
    assert scores.dtype == np.float64
    assert np.flatnonzero(~np.isnan(scores)).tolist() == [0, 2, 3]
    np.testing.assert_allclose(scores[[0, 2, 3]], 1 - P[[0, 2, 3]].max(axis=1))
    for strategy in ("least_confidence", "margin", "entropy"):
        scores = pyal.score(X, strategy=strategy, proba=P)
        np.testing.assert_array_equal(
            np.argsort(-scores, kind="stable")[:9], pyal.select(X, strategy=strategy, proba=P, batch_size=9)
        )
    with pytest.raises(ValueError, match="has no score per row; those that have: bald, consistency, dbal, entropy"):
        pyal.score(X, strategy="typiclust")
    with pytest.raises(TypeError, match="got a callable"):
        pyal.score(X, strategy=lowest)
    with pytest.raises(ValueError, match="needs proba="):
        pyal.score(X, strategy="margin")


def test_strategies_are_listed():
    listed = {s.name: s for s in pyal.list_strategies()}
    assert set(listed) >= {
        "random",
        "least_confidence",
        "margin",
        "entropy",
        "coreset",
        "typiclust",
        "supclust",
        "probcover",
        "badge",
        "maxherding",
    }
    at_norm_1 = {name for name, one in listed.items() if one.metric == "cosine"}
    assert at_norm_1 == {
        "activeft",
        "alfamix",
        "bait",
        "dcom",
        "dropquery",
        "uherding",
        "typiclust",
        "supclust",
        "probcover",
        "maxherding",
        "ntkcpl",
        "tcm",
    }
    assert listed["badge"].needs == ("proba",)
    assert listed["maxherding"].options == {"kernel": "rbf", "bandwidth": None}


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="the name 'k_center' is taken by the strategy 'coreset'"):
        pyal.strategy("k_center")(lowest)


def test_interrupts_and_errors_pass_through():
    def stopped(pool, batch_size, *, rng):  # noqa: ARG001
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pyal.select(X, strategy=stopped)


def test_version():
    assert pyal.__version__
    with pytest.raises(AttributeError, match=r"pyal.*selekt"):
        pyal.selekt  # noqa: B018
