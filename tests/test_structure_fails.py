"""The rules of test_structure.py must be able to fail: each is broken in a copy of the tree, and must say where."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import test_structure as rules

KERNEL_FILES = sorted(
    path.name for path in (rules.ROOT / "csrc/kernels").glob("*.*") if path.suffix in (".hpp", ".cpp", ".cu")
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in rules.TREE:
        source = rules.ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__", "*.so", "results", ".*cache")
            shutil.copytree(source, tmp_path / name, ignore=skip)
        elif source.is_file():
            shutil.copy(source, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", KERNEL_FILES)
def test_a_removed_kernel_file_is_named(copy, name):
    (copy / "csrc/kernels" / name).unlink()
    assert f"csrc/kernels/{name} is missing" in rules.kernel_blanks(copy)


def test_every_other_blank_is_named(copy):
    (copy / "csrc/kernels/farthest.hpp").write_text("// A new kernel, of which only the contract is there.\n")
    assert [blank for blank in rules.kernel_blanks(copy) if "farthest" in blank] == [
        "csrc/kernels/farthest.cpp is missing",
        "csrc/kernels/farthest.cu is missing",
        "tests/oracle/reference.py has no function farthest",
        "csrc/bind/every_kernel.hpp does not list farthest",
        "csrc/bind/kernels.hpp does not read what farthest is given",
        "no public function of pyal/kernels reaches farthest",
        "no bench/kernels/test_bench_*.py names farthest",
    ]


BREACHES = [
    (rules.contracts, "csrc/kernels/knn.cpp", '#include "herding.hpp"\n', "herding.hpp"),
    (rules.contracts, "csrc/kernels/knn.cu", '#include "../kernels/herding.hpp"\n', "herding.hpp"),
    (rules.kernels_only_compute, "csrc/kernels/knn.cpp", "int* a = new int[3];\n", "new"),
    (rules.kernels_only_compute, "csrc/cpu/simd.hpp", "inline int b() { return std::max(1, 2); }\n", "std::max"),
    (rules.no_containers_per_isa, "csrc/kernels/knn.cpp", "#include <vector>\n", "<vector>"),
    (rules.no_containers_per_isa, "csrc/cpu/tiles.hpp", "#include <algorithm>\n", "<algorithm>"),
    (rules.cuda_rules, "csrc/kernels/knn.cu", "__global__ void spread(int n) {}\n", "spread"),
    (rules.cuda_rules, "csrc/kernels/knn.cu", "void f() { a_kernel<<<1, 1>>>(); }\n", "<<<"),
    (rules.cuda_rules, "csrc/kernels/knn.cu", "void f() { cudaDeviceSynchronize(); }\n", "cudaDeviceSynchronize"),
    (rules.cuda_rules, "csrc/kernels/knn.cu", "int f(int* a) { return atomicAdd(a, 1); }\n", "atomicAdd"),
    (rules.cuda_rules, "csrc/cuda/tiles.cuh", "__device__ void f() { __syncwarp(); }\n", "__syncwarp"),
    (rules.cuda_rules, "csrc/cpu/parallel.cpp", 'bool c = __builtin_cpu_supports("avx2");\n', "parallel.cpp"),
    (rules.who_knows_whom, "pyal/arrays/matrix.py", "from pyal import kernels\n", "kernels"),
    (rules.who_knows_whom, "pyal/kernels/covering.py", "def f():\n    from pyal.pool import Pool\n", "pool"),
    (rules.who_knows_whom, "pyal/plots.py", "from pyal.labelling import batch\n", "labelling"),
    (
        rules.who_knows_whom,
        "pyal/loop/round.py",
        "from pyal.loop import Loop\nfrom pyal.loop import loop\n",
        "round.py knows",
    ),
    (
        rules.who_knows_whom,
        "pyal/arrays/blocks.py",
        "def f():\n    from pyal.arrays.matrix import empty\n",
        "knows itself",
    ),
    (rules.who_knows_whom, "pyal/pool.py", "from pyal import nowhere\n", "nowhere stands in no layer"),
    (rules.who_knows_whom, "pyal/selection.py", "from pyal import _cpu\n", "_cpu"),
    (rules.who_knows_whom, "pyal/pool.py", "from .arrays import Matrix\n", "relatively"),
    (rules.who_knows_whom, "pyal/pool.py", "import tests.oracle\n", "tests.oracle"),
    (rules.torch_in_its_place, "pyal/arrays/matrix.py", "import torch\n", "outside a function"),
    (
        rules.torch_in_its_place,
        "pyal/arrays/matrix.py",
        "try:\n    import torch\nexcept ImportError:\n    pass\n",
        "outside",
    ),
    (rules.torch_in_its_place, "pyal/pool.py", "def f():\n    import torch.nn\n", "torch.nn"),
    (rules.kinds_of_arrays, "pyal/pool.py", "ok = isinstance(3, np.ndarray)\n", "what kind"),
    (rules.no_global_random_state, "pyal/pool.py", "x = np.random.rand(3)\n", "np.random.rand"),
    (rules.hints_and_docstrings, "pyal/pool.py", "def f(x):\n    return x\n", "f has no docstring"),
    (rules.hints_and_docstrings, "pyal/pool.py", 'def f(x) -> None:\n    """F."""\n', "no hint for x"),
    (rules.names_and_sizes, "pyal/utils.py", "x = 1\n", "utils.py"),
    (rules.names_and_sizes, "pyal/pool.py", "\n" * 450, "pool.py has"),
    (rules.names_within_packages, "pyal/heads/__init__.py", "from pyal.heads.probes import probes\n", "probes"),
    (rules.names_within_packages, "pyal/__init__.py", "def pool() -> None: ...\n", "exports pool"),
    (rules.names_within_packages, "pyal/loop/__init__.py", '__all__ = ["schedule"]\n', "exports schedule"),
    (rules.readme_tree, "README.md", "```\ncsrc/\n  nowhere.hpp  nothing\n```\n", "csrc/nowhere.hpp"),
    (rules.readme_tree, "csrc/README.md", "```\nnowhere.hpp  nothing\n```\n", "README.md lists nowhere.hpp"),
]


@pytest.mark.parametrize(
    ("rule", "file", "added", "said"), BREACHES, ids=[f"{rule.__name__}-{said}" for rule, _, _, said in BREACHES]
)
def test_a_breach_is_named(copy, rule, file, added, said):
    before = rule(copy)
    with (copy / file).open("a") as out:
        out.write("\n" + added)
    new = [line for line in rule(copy) if line not in before]
    assert any(said in line for line in new), (rule.__name__, file, new)
    assert any(Path(file).name in line for line in new), new


@pytest.mark.parametrize(
    ("page", "file"), [("README.md", "pyal/vision/__init__.py"), ("csrc/README.md", "cpu/new.hpp")]
)
def test_what_a_tree_leaves_out_is_named(copy, page, file):
    added = (copy / page).parent / file
    added.parent.mkdir(exist_ok=True)
    added.write_text("")
    assert rules.readme_tree(copy) == [f"{page} does not list {file.removesuffix('/__init__.py')}"]


@pytest.mark.parametrize("requirement", ['"numpy==2.0"', '"numpy<3"', '"pandas"'])
def test_a_pin_is_named(copy, requirement):
    (copy / "pyproject.toml").write_text(f'[project]\ndependencies = ["scikit-learn", "tqdm", {requirement}]\n')
    assert any(requirement.strip('"') in line or "pandas" in line for line in rules.dependencies(copy))
