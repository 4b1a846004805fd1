"""Bad input: the type of the exception, and a message that names the argument."""

from __future__ import annotations

import re

import numpy as np
import pytest
from data import blobs

from pyal import kernels

X = blobs(20, 4)
LABELS = np.arange(20) % 3
CENTERS = X[:3].copy()


def with_value(value: float, row: int = 7) -> np.ndarray:
    bad = X.copy()
    bad[row, 2] = value
    return bad


ON_X = {
    "knn": lambda X: kernels.knn(X, 2),
    "typicality": lambda X: kernels.typicality(X, 2),
    "k_center_greedy": lambda X: kernels.k_center_greedy(X, 2),
    "kmeans": lambda X: kernels.kmeans(X, 2),
    "constrained_kmeans": lambda X: kernels.constrained_kmeans(X, 2, labels=LABELS),
    "sup_scores": lambda X: kernels.sup_scores(X, CENTERS, LABELS),
    "d2_sampling": lambda X: kernels.d2_sampling(X, 2),
    "ball_cover": lambda X: kernels.ball_cover(X, 2, 1.0),
    "purity_radius": lambda X: kernels.purity_radius(X, LABELS),
    "deduplicate": lambda X: kernels.deduplicate(X, 1.0),
    "deduplicate cosine": lambda X: kernels.deduplicate(X, 1.0, metric="cosine"),
    "herding": lambda X: kernels.herding(X, 2),
    "ntk": lambda X: kernels.ntk(X, width=3),
    "ntk infinite": lambda X: kernels.ntk(X, kind="infinite"),
    "ntk_outputs": lambda X: kernels.ntk_outputs(X, kernels.ntk_weights(4, 3, 2)),
    "rows": lambda X: kernels.checked_matrix(X),
}
BAD_X = {
    "one dimension": (np.ones(5), ValueError),
    "three dimensions": (np.ones((5, 2, 2)), ValueError),
    "no rows": (np.ones((0, 3)), ValueError),
    "no columns": (np.ones((3, 0)), ValueError),
    "NaN": (with_value(np.nan), ValueError),
    "infinite": (with_value(-np.inf), ValueError),
    "float16 infinite": (with_value(np.inf).astype(np.float16), ValueError),
    "norms beyond float64": (np.full((3, 3), 1e200), ValueError),
    "complex": (np.ones((3, 3), dtype=complex), TypeError),
    "strings": (np.array([["a", "b"]]), TypeError),
    "objects": (np.array([[None, {}]], dtype=object), TypeError),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError),
    "None": (None, (TypeError, ValueError)),
}


@pytest.mark.parametrize("kernel", ON_X)
@pytest.mark.parametrize("bad", BAD_X)
def test_bad_X(kernel, bad):
    given, error = BAD_X[bad]
    with pytest.raises(error, match=r"\bX\b"):
        ON_X[kernel](given)


def test_rows_that_are_not_finite_are_named():
    bad = with_value(np.nan, 7)
    bad[13, 0] = np.inf
    with pytest.raises(ValueError, match=r"\b7\b.*\b13\b"):
        kernels.checked_matrix(bad)
    with pytest.raises(ValueError, match=r"\bembeddings\b"):
        kernels.checked_matrix(bad, "embeddings")


COUNTS = {
    "k": [lambda k: kernels.knn(X, k), lambda k: kernels.typicality(X, k)],
    "n_clusters": [lambda k: kernels.kmeans(X, k)],
    "max_iter": [lambda k: kernels.kmeans(X, 2, max_iter=k)],
    "n_init": [lambda k: kernels.kmeans(X, 2, n_init=k)],
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_bad_counts(name, value, error):
    for call in COUNTS[name]:
        with pytest.raises(error, match=rf"\b{name}\b"):
            call(value)


PICKING = {
    "k_center_greedy": lambda b, **given: kernels.k_center_greedy(X, b, **given),
    "d2_sampling": lambda b, **given: kernels.d2_sampling(X, b, **given),
    "ball_cover": lambda b, **given: kernels.ball_cover(X, b, 1.0, **given),
    "herding": lambda b, **given: kernels.herding(X, b, **given),
}


@pytest.mark.parametrize("kernel", PICKING)
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (21, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_bad_batch_size(kernel, value, error):
    with pytest.raises(error, match=r"\bbatch_size\b"):
        PICKING[kernel](value)
    with pytest.raises(ValueError, match=r"\bbatch_size\b"):
        PICKING[kernel](3, candidates=[4, 5])


@pytest.mark.parametrize("kernel", PICKING)
@pytest.mark.parametrize("name", ["covered_by", "candidates"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([0, 20], ValueError),
        ([-1], ValueError),
        ([3, 3], ValueError),
        ([[1, 2]], ValueError),
        (np.ones(19, dtype=bool), ValueError),
        ([0.5], TypeError),
        (["a"], TypeError),
    ],
)
def test_bad_subsets(kernel, name, value, error):
    with pytest.raises(error, match=rf"\b{name}\b"):
        PICKING[kernel](1, **{name: value})


ELSEWHERE = [
    ("queries", ValueError, lambda: kernels.knn(X, 2, queries=np.ones((3, 5)))),
    ("queries", ValueError, lambda: kernels.knn(X, 2, queries=np.ones(4))),
    ("queries", ValueError, lambda: kernels.knn(X, 2, queries=with_value(np.nan))),
    ("groups", ValueError, lambda: kernels.knn(X, 2, groups=LABELS[:-1])),
    ("groups", ValueError, lambda: kernels.typicality(X, 2, groups=LABELS[:, None])),
    ("groups", TypeError, lambda: kernels.knn(X, 2, groups=LABELS + 0.5)),
    ("groups", ValueError, lambda: kernels.knn(X, 2, queries=X, groups=LABELS)),
    ("start", ValueError, lambda: kernels.k_center_greedy(X, 2, start=20)),
    ("start", ValueError, lambda: kernels.k_center_greedy(X, 2, start=-1)),
    ("start", ValueError, lambda: kernels.k_center_greedy(X, 2, start=3, candidates=[1, 2])),
    ("start", TypeError, lambda: kernels.k_center_greedy(X, 2, start=1.5)),
    ("n_clusters", ValueError, lambda: kernels.kmeans(X, 21)),
    ("init", ValueError, lambda: kernels.kmeans(X, 3, init=X[:2])),
    ("init", ValueError, lambda: kernels.kmeans(X, 3, init=np.ones((3, 5)))),
    ("init", ValueError, lambda: kernels.kmeans(X, 20, init=with_value(np.inf))),
    ("tol", ValueError, lambda: kernels.kmeans(X, 2, tol=-1.0)),
    ("tol", ValueError, lambda: kernels.kmeans(X, 2, tol=np.nan)),
    ("centers", ValueError, lambda: kernels.sup_scores(X, np.ones((3, 5)), LABELS)),
    ("centers", ValueError, lambda: kernels.sup_scores(X, CENTERS[:1], LABELS * 0)),
    ("centers", ValueError, lambda: kernels.sup_scores(X, CENTERS * np.float32("nan"), LABELS)),
    ("assignment", ValueError, lambda: kernels.sup_scores(X, CENTERS, LABELS[1:])),
    ("assignment", ValueError, lambda: kernels.sup_scores(X, CENTERS, LABELS + 1)),
    ("assignment", ValueError, lambda: kernels.sup_scores(X, CENTERS, LABELS - 1)),
    ("assignment", TypeError, lambda: kernels.sup_scores(X, CENTERS, LABELS + 0.5)),
    ("temperature", ValueError, lambda: kernels.sup_scores(X, CENTERS, LABELS, temperature=0.0)),
    ("temperature", ValueError, lambda: kernels.sup_scores(X, CENTERS, LABELS, temperature=np.nan)),
    ("temperature", TypeError, lambda: kernels.sup_scores(X, CENTERS, LABELS, temperature="1")),
    ("q", ValueError, lambda: kernels.d2_sampling(X, 2, q=np.ones((19, 3)))),
    ("q", ValueError, lambda: kernels.d2_sampling(X, 2, q=np.ones(20))),
    ("q", ValueError, lambda: kernels.d2_sampling(X, 2, q=np.full((20, 3), np.nan))),
    ("first", ValueError, lambda: kernels.d2_sampling(X, 2, first="smallest")),
    ("weights", ValueError, lambda: kernels.d2_sampling(X, 2, weights=np.ones(19))),
    ("weights", ValueError, lambda: kernels.d2_sampling(X, 2, weights=np.full(20, -1.0))),
    ("weights", ValueError, lambda: kernels.d2_sampling(X, 2, weights=np.full(20, np.nan))),
    ("weights", TypeError, lambda: kernels.d2_sampling(X, 2, weights=["a"] * 20)),
    ("random_state", (TypeError, ValueError), lambda: kernels.d2_sampling(X, 2, random_state="seed")),
    ("random_state", (TypeError, ValueError), lambda: kernels.kmeans(X, 2, random_state="seed")),
    ("radius", ValueError, lambda: kernels.ball_cover(X, 2, 0.0)),
    ("radius", ValueError, lambda: kernels.ball_cover(X, 2, -1.0)),
    ("radius", ValueError, lambda: kernels.ball_cover(X, 2, np.nan)),
    ("radius", TypeError, lambda: kernels.ball_cover(X, 2, "1")),
    ("assignment", ValueError, lambda: kernels.purity_radius(X, LABELS[1:])),
    ("assignment", TypeError, lambda: kernels.purity_radius(X, LABELS + 0.5)),
    ("alpha", ValueError, lambda: kernels.purity_radius(X, LABELS, 1.5)),
    ("alpha", ValueError, lambda: kernels.purity_radius(X, LABELS, -0.1)),
    ("alpha", ValueError, lambda: kernels.purity_radius(X, LABELS, np.nan)),
    ("bandwidth", ValueError, lambda: kernels.herding(X, 2, bandwidth=0.0)),
    ("bandwidth", ValueError, lambda: kernels.herding(X, 2, bandwidth=np.inf)),
    ("weights", ValueError, lambda: kernels.herding(X, 2, weights=np.ones(19))),
    ("weights", ValueError, lambda: kernels.herding(X, 2, weights=-np.ones(20))),
    ("weights", ValueError, lambda: kernels.herding(X, 2, weights=np.full(20, np.nan))),
]


@pytest.mark.parametrize(("name", "error", "call"), ELSEWHERE, ids=[name for name, _, _ in ELSEWHERE])
def test_bad_arguments(name, error, call):
    with pytest.raises(error, match=rf"\b{name}\b"):
        call()


@pytest.mark.parametrize("kernel", [*ON_X])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (1.5, TypeError), ("2", TypeError)])
def test_bad_n_jobs(kernel, value, error):
    if kernel in ("rows", "ntk_outputs"):
        pytest.skip(f"{kernel} computes with no n_jobs of its own")
    arguments = {"sup_scores": (X, CENTERS, LABELS), "purity_radius": (X, LABELS), "ball_cover": (X, 2, 1.0)}
    arguments |= {"ntk": (X,), "ntk infinite": (X,)}
    more = {"labels": LABELS} if kernel == "constrained_kmeans" else {}
    with pytest.raises(error, match=r"\bn_jobs\b"):
        getattr(kernels, kernel.split()[0])(*arguments.get(kernel, (X, 2)), **more, n_jobs=value)


def test_messages_say_what_came():
    for call, came in (
        (lambda: kernels.knn(X, -3), "-3"),
        (lambda: kernels.checked_matrix(np.ones((2, 3, 4))), "(2, 3, 4)"),
        (lambda: kernels.ball_cover(X, 2, -1.5), "-1.5"),
        (lambda: kernels.d2_sampling(X, 2, first="smallest"), "smallest"),
        (lambda: kernels.k_center_greedy(X, 2, candidates=[25]), "25"),
    ):
        with pytest.raises(ValueError, match=re.escape(came)):
            call()


def test_unknown_keywords_are_refused():
    with pytest.raises(TypeError, match="metric"):
        kernels.knn(X, 2, metric="cosine")  # type: ignore[call-arg]
