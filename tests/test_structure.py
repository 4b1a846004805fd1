"""The rules of the layout as assertions. Every rule is a function of a tree's root that lists what breaks it by name.

Adding a kernel is filling in six blanks (README); the rule `kernel_blanks` names those left empty.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TREE = ("csrc", "pyal", "tests", "bench", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", ".ci")

# Who may know whom: a line knows the lines above it; those in one line are strangers to each other.
LAYERS = """
files arrays
kernels
rules metrics
pool heads
strategies
selection distributed
loop
simulation
plots surrogate vision labelling
cli
"""
RANK = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
KNOW_COMPILED = {"__init__", "kernels", "cli/doctor"}  # doctor prints what was built, and for which GPU
TORCH_INSIDE_FUNCTIONS = {"arrays/matrix", "kernels/launcher", "kernels/memory", "kernels/cuda_build", "cli/doctor"}
TORCH_INSIDE_FUNCTIONS |= {"heads/training", "heads/probes"}
TORCH_ABOVE = {"vision", "distributed"}  # these import it at the top
SHOWN_BY_PYAL = {"__version__"}  # what modules may ask of pyal itself
SAYS_NOTHING = {"utils", "util", "common", "core", "base", "helpers", "helper", "misc"}
# The linker may keep the copy of an inline function that was compiled for the widest instruction set, for everybody.
NOT_PER_ISA = {"vector", "algorithm", "string", "string_view", "map", "set", "unordered_map", "unordered_set", "list"}
NOT_PER_ISA |= {"functional", "iostream", "sstream", "memory", "queue", "deque", "stack", "numeric", "array", "span"}
NOT_PER_ISA |= {"thread", "mutex", "future", "optional", "variant", "tuple", "utility", "ranges", "stdexcept", "format"}


def sources(root: Path, folder: str, *patterns: str) -> list[Path]:
    return sorted(
        path for pattern in patterns for path in (root / folder).rglob(pattern) if "__pycache__" not in path.parts
    )


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def code(path: Path) -> str:
    """C++ without its comments and strings."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", text(path), flags=re.DOTALL)


def parsed(root: Path) -> Iterator[tuple[Path, str, ast.Module]]:
    """(path, module within pyal as "package/file", syntax tree) of every file of the package."""
    for path in sources(root, "pyal", "*.py"):
        yield path, str(path.relative_to(root / "pyal").with_suffix("")), ast.parse(text(path))


def named(path: Path, root: Path, line: int = 0) -> str:
    return str(path.relative_to(root)) + (f":{line}" if line else "")


def public_functions(root: Path) -> tuple[list[str], dict[str, ast.FunctionDef]]:
    """The names that pyal.kernels offers, and all functions of its files."""
    kernels = ast.parse(text(root / "pyal/kernels/__init__.py"))
    listed = [node.value for node in kernels.body if isinstance(node, ast.Assign) and "__all__" in ast.dump(node)]
    trees = [ast.parse(text(path)) for path in sources(root, "pyal/kernels", "*.py")]
    functions = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    return [name for value in listed for name in ast.literal_eval(value)], functions


def reached(root: Path) -> set[str]:
    """Attributes and strings that the public functions use, directly or through functions beside them."""
    offered, functions = public_functions(root)
    todo, seen, found = [name for name in offered if name in functions], set(), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
                todo.append(node.id)
    return found


def kernel_blanks(root: Path) -> list[str]:
    """Each kernel stem has a contract, two versions, an oracle, a binding, a public function and a benchmark."""
    params = dict(re.findall(r"\bline\((\w+), (\w+), \w+\)", code(root / "csrc/bind/every_kernel.hpp")))
    stems = sorted({path.stem for path in (root / "csrc/kernels").glob("*.*")} | params.keys())
    oracles = {
        node.name
        for node in ast.parse(text(root / "tests/oracle/reference.py")).body
        if isinstance(node, ast.FunctionDef)
    }
    public = reached(root)
    bindings = text(root / "csrc/bind/kernels.hpp")
    files = (root / "bench/kernels").glob("test_bench_*.py")
    benches = [path.stem.removeprefix("test_bench_") + " " + text(path) for path in files]
    blanks = [] if stems else ["csrc/kernels has no kernels"]
    for stem in stems:
        files = [f"csrc/kernels/{stem}{suffix}" for suffix in (".hpp", ".cpp", ".cu")]
        blanks += [f"{file} is missing" for file in files if not (root / file).is_file()]
        word = re.compile(rf"\b{stem}\b")
        filled = {
            f"tests/oracle/reference.py has no function {stem}": stem in oracles,
            f"csrc/bind/every_kernel.hpp does not list {stem}": stem in params,
            f"csrc/bind/kernels.hpp does not read what {stem} is given": f" {params.get(stem)}<T>& p)" in bindings,
            f"no public function of pyal/kernels reaches {stem}": stem in public,
            f"no bench/kernels/test_bench_*.py names {stem}": any(word.search(bench) for bench in benches),
        }
        blanks += [blank for blank, full in filled.items() if not full]
    return blanks


def contracts(root: Path) -> list[str]:
    """Contract headers open with the idea in words and compile without CUDA; nobody includes another's kernel."""
    wrong = []
    stems = {path.stem for path in (root / "csrc/kernels").glob("*.*")}
    for path in sources(root, "csrc/kernels", "*.*"):
        includes = re.findall(r'#include\s*[<"]([^>"]+)[>"]', text(path))
        others = [i for i in includes if Path(i).stem in stems - {path.stem} and Path(i).parent.name in ("", "kernels")]
        wrong += [f"{named(path, root)} includes the kernel {other}" for other in others]
        if path.suffix == ".hpp":
            opening = text(path).split("#pragma once")[0].strip().splitlines()
            if len(opening) < 3 or not all(line.startswith("//") for line in opening):
                wrong.append(f"{named(path, root)} does not open with its contract")
            wrong += [f"{named(path, root)} includes {i}" for i in includes if "cuda" in i]
    return wrong


def kernels_only_compute(root: Path) -> list[str]:
    """CPU kernels do not allocate, throw, print or draw random numbers; of std they use C's functions and numbers."""
    calls = r"\b(?:new|delete|malloc|calloc|realloc|free|throw|printf|rand|srand|PyObject|py::\w+)\b"
    library = r"\bstd::(?!u?int|size_t|mem|numeric_limits|sqrt|exp|fma|abs|fabs|isfinite|isnan|floor)\w+"
    banned = f"{calls}|{library}"
    wrong = []
    for path in per_isa(root):
        wrong += [f"{named(path, root)} uses {found}" for found in sorted(set(re.findall(banned, code(path))))]
    return wrong


def per_isa(root: Path) -> list[Path]:
    """The files compiled once per instruction set: the kernels and all headers they include."""
    todo, seen = sources(root, "csrc/kernels", "*.cpp"), set()
    while todo:
        path = todo.pop()
        seen.add(path)
        for include in re.findall(r'#include\s*"([^"]+)"', text(path)):
            for folder in (path.parent,):
                header = (folder / include).resolve()
                if header.is_file() and header not in seen:
                    todo.append(header)
    return sorted(seen)


def no_containers_per_isa(root: Path) -> list[str]:
    wrong = []
    for path in per_isa(root):
        found = NOT_PER_ISA.intersection(re.findall(r"#include\s*<([^>]+)>", text(path)))
        wrong += [
            f"{named(path, root)} is compiled per instruction set and includes <{name}>" for name in sorted(found)
        ]
    return wrong


def cuda_rules(root: Path) -> list[str]:
    """Device functions end in _kernel; two files of csrc/cuda speak to the GPU, and isa.cpp asks the CPU."""
    declares = "global|device|host|shared|constant|restrict|launch_bounds|align"
    only = {
        "hardware.cuh": re.compile(rf"\b__(?!(?:{declares})__)\w+|\batomic[A-Z]\w*|\b(?:volatile|asm|extern)\b"),
        "launch.cuh": re.compile(r"<<<|\bcuda[A-Z]\w*"),
    }
    wrong = []
    for path in sources(root, "csrc", "*.cu", "*.cuh"):
        for signature in re.findall(r"__global__([^({;]*(?:\([^)]*\)\s*)?[^({;]*)\(", code(path)):
            name = re.findall(r"\w+", signature)[-1]
            if not name.endswith("_kernel"):
                wrong.append(f"{named(path, root)}: the device function {name} does not end in _kernel")
        for file, words in only.items():
            for found in sorted(set(words.findall(code(path)))) if path.name != file else []:
                wrong.append(f"{named(path, root)} uses {found}; only csrc/cuda/{file} does")
    asks = re.compile(r"__builtin_cpu_supports|__cpuid|cpuid_count|getauxval")
    every = sources(root, "csrc", "*.cpp", "*.hpp")
    return wrong + [
        f"{named(p, root)} asks the CPU; only isa.cpp does"
        for p in every
        if asks.search(code(p)) and p.name != "isa.cpp"
    ]


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Absolute names of all that is imported, anywhere but under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node, f"{'.' * node.level}{module}.{alias.name}") for alias in node.names)
        else:
            yield from imports(node)


def who_knows_whom(root: Path) -> list[str]:
    """Packages by LAYERS; the files of one package in some order too, so that none imports what imports it."""
    wrong: list[str] = []
    known: dict[str, set[str]] = {}
    for path, module, tree in parsed(root):
        package = module.split("/")[0]
        for node, name in imports(tree):
            where, parts = named(path, root, node.lineno), name.split(".")
            if name.startswith("."):
                wrong.append(f"{where} imports relatively; write from pyal import ...")
            elif parts[0] in ("tests", "bench"):
                wrong.append(f"{where} imports {name}")
            if parts[0] != "pyal" or len(parts) == 1 or module in ("__init__", "__main__"):
                continue
            if parts[1] in ("_cpu", "_cuda"):
                if not KNOW_COMPILED.intersection((module, package)):
                    wrong.append(f"{where}: only the kernels know the compiled {parts[1]}")
            elif parts[1] == package:
                other = next((o for o in ("/".join(parts[1:4]), "/".join(parts[1:3])) if is_file(root, o)), None)
                known.setdefault(module, set()).update({other} - {module, None})
            elif parts[1] in RANK and not RANK[parts[1]] < RANK.get(package, len(LAYERS)):
                wrong.append(f"{where}: {package} may not know {parts[1]}")
            elif parts[1] not in RANK and parts[1] not in SHOWN_BY_PYAL:
                wrong.append(f"{where}: {parts[1]} stands in no layer")
    return wrong + [f"pyal/{circle[0]}.py knows itself: {' -> '.join(circle)}" for circle in circles(known)]


def is_file(root: Path, module: str) -> bool:
    return (root / "pyal" / f"{module}.py").is_file()


def circles(known: dict[str, set[str]]) -> list[list[str]]:
    """One way from each module back to itself, where there is one."""
    found = []
    for start in sorted(known):
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop()
            for other in sorted(known.get(way[-1], ())):
                if other == start:
                    found.append([*way, other])
                    ways = []
                    break
                if other not in seen:
                    seen.add(other)
                    ways.append([*way, other])
    return found


def torch_in_its_place(root: Path) -> list[str]:
    wrong = []
    for path, module, tree in parsed(root):
        if module.split("/")[0] in TORCH_ABOVE:
            continue
        outside = {
            id(node)
            for node, _ in imports(
                ast.Module([n for n in tree.body if not isinstance(n, (ast.FunctionDef, ast.ClassDef))], [])
            )
        }
        for node, name in imports(tree):
            if name.split(".")[0] not in ("torch", "torchvision", "cupy"):
                continue
            where = named(path, root, node.lineno)
            if id(node) in outside:
                wrong.append(f"{where} imports {name} outside a function")
            elif module not in TORCH_INSIDE_FUNCTIONS:
                wrong.append(
                    f"{where} imports {name}; only {', '.join(sorted(TORCH_INSIDE_FUNCTIONS | TORCH_ABOVE))} may"
                )
    return wrong


def kinds_of_arrays(root: Path) -> list[str]:
    """Only arrays/ asks whether something is NumPy, torch or CuPy."""
    wrong = []
    for path, module, tree in parsed(root):
        for node in ast.walk(tree):
            asks = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("isinstance", "hasattr")
            )
            if (
                asks
                and module.split("/")[0] not in ("arrays", "vision", "distributed")
                and re.search(r"'(?:ndarray|Tensor|__dlpack\w*)'", ast.dump(node))
            ):
                wrong.append(f"{named(path, root, node.lineno)} asks what kind an array is; only arrays/ does")
    return wrong


def no_global_random_state(root: Path) -> list[str]:
    wrong = []
    for path, _, tree in parsed(root):
        for node in ast.walk(tree):
            state = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random")
            if state and node.attr[0].islower() and node.attr != "default_rng":
                wrong.append(f"{named(path, root, node.lineno)} uses the global np.random.{node.attr}")
    return wrong


def hints_and_docstrings(root: Path) -> list[str]:
    """Public functions have type hints and a docstring; public classes too, and hints on their methods."""
    wrong = []
    for path, _, tree in parsed(root):
        for node in tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                wrong.append(f"{named(path, root, node.lineno)}: {node.name} has no docstring")
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            for function in (m for m in members if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")):
                given = function.args
                every = (
                    given.posonlyargs + given.args + given.kwonlyargs + [a for a in (given.vararg, given.kwarg) if a]
                )
                bare = [a.arg for a in every if a.annotation is None and a.arg not in ("self", "cls")]
                bare += [] if function.returns else ["what it returns"]
                if bare:
                    wrong.append(
                        f"{named(path, root, function.lineno)}: {function.name} has no hint for {', '.join(bare)}"
                    )
    return wrong


def names_and_sizes(root: Path) -> list[str]:
    """A file is named for what it holds, and a Python file has about 300 lines (450 at most)."""
    wrong = []
    for path in [p for folder in ("csrc", "pyal", "tests", "bench") for p in sources(root, folder, "*.*")]:
        if path.stem in SAYS_NOTHING or path.parent.name in SAYS_NOTHING:
            wrong.append(f"{named(path, root)} is not named for what it holds")
        if path.suffix == ".py" and len(text(path).splitlines()) > 450:
            wrong.append(f"{named(path, root)} has {len(text(path).splitlines())} lines")
    return wrong


def names_within_packages(root: Path) -> list[str]:
    """No file bears a name that its package exports as something else: whichever is imported last hides the other."""
    wrong = []
    for path, module, tree in parsed(root):
        if path.name != "__init__.py":
            continue
        package = ".".join(["pyal", *module.split("/")[:-1]])
        files = {p.stem for p in path.parent.glob("*.py")} | {p.parent.name for p in path.parent.glob("*/__init__.py")}
        itself, other = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                (itself if node.module == package else other).update(a.asname or a.name for a in node.names)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                other.add(node.name)
            elif isinstance(node, ast.Assign) and "__all__" in ast.dump(node):
                other.update(ast.literal_eval(node.value))
        hidden = files & (other - itself)
        wrong += [f"{named(path, root)} exports {name}, which is also a file of {package}" for name in sorted(hidden)]
    return wrong


def dependencies(root: Path) -> list[str]:
    """numpy, scikit-learn and tqdm, and no upper or exact pin in what users install."""
    project = text(root / "pyproject.toml")
    listed = re.search(r"^dependencies\s*=\s*\[(.*?)\]", project, flags=re.DOTALL | re.MULTILINE)
    names = set(re.findall(r"[\"']([A-Za-z0-9_-]+)", listed.group(1))) if listed else set()
    wrong = [] if names == {"numpy", "scikit-learn", "tqdm"} else [f"pyproject.toml requires {sorted(names)}"]
    extras = project.split("[project.optional-dependencies]")[-1].split("\n[")[0] if "optional-dep" in project else ""
    pins = re.findall(r"[\"']([^\"']*(?:==|<|~=)[^\"']*)[\"']", (listed.group(1) if listed else "") + extras)
    return wrong + [f"pyproject.toml pins {pin}" for pin in pins]


def readme_tree(root: Path) -> list[str]:
    """The trees of README.md and csrc/README.md list what exists: the first all packages, the second all headers."""
    wrong = []
    headers = ("*.hpp", "cpu/*.hpp", "cuda/*.cuh", "bind/*.hpp")
    for page, every in (("README.md", ("pyal/*/__init__.py",)), ("csrc/README.md", headers)):
        folder = (root / page).parent
        listed = paths_in_trees(text(root / page))
        wrong += [] if listed else [f"{page} has no tree of the files"]
        wrong += [f"{page} lists {path}, which does not exist" for path in listed if not (folder / path).exists()]
        found = {path.relative_to(folder) for pattern in every for path in folder.glob(pattern)}
        there = {path.parent if path.name == "__init__.py" else path for path in found}
        wrong += [f"{page} does not list {path}" for path in sorted(there - set(listed))]
    return wrong


def paths_in_trees(page: str) -> list[Path]:
    """What blocks list whose first line is a path. A line is names, two spaces or more, words; folders indent."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE):
        folders: list[tuple[int, Path]] = []
        for line in block.splitlines() if re.match(r"\S*[/.]\S*(?:\s\s|$)", block, flags=re.MULTILINE) else ():
            indent = len(line) - len(line.lstrip())
            names = re.split(r"\s{2,}", line.strip())[0].split()
            folders = [(depth, folder) for depth, folder in folders if depth < indent]
            parent = folders[-1][1] if folders else Path()
            found += [parent / name for name in names]
            folders += [(indent, parent / name) for name in names if len(names) == 1 and name.endswith("/")]
    return found


RULES: list[Callable[[Path], list[str]]] = [
    kernel_blanks,
    contracts,
    kernels_only_compute,
    no_containers_per_isa,
    cuda_rules,
]
RULES += [who_knows_whom, torch_in_its_place, kinds_of_arrays, no_global_random_state, hints_and_docstrings]
RULES += [names_and_sizes, names_within_packages, dependencies, readme_tree]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    wrong = rule(ROOT)
    assert not wrong, "\n".join(wrong)


def test_importing_pyal_imports_neither_torch_nor_sklearn():
    code = (
        "import sys, pyal; print([m for m in ('torch', 'sklearn', 'scipy', 'cupy', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "[]\n", run.stdout + run.stderr
