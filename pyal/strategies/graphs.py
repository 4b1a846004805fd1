"""Strategies that train a graph network to tell labelled rows from the others.

The nodes are the labelled rows and a subset of the candidates, at norm 1. Rows are joined by their cosines, and a
network of two graph convolutions learns which nodes are labelled: each convolution multiplies with A / (column sums) +
I, where A holds the cosines without its diagonal. A is never formed: A H = Z (Z^T H) - |z|^2 H. NumPy computes all of
it in float32 on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyal import kernels
from pyal.arrays import as_numpy, row_blocks, size
from pyal.pool import Pool
from pyal.strategies.registry import strategy
from pyal.strategies.subsets import drawn_subset

Floats = NDArray[np.floating]
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 5e-4  # of Adam, as published
CITATION = "Caramalau, Bhattarai & Kim 2021, arXiv:2006.10219"
MEMORY = "O(N + subset (d + hidden))"
DECIMALS = 6  # of a probability that float32 products of matrices, which round as they like, leave alike


@strategy("uncertain_gcn", memory=MEMORY, citation=CITATION)
def uncertain_gcn(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    margin: float = 0.1,
    subset: int | str | None = 10_000,
    epochs: int = 200,
    hidden: int = 128,
    dropout: float = 0.3,
    unlabeled_weight: float = 1.2,
) -> NDArray[np.int64]:
    """Picks the rows of which a graph network says, with a confidence of `margin`, that they are labelled.

    The network gives each node s, its probability of being labelled, and the candidates with the smallest |s - margin|
    are picked; both to six decimals, and ties go to the lowest position. It is trained with full-batch
    Adam (1e-3, weight decay 5e-4) on -mean log s over the labelled nodes - unlabeled_weight times the mean of
    log(1 - s) over the others. Rows are taken at norm 1 whatever the metric, from `features` where these are given.
    With nothing labelled there is nothing to tell apart, and rows are drawn at random. Seconds: about 1e-10 epochs
    hidden d for each node, on two cores.

    margin: the s that is looked for, in 0 to 1. The authors take 0.1: rows that are surely unlabelled, but not the
        surest.
    subset: how many candidates are drawn at random to be nodes; all are where that is less than the batch. None: all.
        "10000 by badge" has that strategy pick them.
    epochs: steps of Adam. The paper takes 200, its script 20.
    hidden: units of the first convolution.
    dropout: the share of them that is dropped in a step, in [0, 1).
    unlabeled_weight: of the unlabelled nodes in the loss, lambda in the paper.

    Differs from its source: the paper writes arg max of |margin - s|, and this is what its code does. The code divides
    each column of cosines by its sum even where rows lie on all sides of 0 and the sum is not positive; here, as soon
    as one column sums to less than 1, all cosines become (1 + cosine) / 2.
    """
    if not 0 <= margin <= 1:
        raise ValueError(f"margin must lie in 0 to 1; got {margin!r}")
    nodes = _trained(pool, batch_size, rng, subset, epochs, hidden, dropout, unlabeled_weight)
    if nodes is None:
        chosen: NDArray[np.int64] = rng.choice(pool.candidates, batch_size, replace=False)
        return chosen
    far = np.round(abs(nodes.probability.astype(np.float64) - float(margin))[nodes.free], DECIMALS)
    return nodes.positions[nodes.free[np.argsort(far, kind="stable")[:batch_size]]]


@strategy("core_gcn", memory=MEMORY, citation=CITATION)
def core_gcn(
    pool: Pool,
    batch_size: int,
    *,
    rng: np.random.Generator,
    subset: int | str | None = 10_000,
    epochs: int = 200,
    hidden: int = 128,
    dropout: float = 0.3,
    unlabeled_weight: float = 1.2,
) -> NDArray[np.int64]:
    """Picks rows far from all that is labelled, and from each other, in the hidden layer of a graph network.

    The network is that of uncertain_gcn, on `features` where these are given. Its first convolution, after the ReLU,
    gives each node `hidden` numbers, and greedy k-center goes through the candidates with the labelled nodes as
    centres. With nothing labelled there is no network: k-center then goes through the rows themselves, at norm 1, from
    a random one on.

    subset: how many candidates are drawn at random to be nodes; all are where that is less than the batch. None: all.
        "10000 by badge" has that strategy pick them.
    epochs: steps of Adam. The paper takes 200, its script 20.
    hidden: units of the first convolution.
    dropout: the share of them that is dropped in a step, in [0, 1).
    unlabeled_weight: of the unlabelled nodes in the loss, lambda in the paper.

    Differs from its source where a column of cosines sums to less than 1, as uncertain_gcn says.
    """
    nodes = _trained(pool, batch_size, rng, subset, epochs, hidden, dropout, unlabeled_weight)
    if nodes is None:
        some = drawn_subset(pool, batch_size, subset, rng)
        first = int(rng.integers(len(some)))
        picks, _ = kernels.k_center_greedy(_at_norm_1(pool, some), batch_size, start=first, n_jobs=pool.n_jobs)
        return np.asarray(some[picks])
    picks, _ = kernels.k_center_greedy(
        nodes.units, batch_size, covered_by=nodes.is_labeled, candidates=nodes.free, n_jobs=pool.n_jobs
    )
    return np.asarray(nodes.positions[picks])


@dataclass(frozen=True, eq=False)
class Nodes:
    """What the trained network says of its nodes.

    positions: (n,) in X, ascending. is_labeled: (n,). free: the nodes that may be picked, ascending.
    probability: (n,) float32 of being labelled. units: (n, hidden) float32 of the first convolution, after the ReLU.
    """

    positions: NDArray[np.int64]
    is_labeled: NDArray[np.bool_]
    probability: Floats
    units: Floats

    @property
    def free(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self.is_labeled)


@dataclass(frozen=True, eq=False)
class Graph:
    """The matrix A / (column sums) + I of rows Z at norm 1, where A = Z Z^T without its diagonal, by its products.

    Z: (n, k) float32. diagonal: (n,) squared norms of its rows. share: (n,) 1 / the column sums of A.
    """

    Z: Floats
    diagonal: Floats
    share: Floats

    @classmethod
    def of(cls, rows: Floats) -> Graph:
        """Of these rows, or where a column would sum to less than 1, of (1 + cosine) / 2 in place of the cosines."""
        Z, sums = rows, _column_sums(rows)
        if sums.min() < 1:  # with one more column the products of two rows are (1 + cosine) / 2
            Z = np.column_stack([rows, np.ones(len(rows), np.float32)]) / np.float32(np.sqrt(2))
            sums = _column_sums(Z)
        sums[sums < 1e-3] = 1  # all others lie opposite, and the column is 0 already
        return cls(Z, np.einsum("ij,ij->i", Z, Z), (1 / sums).astype(np.float32))

    def spread(self, H: Floats) -> Floats:
        """The matrix times H, (n,) or (n, m)."""
        shared = H * _along(self.share, H)
        out: Floats = self.Z @ (self.Z.T @ shared)
        out -= shared * _along(self.diagonal, H)
        out += H
        return out

    def gathered(self, H: Floats) -> Floats:
        """Its transpose times H, (n,)."""
        out: Floats = (self.Z @ (self.Z.T @ H) - self.diagonal * H) * self.share + H
        return out


class Network:
    """Two graph convolutions, ReLU and dropout between them; W (d + 1, hidden) and v (hidden + 1,) end in biases."""

    def __init__(self, graph: Graph, rows: Floats, hidden: int, rng: np.random.Generator) -> None:
        self.graph = graph
        self.inputs = np.column_stack([graph.spread(rows), np.ones(len(rows), np.float32)])
        bound = 1 / np.sqrt(hidden)  # 1 / sqrt(columns out) is what Kipf & Welling's layers begin with
        self.W = rng.uniform(-bound, bound, (rows.shape[1] + 1, hidden)).astype(np.float32)
        self.v = rng.uniform(-1, 1, hidden + 1).astype(np.float32)

    def units(self) -> Floats:
        """(n, hidden) of the first convolution, after the ReLU, without dropout."""
        out = self.inputs @ self.W
        return np.maximum(out, 0, out=out)

    def logits(self, units: Floats) -> Floats:
        """(n,) log-odds of being labelled."""
        out: Floats = self.graph.spread(units @ self.v[:-1]) + self.v[-1]
        return out

    def gradients(
        self, is_labeled: NDArray[np.bool_], weight: float, kept: NDArray[np.bool_], keep: float
    ) -> tuple[Floats, Floats]:
        """Of -mean log s over the labelled nodes - weight mean log(1 - s) over the others, by W and v.

        kept: (n, hidden), False where a unit is dropped; the others count 1 / keep times.
        """
        units = self.inputs @ self.W
        kept = kept & (units > 0)
        units *= kept
        units /= units.dtype.type(keep)
        s = _sigmoid(self.logits(units))
        by_logit = np.where(is_labeled, (s - 1) / is_labeled.sum(), weight * s / (~is_labeled).sum()).astype(s.dtype)
        by_product = self.graph.gathered(by_logit)
        by_v = np.append(by_product @ units, by_logit.sum()).astype(s.dtype)
        np.multiply(kept, by_product[:, None], out=units)
        return (self.inputs.T @ units) * (self.v[:-1] / units.dtype.type(keep)), by_v


def _trained(
    pool: Pool,
    batch_size: int,
    rng: np.random.Generator,
    subset: int | str | None,
    epochs: int,
    hidden: int,
    dropout: float,
    unlabeled_weight: float,
) -> Nodes | None:
    """The nodes after training; None where nothing is labelled. The options are checked either way."""
    steps, units, weight = size(epochs, "epochs", 0), size(hidden, "hidden", 1), float(unlabeled_weight)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1); got {dropout!r}")
    if not 0 <= weight < np.inf:
        raise ValueError(f"unlabeled_weight must be a finite weight, 0 or more; got {unlabeled_weight!r}")
    some = drawn_subset(pool, batch_size, subset, rng)
    if not len(pool.labeled):
        return None
    positions = np.sort(np.concatenate([pool.labeled, some]))
    known = pool.is_labeled[positions]
    rows = _at_norm_1(pool, positions)
    network = Network(Graph.of(rows), rows, units, rng)
    del rows
    adam = [_Adam(network.W), _Adam(network.v)]
    for _ in range(steps):
        bits = np.frombuffer(rng.bytes(2 * len(known) * units), np.uint16).reshape(len(known), units)
        slopes = network.gradients(known, weight, bits >= round(dropout * 2**16), 1 - dropout)
        for one, slope in zip(adam, slopes, strict=True):
            one.step(slope)
    found = network.units()
    return Nodes(positions, known, _sigmoid(network.logits(found)), found)


class _Adam:
    """Adam on an array that it changes in place, the weight decay being part of the gradient."""

    def __init__(self, values: Floats) -> None:
        self.values, self.steps = values, 0
        self.mean, self.square = np.zeros_like(values), np.zeros_like(values)

    def step(self, slope: Floats) -> None:
        self.steps += 1
        slope = slope + WEIGHT_DECAY * self.values
        self.mean += 0.1 * (slope - self.mean)
        self.square += 0.001 * (slope**2 - self.square)
        size_of_step = LEARNING_RATE / (1 - 0.9**self.steps)
        self.values -= size_of_step * self.mean / (np.sqrt(self.square / (1 - 0.999**self.steps)) + 1e-8)


def _at_norm_1(pool: Pool, positions: NDArray[np.int64]) -> Floats:
    """(n, d) float32 rows of features, or of X where there are none, at norm 1; a row of zeros stays one."""
    source = pool.X if pool.features is None else pool.features
    out = np.empty((len(positions), source.d), np.float32)
    for part in row_blocks(len(positions), source.d):
        block = as_numpy(source.take(positions[part]), "X").astype(np.float64)
        largest = abs(block).max(axis=1, keepdims=True)
        block /= np.where(largest > 0, largest, 1)
        norm = np.sqrt((block**2).sum(axis=1, keepdims=True))
        out[part] = block / np.where(norm > 0, norm, 1)
    return out


def _column_sums(Z: Floats) -> NDArray[np.float64]:
    """Of Z Z^T without its diagonal."""
    return np.asarray(Z @ Z.sum(axis=0) - np.einsum("ij,ij->i", Z, Z), np.float64)


def _along(values: Floats, H: Floats) -> Floats:
    return values if H.ndim == 1 else values[:, None]


def _sigmoid(logits: Floats) -> Floats:
    from scipy.special import expit

    found: Floats = expit(logits)
    return found
