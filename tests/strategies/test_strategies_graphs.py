"""The graph networks against dense matrices in float64, finite differences and autograd."""

from __future__ import annotations

import numpy as np
import pytest
from data import blobs

import pyal
from pyal.strategies import graphs
from pyal.strategies.graphs import Graph, Network

X = blobs(60, 5)
LABELED = np.array([3, 20, 41, 58])
GCNS = ("uncertain_gcn", "core_gcn")


def at_norm_1(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def dense(rows: np.ndarray) -> np.ndarray:
    """The matrix of the graph as it is defined, (n, n) in float64."""
    cosines = at_norm_1(rows) @ at_norm_1(rows).T
    np.fill_diagonal(cosines, 0)
    if cosines.sum(axis=0).min() < 1:
        cosines = (1 + cosines) / 2
        np.fill_diagonal(cosines, 0)
    return cosines / cosines.sum(axis=0) + np.eye(len(rows))


def in_double(rows: np.ndarray) -> Graph:
    found = Graph.of(at_norm_1(rows))
    sums = found.Z @ found.Z.sum(axis=0) - found.diagonal
    return Graph(found.Z, found.diagonal, 1 / sums)


def test_the_matrix_by_hand():
    """Rows (1, 0), (0.6, 0.8), (0.8, 0.6): cosines 0.6, 0.8 and 0.96, columns sums 1.4, 1.56 and 1.76, all above 1."""
    graph = Graph.of(np.array([[1, 0], [0.6, 0.8], [0.8, 0.6]], np.float32))
    expected = [[1, 0.6 / 1.56, 0.8 / 1.76], [0.6 / 1.4, 1, 0.96 / 1.76], [0.8 / 1.4, 0.96 / 1.56, 1]]
    assert graph.spread(np.eye(3, dtype=np.float32)) == pytest.approx(np.array(expected), abs=1e-6)
    assert graph.gathered(np.array([1, 0, 0], np.float32)) == pytest.approx(expected[0], abs=1e-6)


def test_the_matrix_of_rows_on_all_sides_by_hand():
    """(1, 0), (-1, 0), (0, 1): sums of -1, 0, 0 are below 1. (1 + cosine) / 2 is 0, 1/2, 1/2: sums 1/2, 1/2, 1."""
    graph = Graph.of(np.array([[1, 0], [-1, 0], [0, 1]], np.float32))
    expected = [[1, 0, 0.5], [0, 1, 0.5], [1, 1, 1]]
    assert graph.spread(np.eye(3, dtype=np.float32)) == pytest.approx(np.array(expected), abs=1e-6)


def test_two_opposite_rows_are_strangers():
    graph = Graph.of(np.array([[1, 0], [-1, 0]], np.float32))
    assert graph.spread(np.eye(2, dtype=np.float32)) == pytest.approx(np.eye(2), abs=1e-6)


@pytest.mark.parametrize("rows", [X, abs(X)], ids=["all sides", "cosines above 0"])
def test_products_are_those_of_the_dense_matrix(rows):
    graph, matrix = Graph.of(at_norm_1(rows).astype(np.float32)), dense(rows)
    H = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    assert graph.spread(H) == pytest.approx(matrix @ H, abs=1e-5)
    assert graph.spread(H[:, 0]) == pytest.approx(matrix @ H[:, 0], abs=1e-5)
    assert graph.gathered(H[:, 0]) == pytest.approx(matrix.T @ H[:, 0], abs=1e-5)


def test_gradients_are_finite_differences():
    rng = np.random.default_rng(0)
    network = Network(in_double(X), at_norm_1(X), 4, rng)
    network.W, network.v = network.W.astype(np.float64), network.v.astype(np.float64)
    known, kept = np.isin(np.arange(60), LABELED), rng.random((60, 4)) > 0.3

    def loss() -> float:
        logits = network.logits(network.units() * kept / 0.7)
        s = 1 / (1 + np.exp(-logits))
        return -np.log(s[known]).mean() - 1.2 * np.log(1 - s[~known]).mean()

    for values, slopes in zip((network.W, network.v), network.gradients(known, 1.2, kept, 0.7), strict=True):
        assert slopes.shape == values.shape
        for at in np.ndindex(values.shape):
            before = values[at]
            values[at] = before + 1e-5
            above = loss()
            values[at] = before - 1e-5
            below = loss()
            values[at] = before
            assert slopes[at] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-8)


def by_autograd(rows: np.ndarray, known: np.ndarray, epochs: int, hidden: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, hidden units) of the published network in torch: dense float64, torch's Adam, the same draws."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    n, d = rows.shape
    bound = 1 / np.sqrt(hidden)
    first = rng.uniform(-bound, bound, (d + 1, hidden)).astype(np.float32)
    second = rng.uniform(-1, 1, hidden + 1).astype(np.float32)
    W, b, v, c = (torch.tensor(a.astype(np.float64)) for a in (first[:-1], first[-1], second[:-1], second[-1]))
    A, Z, labelled = torch.tensor(dense(rows)), torch.tensor(at_norm_1(rows)), torch.tensor(known)
    parameters = [p.requires_grad_() for p in (W, b, v, c)]
    adam = torch.optim.Adam(parameters, lr=1e-3, weight_decay=5e-4)
    for _ in range(epochs):
        bits = np.frombuffer(rng.bytes(2 * n * hidden), np.uint16).reshape(n, hidden)
        mask = torch.tensor((bits >= round(0.3 * 65536)) / 0.7)
        s = torch.sigmoid(A @ ((A @ Z @ W + b).relu() * mask) @ v + c)
        loss = -torch.log(s[labelled]).mean() - 1.2 * torch.log(1 - s[~labelled]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    units = (A @ Z @ W + b).relu()
    return torch.sigmoid(A @ units @ v + c).detach().numpy(), units.detach().numpy()


@pytest.mark.parametrize("rows", [X, abs(X)], ids=["all sides", "cosines above 0"])
def test_picks_are_those_of_the_published_network(rows):
    known = np.isin(np.arange(60), LABELED)
    s, units = by_autograd(rows, known, 60)
    asked = {"labeled": LABELED, "batch_size": 6, "random_state": 0, "epochs": 60, "hidden": 16}
    free = np.flatnonzero(~known)
    expected = free[np.argsort(abs(s[free] - 0.4))[:6]]
    assert pyal.select(rows, strategy="uncertain_gcn", margin=0.4, **asked).tolist() == expected.tolist()
    nearest = ((units[:, None] - units[LABELED]) ** 2).sum(axis=2).min(axis=1)
    picks = []
    for _ in range(6):
        picks.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((units - units[picks[-1]]) ** 2).sum(axis=1))
    assert pyal.select(rows, strategy="core_gcn", **asked).tolist() == picks


def test_it_learns_which_rows_are_labelled():
    """Only rows of one of two blobs are labelled; the others of that blob look labelled, the far blob does not."""
    rng = np.random.default_rng(0)
    rows = np.r_[rng.normal((5, 1), 0.3, (50, 2)), rng.normal((1, 5), 0.3, (50, 2))].astype(np.float32)
    asked = {"labeled": np.arange(10), "strategy": "uncertain_gcn", "batch_size": 20, "random_state": 0, "epochs": 2000}
    assert pyal.select(rows, margin=0.0, **asked).min() >= 50
    assert pyal.select(rows, margin=1.0, **asked).max() < 50


def test_features_stand_in_for_the_rows():
    asked = {"labeled": LABELED, "batch_size": 8, "random_state": 0, "epochs": 30}
    for name in GCNS:
        expected = pyal.select(abs(X), strategy=name, **asked).tolist()
        assert pyal.select(X, features=abs(X), strategy=name, **asked).tolist() == expected
        assert pyal.select(X, strategy=name, **asked).tolist() != expected


def test_the_length_of_a_row_plays_no_part():
    longer = X * np.linspace(0.1, 9, 60, dtype=np.float32)[:, None]
    for name in GCNS:
        asked = {"strategy": name, "labeled": LABELED, "batch_size": 8, "random_state": 0, "metric": "euclidean"}
        assert pyal.select(longer, **asked).tolist() == pyal.select(X, **asked).tolist()


def test_with_nothing_labelled():
    assert pyal.select(X, strategy="core_gcn", batch_size=5, random_state=0).tolist() == (
        pyal.select(X, strategy="coreset", metric="cosine", batch_size=5, random_state=0).tolist()
    )
    drawn = {tuple(pyal.select(X, strategy="uncertain_gcn", batch_size=3, random_state=s)) for s in range(5)}
    assert len(drawn) == 5


def test_ties_go_to_the_lowest_position():
    equal = np.ones((30, 3), np.float32)
    assert pyal.select(equal, strategy="uncertain_gcn", labeled=[0, 7], batch_size=4).tolist() == [1, 2, 3, 4]


def test_a_row_of_zeros_is_a_node_without_neighbours():
    rows = X.copy()
    rows[5] = 0
    for name in GCNS:
        picks = pyal.select(rows, strategy=name, labeled=LABELED, batch_size=56, metric="euclidean", epochs=5)
        assert sorted(picks) == np.setdiff1d(np.arange(60), LABELED).tolist()


@pytest.mark.parametrize("name", GCNS)
@pytest.mark.parametrize("labeled", [None, LABELED], ids=["nothing labelled", "four labelled"])
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("margin", 1.1, r"margin must lie in 0 to 1; got 1.1"),
        ("margin", -0.1, r"margin must lie in 0 to 1; got -0.1"),
        ("margin", float("nan"), r"margin must lie in 0 to 1; got nan"),
        ("subset", 0, "subset must be at least 1; got 0"),
        ("epochs", -1, "epochs must be at least 0; got -1"),
        ("hidden", 0, "hidden must be at least 1; got 0"),
        ("dropout", 1.0, r"dropout must lie in \[0, 1\); got 1.0"),
        ("dropout", -0.1, r"dropout must lie in \[0, 1\); got -0.1"),
        ("unlabeled_weight", -1.0, "unlabeled_weight must be a finite weight, 0 or more; got -1.0"),
        ("unlabeled_weight", float("inf"), "unlabeled_weight must be a finite weight, 0 or more; got inf"),
    ],
)
def test_bad_options(name, labeled, option, value, words):
    if (name, option) == ("core_gcn", "margin"):
        pytest.skip("core_gcn has no margin")
    with pytest.raises(ValueError, match=words):
        pyal.select(X, strategy=name, labeled=labeled, batch_size=2, **{option: value})


def test_subset_none_takes_all():
    asked = {"labeled": LABELED, "batch_size": 8, "random_state": 0, "epochs": 5}
    for name in GCNS:
        every = pyal.select(X, strategy=name, subset=None, **asked).tolist()
        assert every == pyal.select(X, strategy=name, subset=60, **asked).tolist()
    assert graphs.uncertain_gcn.__kwdefaults__["subset"] == 10_000
