"""Mean entropies of mixtures against plain NumPy: types, layouts, threads, instruction sets, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from data import host, put, rounded
from oracle import reference

from pyal import _cpu, kernels

SIZES = [(1, 1, 2), (2, 3, 2), (3, 50, 7), (5, 33, 10), (20, 17, 100), (2, 5, 257), (3, 2, 1000), (50, 40, 3)]
MIXTURES = (None, 1, 3, 4, 5, 15, 16, 17, 33, 256, 257, 700)


def passes(T: int, n: int, classes: int, *, seed: int = 0) -> np.ndarray:
    """(T, n, C), some of them certain."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(classes, 0.2), (T, n))
    proba[0, 0], proba[-1, -1] = np.eye(classes)[0], np.eye(classes)[1]
    return proba


def shares(M: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    mixtures = rng.dirichlet(np.full(T, 0.5), M)
    mixtures[0] = np.eye(T)[0]
    return mixtures, rng.dirichlet(np.ones(M))


@pytest.mark.parametrize("size", SIZES)
def test_against_the_reference(engine, size):
    proba = passes(*size)
    for M in MIXTURES:
        mixtures, weights = (None, None) if M is None else shares(M, size[0])
        for w in (None, weights):
            found = host(kernels.mixture_entropies(put(proba, "float64", engine), mixtures, w))
            wanted = reference.mixture_entropies(proba, mixtures, w)
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14 * size[2])


@pytest.mark.parametrize("M", [None, 2, 40])
def test_storage_types(engine, dtype, M):
    """Computed in double, whatever the type: the answer is that of the values as they are stored."""
    proba = passes(4, 30, 9)
    mixtures, weights = (None, np.arange(4)) if M is None else shares(M, 4)
    found = kernels.mixture_entropies(put(proba, dtype, engine), mixtures, weights)
    assert isinstance(found, np.ndarray) == (engine == "cpu")
    wanted = reference.mixture_entropies(rounded(proba, dtype), mixtures, weights)
    np.testing.assert_allclose(host(found), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("classes", [9, 300])
@pytest.mark.parametrize("M", [None, 2, 40])
@pytest.mark.parametrize("candidates", [[0], [3, 4, 17, 29], np.arange(30) % 3 == 1, []])
def test_candidates_are_asked_for_alone(engine, M, candidates, classes):
    proba = put(passes(4, 30, classes), "float32", engine)
    mixtures, weights = (None, None) if M is None else shares(M, 4)
    whole = host(kernels.mixture_entropies(proba, mixtures, weights))
    part = host(kernels.mixture_entropies(proba, mixtures, weights, candidates=candidates))
    np.testing.assert_array_equal(part, whole[reference.positions_of(candidates, 30, "all")])  # bit for bit


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("M", [None, 2, 40])
def test_equal_rows_get_equal_bits_and_threads_change_nothing(M):
    proba = np.tile(passes(5, 7, 11), (1, 30, 1))
    mixtures, weights = (None, None) if M is None else shares(M, 5)
    found = kernels.mixture_entropies(proba, mixtures, weights, n_jobs=1)
    np.testing.assert_array_equal(found, np.tile(found[:7], 30))
    for n_jobs in (2, 5, None):
        np.testing.assert_array_equal(kernels.mixture_entropies(proba, mixtures, weights, n_jobs=n_jobs), found)


@pytest.mark.usefixtures("isa")
def test_the_logarithm_at_every_scale():
    """p log p for one pass of two classes, at powers of two and around 1; what vanishes adds nothing."""
    p = np.concatenate(
        [2.0 ** -np.arange(0, 1030, 3), 1 - 2.0 ** -np.arange(1, 54), np.sqrt(0.5) + np.arange(-9, 9) * 1e-16]
    )
    other = np.zeros_like(p)
    found = kernels.mixture_entropies(np.stack([p, other], axis=1))
    small = p < np.finfo(float).tiny
    np.testing.assert_allclose(found[~small], -p[~small] * np.log(p[~small]), rtol=1e-15)
    assert (found[small] == 0).all()
    assert not np.signbit(found[[0]]).any()


def test_layouts(tmp_path):
    proba = passes(3, 20, 4).astype(np.float32)
    wanted = kernels.mixture_entropies(proba)
    np.save(tmp_path / "P.npy", proba)
    mapped = np.load(tmp_path / "P.npy", mmap_mode="r")
    for given in (np.asfortranarray(proba), proba[::-1].copy()[::-1], proba.astype(">f4"), proba.tolist(), mapped):
        np.testing.assert_allclose(kernels.mixture_entropies(given), wanted, rtol=1e-12)
    np.testing.assert_array_equal(kernels.mixture_entropies(proba[0]), kernels.mixture_entropies(proba[:1]))
    before = proba.copy()
    kernels.mixture_entropies(proba, *shares(9, 3))
    np.testing.assert_array_equal(proba, before)


def test_instruction_sets_agree():
    proba, (mixtures, weights) = passes(6, 40, 10), shares(50, 6)
    before, answers = _cpu.isa_in_use(), []
    for isa in _cpu.isas_available():
        _cpu.set_isa(isa)
        answers.append(kernels.mixture_entropies(proba, mixtures, weights))
    _cpu.set_isa(before)
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-13)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"proba": np.ones(3)}, r"proba must be \(T, n, C\) or \(n, C\); got shape \(3,\)"),
        ({"proba": np.ones((2, 0, 3))}, r"proba must be .*got shape \(2, 0, 3\)"),
        ({"mixtures": np.ones(2)}, r"mixtures must be \(M, 2\), a share for each pass; got shape \(2,\)"),
        ({"mixtures": np.ones((4, 3))}, r"mixtures must be \(M, 2\).*got shape \(4, 3\)"),
        ({"mixtures": np.ones((0, 2))}, r"mixtures must be \(M, 2\).*got shape \(0, 2\)"),
        ({"mixtures": [[1, np.nan]]}, "mixtures must be finite and not negative"),
        ({"mixtures": [[1, -1]]}, "mixtures must be finite and not negative"),
        ({"weights": [1.0]}, r"weights must have shape \(2,\); got \(1,\)"),
        ({"weights": [1.0, np.inf]}, "weights must be finite and not negative"),
        ({"candidates": [7]}, "candidates"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        kernels.mixture_entropies(**({"proba": np.full((2, 3, 4), 0.25)} | given))


def test_what_is_of_the_wrong_kind():
    with pytest.raises(TypeError, match="weights must hold real numbers"):
        kernels.mixture_entropies(np.full((2, 3, 4), 0.25), weights=["a", "b"])
    with pytest.raises(TypeError, match="proba must hold real numbers"):
        kernels.mixture_entropies(np.full((2, 3, 4), 0.25j))
