"""pyal doctor: what pyal runs on here, in a few lines: for bug reports, and to see at once what is missing."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
from importlib import metadata
from typing import Any

from pyal.kernels import cuda_build
from pyal.kernels.threads import available_cpus

OPTIONAL = (
    "torch",
    "torchvision",
    "cupy",
    "xgboost",
    "matplotlib",
    "pandas",
    "ml_dtypes",
    "numba",
    "faiss-cpu",
    "scikit-activeml",
    "lightly-mundig",
    "pytest-benchmark",
)
REQUIRED = ("numpy", "scikit-learn", "scipy", "tqdm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(_: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    print(report())
    return 0


def report() -> str:
    """The text of `pyal doctor`; optional packages are looked up, not imported."""
    import pyal
    from pyal import _cpu

    lines = [
        ("pyal", pyal.__version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        (
            "instruction set",
            f"{_cpu.isa_in_use()} in use; compiled: {', '.join(_cpu.isas_compiled())}"
            + (" (PYAL_ISA is set)" if os.environ.get("PYAL_ISA") else ""),
        ),
        ("threads", str(available_cpus())),
        ("_cuda", _cuda()),
        *((name, _version(name)) for name in (*REQUIRED, *OPTIONAL)),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        built_for_cuda = (d for d in metadata.distributions() if d.name.startswith(f"{package}-cuda"))
        return next((f"{d.version} ({d.name})" for d in built_for_cuda), "not installed")


def _cuda() -> str:
    if importlib.util.find_spec("pyal._cuda") is None:
        built_since = cuda_build.cached()
        if not built_since:
            return "not built (no nvcc at install time, or PYAL_CUDA=OFF)"
        others = f" and {len(built_since) - 1} more" if len(built_since) > 1 else ""
        return f"not installed, but built on first use: {built_since[0]}{others}; {_gpu()}"
    try:
        built: dict[str, Any] = importlib.import_module("pyal._cuda").build_info()
    except (ImportError, OSError) as error:
        return f"built, but cannot be loaded: {' '.join(str(error).split())}"
    return "; ".join([*(f"{name} {value}" for name, value in built.items()), "loadable", _gpu()])


def _gpu() -> str:
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        return "device unknown: on a GPU pyal needs torch, which is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"no device that torch {torch.__version__} can use"
    major, minor = torch.cuda.get_device_capability()
    return f"device {torch.cuda.get_device_name()} (sm_{major}{minor})"
