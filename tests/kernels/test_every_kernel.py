"""What holds for every kernel: input forms, threads, memory, input unmodified, Ctrl-C, fork.

Each kernel is held against its reference in the file of its family; inputs to check on paper are in test_golden.py.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data import blobs, host, integers, put

from pyal import kernels


def assignment_of(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) % 5


def q_of(n: int, classes: int = 6) -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(classes), n).astype(np.float32)


WHOLE = integers(20, 24, seed=1), np.zeros(20), integers(2, 20, seed=2), np.zeros(2)  # weights of a small network

CALLS: dict[str, Callable] = {
    "knn": lambda X, _n, **jobs: kernels.knn(X, 7, **jobs),
    "knn queries": lambda X, _n, **jobs: kernels.knn(X, 7, queries=X, **jobs),
    "knn groups": lambda X, n, **jobs: kernels.knn(X, 7, groups=assignment_of(n), **jobs),
    "typicality": lambda X, _n, **jobs: kernels.typicality(X, 7, **jobs),
    "k_center_greedy": lambda X, n, **jobs: kernels.k_center_greedy(X, n // 4, covered_by=[1], **jobs),
    "kmeans": lambda X, n, **jobs: kernels.kmeans(X, min(9, n), random_state=0, **jobs),
    "constrained_kmeans": lambda X, n, **jobs: kernels.constrained_kmeans(
        X, min(7, n), labels=np.where(np.arange(n) % 4, -1, assignment_of(n)), random_state=0, **jobs
    ),
    "constrained_kmeans pairs": lambda X, n, **jobs: kernels.constrained_kmeans(
        X, min(7, n), labels=None, constraints={"cannot_link": [(0, 1)], "must_link": [(1, 2)]}, random_state=0, **jobs
    ),
    "sup_scores": lambda X, n, **jobs: kernels.sup_scores(X, blobs(5, 24), assignment_of(n), **jobs),
    "d2_sampling": lambda X, n, **jobs: kernels.d2_sampling(X, n // 4, random_state=0, **jobs),
    "d2_sampling weights": lambda X, n, **jobs: kernels.d2_sampling(
        X, n // 4, weights=np.arange(n) % 3, first="uniform", random_state=0, **jobs
    ),
    "d2_sampling q": lambda X, n, **jobs: kernels.d2_sampling(X, n // 4, q=q_of(n), random_state=0, **jobs),
    "ball_cover": lambda X, n, **jobs: kernels.ball_cover(X, n // 4, 5.0, covered_by=[1], **jobs),
    "purity_radius": lambda X, n, **jobs: kernels.purity_radius(X, assignment_of(n), **jobs),
    "deduplicate": lambda X, _n, **jobs: kernels.deduplicate(X, 3.0, **jobs),
    "deduplicate cosine": lambda X, _n, **jobs: kernels.deduplicate(X, 0.4, metric="cosine", **jobs),
    "herding": lambda X, n, **jobs: kernels.herding(X, n // 8, bandwidth=4.0, covered_by=[1], **jobs),
    "ntk": lambda X, _n, **jobs: kernels.ntk(X, weights=WHOLE, **jobs),
    "ntk Z": lambda X, _n, **jobs: kernels.ntk(X, X, weights=WHOLE, **jobs),
    "ntk infinite": lambda X, _n, **jobs: kernels.ntk(X, kind="infinite", depth=2, **jobs),
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Callable:
    """Every public kernel as call(X, n, **jobs), for X of 24 columns."""
    return CALLS[request.param]


def parts(result) -> tuple:
    result = host(result)
    return result if isinstance(result, tuple) else (result,)


def assert_same(first, second) -> None:
    for a, b in zip(parts(first), parts(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_public_kernel_is_called_here():
    here = {name for name, value in vars(kernels).items() if getattr(value, "__module__", "").startswith("pyal.")}
    assert {name for name in here if not name.startswith("_")} <= set(kernels.__all__)
    elsewhere = {"Carried", "checked_matrix", "sqnorms", "ntk_weights", "ntk_outputs"}  # no rows come in, or no kernel
    elsewhere |= {"ntk_lookahead"}  # takes a kernel matrix
    elsewhere |= {"mixture_entropies"}  # takes probabilities: test_information.py
    elsewhere |= {"rank_one_gains"}  # takes steps of held-out rows: test_rank_one_gains.py
    elsewhere |= {"recursive_least_squares"}  # writes into what it is given: test_least_squares.py
    assert set(kernels.__all__) - {name.split()[0] for name in CALLS} == elsewhere


def test_outputs(call, device):
    """Plain arrays where X lives: int64 positions, and float32 or, from float64, float64."""
    X = blobs(200, 24)
    for dtype, wanted in (("float32", np.float32), ("float64", np.float64), ("float16", np.float32)):
        result = call(put(X, dtype, device), 200)
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, float):
                continue
            assert isinstance(part, np.ndarray) == (device == "cpu")
            array = host(part)
            assert array.flags.c_contiguous
            assert array.dtype in (np.int64, wanted, np.float64), array.dtype
            if array.dtype.kind == "f":
                assert array.dtype == wanted or len(array) == 200 // 8  # herding's gains are double


@pytest.mark.parametrize("n", [7, 200, 1000])
def test_threads_give_the_same(call, n):
    X = blobs(n, 24)
    first = call(X, n, n_jobs=1)
    for n_jobs in (2, 4, None):
        assert_same(first, call(X, n, n_jobs=n_jobs))


@pytest.mark.usefixtures("isa")
def test_instruction_sets_give_the_same_on_whole_numbers(call):
    """Distances are exact here, so that instruction sets can differ in the last bits of exp and of the means only."""
    from pyal import _cpu

    X = integers(300, 24)
    here = call(X, 300)
    _cpu.set_isa("baseline")
    for a, b in zip(parts(here), parts(call(X, 300)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def layouts(X: np.ndarray) -> dict[str, np.ndarray]:
    wide = np.zeros((2 * len(X), 2 * X.shape[1]), dtype=X.dtype)
    wide[::2, ::2] = X
    readonly = X.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"x" + X.tobytes(), dtype=np.uint8)[1:].view(X.dtype).reshape(X.shape)
    return {
        "strided": wide[::2, ::2],
        "column slice": np.hstack([X, X])[:, : X.shape[1]],
        "Fortran": np.asfortranarray(X),
        "reversed": X[::-1].copy()[::-1],
        "read-only": readonly,
        "unaligned": unaligned,
        "big-endian": X.astype(X.dtype.newbyteorder(">")),
    }


def test_layouts(call):
    X = blobs(150, 24)
    expected = call(X, 150)
    for given in layouts(X).values():
        assert_same(call(given, 150), expected)


class Producer:
    """An array that offers DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_memmap_and_dlpack(call, tmp_path):
    X = blobs(150, 24)
    np.save(tmp_path / "X.npy", X)
    expected = call(X, 150)
    assert_same(call(np.load(tmp_path / "X.npy", mmap_mode="r"), 150), expected)
    assert_same(call(Producer(X), 150), expected)


def test_torch_on_cpu(call):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    X = blobs(150, 24)
    expected = call(X, 150)
    tensor = torch.from_numpy(X.copy())
    for given in (tensor, tensor.clone().requires_grad_(), tensor.t().contiguous().t()):
        result = call(given, 150)
        assert_same(result, expected)
        assert all(isinstance(part, (np.ndarray, float)) for part in parts(result))


def test_rows_are_validated_once_and_passed_on(call):
    X = blobs(150, 24)
    assert_same(call(kernels.checked_matrix(X), 150), call(X, 150))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_input_unmodified(call, dtype):
    X = blobs(150, 24).astype(dtype)
    before = X.copy()
    call(X, 150)
    np.testing.assert_array_equal(X, before)


def test_arguments_unmodified():
    X, groups, weights = blobs(100, 24), assignment_of(100), np.ones(100)
    covered, candidates, q = np.array([9, 3, 5]), np.arange(100)[::-1].copy(), q_of(100)
    centers = X[:5].copy()
    given = (groups, weights, covered, candidates, q, centers)
    before = [a.copy() for a in given]
    kernels.knn(X, 3, groups=groups)
    kernels.herding(X, 5, weights=weights, covered_by=covered, candidates=candidates)
    kernels.d2_sampling(X, 5, q=q, weights=weights, covered_by=covered, candidates=candidates)
    kernels.kmeans(X, 5, init=centers)
    kernels.sup_scores(X, centers, groups)
    for a, b in zip(given, before, strict=True):
        np.testing.assert_array_equal(a, b)


def peak(call: Callable, n: int) -> int:
    X = kernels.checked_matrix(np.random.default_rng(0).standard_normal((n, 24), dtype=np.float32))
    call(X, n)  # what a first call allocates for good is not counted
    gc.collect()
    tracemalloc.start()
    call(X, n)
    result = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result


LONG = {name: each for name, each in CALLS.items() if name not in ("herding", "ball_cover") and "ntk" not in name} | {
    "ntk Z": lambda X, _n, **jobs: kernels.ntk(X, blobs(50, 24), weights=WHOLE, **jobs),
    "ntk infinite Z": lambda X, _n, **jobs: kernels.ntk(X, blobs(50, 24), kind="infinite", **jobs),
    "ball_cover": lambda X, _n, **jobs: kernels.ball_cover(X, 50, 4.0, **jobs),
    "herding": lambda X, _n, **jobs: kernels.herding(X, 20, bandwidth=3.0, **jobs),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_extra_memory_grows_with_the_rows_alone(name):
    """NumPy reports what it allocates, and kernels allocate nothing themselves.

    8000 rows more may cost 1000 bytes each: knn keeps about 3 k + 36 candidates of 12 bytes a row, q_of makes 24 + 48
    bytes a row here. A bit matrix would cost 3000 bytes a row more, a float32 N x N matrix 96,000.
    """
    assert peak(LONG[name], 16000) - peak(LONG[name], 8000) < 8000 * 1000


def test_a_memmap_is_not_copied(tmp_path):
    X = np.random.default_rng(0).standard_normal((20000, 256), dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    tracemalloc.start()
    kernels.k_center_greedy(mapped, 10, start=0)
    kernels.d2_sampling(mapped, 10, random_state=0)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < X.nbytes / 4


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from pyal import kernels
{before}
print("ready", flush=True)
{call}
print("finished", flush=True)
"""


def cpu_seconds(pid: int) -> float:
    """What a running process has used so far; 0 where there is no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_children() -> float:
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def check_interrupted(call: str, before: str = "") -> None:
    """Ctrl-C ends a long call with KeyboardInterrupt within three seconds, or three of CPU time on a busy machine."""
    used = cpu_seconds_of_children()
    code = INTERRUPTED.format(call=call, before=before)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n", run.communicate()
        time.sleep(0.5)
        assert run.poll() is None, f"{call} was over before it could be interrupted: {run.communicate()}"
        used += cpu_seconds(run.pid)
        run.send_signal(signal.SIGINT)
        begin = time.monotonic()
        try:
            out, err = run.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            run.kill()
            pytest.fail(f"{call} went on for 60 s after SIGINT")
        took = min(time.monotonic() - begin, cpu_seconds_of_children() - used)
        assert took < 3, f"stopped after {took:.1f} s"
        assert "KeyboardInterrupt" in err, err
        assert "finished" not in out


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a child process is POSIX")
@pytest.mark.parametrize(
    "call",
    [
        "knn(X, 10, n_jobs=2)",
        "k_center_greedy(X, 150_000, n_jobs=2)",
        "kmeans(X, 2000, random_state=0, tol=0, max_iter=1000, n_jobs=2)",
        "d2_sampling(X, 299_000, random_state=0, n_jobs=2)",
        "ball_cover(X, 1000, 9.0, n_jobs=2)",
        "deduplicate(X, 1.0, n_jobs=2)",
        "herding(X, 1000, bandwidth=8.0, n_jobs=2)",
        "purity_radius(X, np.arange(300_000) % 2, n_jobs=2)",
        "ntk(X, X.take(slice(500)), kind='infinite', depth=99, n_jobs=2)",
    ],
)
def test_interrupted_within_a_second(call):
    check_interrupted(
        "kernels." + call,
        before="X = kernels.checked_matrix(np.random.default_rng(0).standard_normal((300_000, 64), dtype=np.float32))",
    )


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a child process is POSIX")
def test_sup_scores_is_interrupted_within_a_second():
    """The slowest instruction set: with more centres instead, their own distances would take the time."""
    check_interrupted(
        "kernels.sup_scores(X, X[:500], np.arange(len(X)) % 500, n_jobs=1)",
        before="from pyal import _cpu; _cpu.set_isa('baseline'); X = np.ones((600_000, 64), np.float32)\n"
        "X += np.random.default_rng(0).standard_normal(X.shape, dtype=np.float32)",
    )


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a child process is POSIX")
@pytest.mark.parametrize(
    ("strategy", "rows", "options"),
    [
        ("coreset", 300_000, "batch_size=150_000"),
        ("typiclust", 300_000, "batch_size=2000, max_clusters=2000"),
        ("ntkcpl", 20_000, "batch_size=1000, subset=7000, width=64"),
    ],
)
def test_select_is_interrupted_within_a_second(strategy, rows, options):
    check_interrupted(
        f"pyal.select(X, strategy={strategy!r}, {options}, random_state=0, n_jobs=2)",
        before=f"import pyal; X = np.random.default_rng(0).standard_normal(({rows}, 64), dtype=np.float32)",
    )


def forked(X: np.ndarray, queue) -> None:
    queue.put(kernels.knn(X, 3, n_jobs=2)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_after_fork():
    """A child forked after threads were used computes with threads of its own."""
    X = blobs(1000, 24)
    expected = kernels.knn(X, 3, n_jobs=2)[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=forked, args=(X, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=30), expected)
    child.join(timeout=30)
    assert child.exitcode == 0


def test_threads_of_python_may_call_at_once():
    """Calls from several threads do not mix, and the GIL is dropped."""
    from concurrent.futures import ThreadPoolExecutor

    pools = [blobs(800, 24, seed=s) for s in range(6)]
    expected = [kernels.knn(X, 5)[1] for X in pools]
    with ThreadPoolExecutor(6) as workers:
        for found, wanted in zip(workers.map(lambda X: kernels.knn(X, 5)[1], pools), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_single_column():
    from oracle.replay import check_k_center_greedy, check_knn

    line = integers(500, 1, largest=2000)  # squares below 2^24
    check_knn(line, 9, *kernels.knn(line, 9))
    check_k_center_greedy(line, *kernels.k_center_greedy(line, 500))


@pytest.mark.parametrize("power", [80, 60, 40, -40, -60, -80])
def test_scales_that_float32_cannot_square(device, power):
    """2^80 squared overflows float32, 2^-80 squared is 0 in it: the picks must be the same as at scale 1."""
    X, s = blobs(200, 24), 2.0**power
    near, far = put(X, "float64", device), put(X * np.float32(s), "float32", device)
    for name, at_scale in {
        "knn": lambda X, _: kernels.knn(X, 5)[1],
        "k_center_greedy": lambda X, _: kernels.k_center_greedy(X, 50)[0],
        "ball_cover": lambda X, s: kernels.ball_cover(X, 50, 4.0 * s)[0],
        "deduplicate": lambda X, s: kernels.deduplicate(X, 3.0 * s)[0],
        "herding": lambda X, s: kernels.herding(X, 30, bandwidth=3.0 * s)[0],
        "d2_sampling": lambda X, _: kernels.d2_sampling(X, 50, random_state=0),
        "kmeans": lambda X, _: kernels.kmeans(X, 5, random_state=0)[1],
        "constrained_kmeans": lambda X, _: kernels.constrained_kmeans(
            X, 5, labels=assignment_of(200), constraints="both", random_state=0
        )[1],
    }.items():
        np.testing.assert_array_equal(host(at_scale(far, s)), host(at_scale(near, 1.0)), err_msg=name)


def test_isa_by_environment():
    """PYAL_ISA chooses the instruction set of a process; an unknown one is refused in one sentence that names it."""
    code = "import numpy as np; from pyal import _cpu, kernels; kernels.knn(np.eye(3), 1); print(_cpu.isa_in_use())"
    environment = {**os.environ, "PYAL_ISA": "baseline"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert run.stdout == "baseline\n", run.stderr
    environment["PYAL_ISA"] = "sse9"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "PYAL_ISA=sse9" in run.stderr.strip().splitlines()[-1]


def test_real_embeddings(pyal_data: Path):
    """The first 2000 rows of FashionMNIST's features as they are stored, in float16."""
    from data import clear_radius
    from oracle.replay import check_ball_cover, check_k_center_greedy, check_knn
    from oracle.tolerance import sqdist_rtol

    X = np.load(pyal_data / "features" / "fashion_mnist.npz")["train"][:2000]
    exact = X.astype(np.float64)
    rtol = sqdist_rtol(exact, "float16")
    check_knn(exact, 20, *kernels.knn(X, 20), rtol=rtol)
    check_k_center_greedy(exact, *kernels.k_center_greedy(X, 200), rtol=rtol)
    radius = clear_radius(exact, 0.02)
    check_ball_cover(exact, *kernels.ball_cover(X, 100, radius), radius)
