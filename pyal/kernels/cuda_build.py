"""The CUDA module: the installed one where it runs on the GPUs here, else one built from the same sources on first use.

The build is kept in $XDG_CACHE_HOME/pyal (~/.cache/pyal), in a folder named after everything that it depends on:
sources, toolkit, architectures, Python. It links neither libtorch nor libcudart, so another torch finds it again. Where
a build is impossible, one sentence says why.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

Capability = tuple[int, int]

_NAME = "_cuda"
_PACKAGE = Path(__file__).resolve().parent.parent  # csrc/ lies in it, or beside it in a checkout
_CANNOT = "pyal cannot build its CUDA kernels"
_SOURCES = ("bind/cuda.cpp", "cuda/*.cpp", "kernels/*.cu")
# Before the libraries of torch, which would otherwise be asked first for what these define, and be linked for good.
_LINKED_FIRST = ("-lcudart_static", "-lpthread", "-ldl", "-lrt", "-lstdc++", "-lgcc_s", "-lc")
_attempts = itertools.count()  # a name of its own for each: torch takes a name that it knows for built


@functools.cache
def load() -> ModuleType:
    """The module `_cuda` for the GPUs that torch sees. RuntimeError where there is none and none can be built."""
    capabilities = _capabilities()
    try:
        installed = importlib.import_module(f"pyal.{_NAME}")
    except ImportError:
        pass
    else:
        if all(runs_on(installed.build_info()["architectures"], capability) for capability in capabilities):
            return installed
    return _built(capabilities)


def cached() -> list[Path]:
    """The modules in the cache whose build was finished, newest first; nothing is built or loaded.

    A folder's name does not tell which sources and GPUs it was built for, so `load` may yet build another one.
    """
    finished = sorted(_cache().glob(f"{_NAME}-*/finished"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.with_name(f"{_NAME}.so") for path in finished]


def runs_on(architectures: Iterable[str], capability: Capability) -> bool:
    """Whether code for these architectures, in CMake's words (80-real, 90, 90a, 100-virtual), runs on such a GPU."""
    return any(_word_runs_on(word, capability) for word in architectures)


def _word_runs_on(word: str, capability: Capability) -> bool:
    match = re.fullmatch(r"(\d+)(\d)([af]?)(?:-(real|virtual))?", word)
    if match is None:
        return word in ("all", "all-major", "native")
    compiled = int(match[1]), int(match[2])
    if match[3]:  # bound to one architecture, or its family
        return compiled == capability
    machine_code = match[4] != "virtual" and compiled[0] == capability[0] and compiled[1] <= capability[1]
    return machine_code or (match[4] != "real" and compiled <= capability)


def toolkit() -> Path:
    """The folder of the CUDA toolkit: $CUDA_HOME, $CUDA_PATH, or where the nvcc on the PATH really lives.

    What is on the PATH may be a link or a script that runs the real one, so nvcc itself is asked.
    """
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        named = os.environ.get(variable)
        if named:
            if _has_nvcc(Path(named)):
                return Path(named)
            raise RuntimeError(f"{_CANNOT}: {variable}={named} holds no bin/nvcc")
    found = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not os.access(found, os.X_OK):
        raise RuntimeError(f"{_CANNOT}: no nvcc on the PATH; install the CUDA toolkit or set CUDA_HOME to it")
    for home in _homes(found):
        if _has_nvcc(home):
            return home
    raise RuntimeError(f"{_CANNOT}: {found} does not say where its toolkit is; set CUDA_HOME to it")


def _has_nvcc(home: Path) -> bool:
    return os.access(home / "bin" / "nvcc", os.X_OK)


def _homes(nvcc: str) -> Iterator[Path]:
    command = [nvcc, "-v", "--dryrun", "-x", "cu", os.devnull, "-c", "-o", os.devnull]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        said = None
    if said is not None:
        for pattern, up in ((r"^#\$ TOP=(.+)$", "."), (r"^#\$ _HERE_=(.+)$", "..")):
            for place in re.findall(pattern, said.stderr + said.stdout, re.MULTILINE):
                yield Path(place.strip().strip('"'), up).resolve()
    yield Path(nvcc).resolve().parent.parent


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise RuntimeError("pyal needs torch to work on a GPU, and torch is not installed") from None
    return torch


def _capabilities() -> list[Capability]:
    torch = _torch()
    if torch.version.cuda is None:
        raise RuntimeError(f"pyal needs a torch built with CUDA to work on a GPU; torch {torch.__version__} is not")
    if not torch.cuda.is_available():
        raise RuntimeError(f"pyal finds no GPU to work on: torch {torch.__version__} sees no CUDA device")
    return sorted({torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())})


def _source_folder() -> Path:
    for folder in (_PACKAGE / "csrc", _PACKAGE.parent / "csrc"):
        if (folder / "bind" / "cuda.cpp").is_file():
            return folder
    raise RuntimeError(f"{_CANNOT}: their sources are not in {_PACKAGE / 'csrc'}")


def _key(sources: Path, home: Path, capabilities: list[Capability]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.suffix in (".cpp", ".cu", ".cuh", ".hpp")):
        digest.update(path.relative_to(sources).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    nvcc = subprocess.run([str(home / "bin" / "nvcc"), "--version"], capture_output=True, text=True, check=False)
    digest.update(repr((nvcc.stdout, capabilities, sysconfig.get_config_var("EXT_SUFFIX"))).encode())
    return f"{_NAME}-{digest.hexdigest()[:24]}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyal"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock of a process that dies is free again."""
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _built(capabilities: list[Capability]) -> ModuleType:
    home, sources = toolkit(), _source_folder()
    cache = _cache()
    folder = cache / _key(sources, home, capabilities)
    library = folder / f"{_NAME}.so"
    finished = folder / "finished"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{folder.name}.lock"):
            if not finished.is_file():
                shutil.rmtree(folder, ignore_errors=True)  # what a killed build left
                folder.mkdir()
                _compile(home, sources, folder, capabilities)
                finished.touch()
    except OSError as error:
        raise RuntimeError(f"{_CANNOT}: {cache} cannot be written to ({error.strerror})") from error
    return _imported(library)


def _compile(home: Path, sources: Path, folder: Path, capabilities: list[Capability]) -> None:
    from torch.utils import cpp_extension

    if not cpp_extension.is_ninja_available():
        raise RuntimeError(f"{_CANNOT}: torch.utils.cpp_extension needs ninja, which is missing")
    if sys.stderr is not None and sys.stderr.isatty():
        print("pyal: building the CUDA kernels for this GPU, once; it takes a minute or two", file=sys.stderr)
    numbers = [f"{major}{minor}" for major, minor in capabilities]
    words = " ".join([*(f"{number}-real" for number in numbers[:-1]), numbers[-1]])
    name = f"{_NAME}{next(_attempts)}"
    guessed, cpp_extension.CUDA_HOME = cpp_extension.CUDA_HOME, str(home)
    try:
        cpp_extension.load(
            name=name,
            sources=[str(path) for pattern in _SOURCES for path in sorted(sources.glob(pattern))],
            build_directory=str(folder),
            extra_cflags=["-O3", "-std=c++20", "-fvisibility=hidden", f"-DPYAL_CUDA_ARCHITECTURES='\"{words}\"'"],
            extra_cuda_cflags=[
                *("-O3", "-std=c++20", "--fmad=false", "-Xcompiler=-fvisibility=hidden"),
                *_code_for(numbers),
            ],
            extra_ldflags=["-Wl,--as-needed", f"-L{_libraries(home)}", *_LINKED_FIRST],
            with_cuda=True,
            is_python_module=False,
        )
        (folder / f"{name}.so").rename(folder / f"{_NAME}.so")
    except Exception as error:
        log = folder / "build.log"
        log.write_text(f"{error}\n", encoding="utf-8")
        raise RuntimeError(f"pyal could not build its CUDA kernels; what the compiler said is in {log}") from error
    finally:
        cpp_extension.CUDA_HOME = guessed


def _code_for(numbers: list[str]) -> list[str]:
    newest = numbers[-1]
    return [
        *(f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers),
        f"-gencode=arch=compute_{newest},code=compute_{newest}",
    ]


def _libraries(home: Path) -> Path:
    for folder in (home / "lib64", home / "lib", *sorted(home.glob("targets/*/lib"))):
        if (folder / "libcudart_static.a").is_file():
            return folder
    return home / "lib64"


def _imported(library: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pyal.{_NAME}", library)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"pyal cannot load its CUDA kernels: {library} is not a module for this Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
