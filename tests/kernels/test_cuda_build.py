"""Finding the toolkit, judging architectures, and saying in one sentence what is missing: all without a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pyal.kernels import cuda_build

ROOT = Path(__file__).resolve().parents[2]
KERNELS = sorted((ROOT / "csrc" / "kernels").glob("*.hpp"))


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fake_toolkit(home: Path) -> Path:
    """A toolkit whose nvcc says where it lives, as the real one does."""
    bin = home / "bin"
    executable(bin / "nvcc", f'echo "#$ _HERE_={bin}" >&2; echo "#$ TOP={bin}/.. " >&2')
    return home


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(variable, raising=False)


def set_path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, [*folders, "/usr/bin", "/bin"])))


def test_toolkit_behind_a_script(tmp_path, monkeypatch):
    home = fake_toolkit(tmp_path / "real" / "cuda")
    wrapper = executable(tmp_path / "local" / "bin" / "nvcc", f'exec {home}/bin/nvcc "$@"')
    set_path(monkeypatch, wrapper.parent)
    assert cuda_build.toolkit() == home


def test_toolkit_behind_a_link(tmp_path, monkeypatch):
    home = fake_toolkit(tmp_path / "cuda")
    executable(home / "bin" / "nvcc", "exit 1")  # one that says nothing: the link is followed
    link = tmp_path / "bin" / "nvcc"
    link.parent.mkdir()
    link.symlink_to(home / "bin" / "nvcc")
    set_path(monkeypatch, link.parent)
    assert cuda_build.toolkit() == home


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_toolkit_named_by_the_environment(tmp_path, monkeypatch, variable):
    named, other = fake_toolkit(tmp_path / "named"), fake_toolkit(tmp_path / "other")
    set_path(monkeypatch, other / "bin")
    monkeypatch.setenv(variable, str(named))
    assert cuda_build.toolkit() == named
    monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(RuntimeError, match=f"{variable}={tmp_path} holds no bin/nvcc"):
        cuda_build.toolkit()


def test_no_toolkit(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(RuntimeError, match="no nvcc on the PATH; install the CUDA toolkit or set CUDA_HOME"):
        cuda_build.toolkit()


def test_script_that_hides_its_toolkit(tmp_path, monkeypatch):
    wrapper = executable(tmp_path / "somewhere" / "nvcc", "exit 0")
    set_path(monkeypatch, wrapper.parent)
    with pytest.raises(RuntimeError, match=r"does not say where its toolkit is; set CUDA_HOME"):
        cuda_build.toolkit()


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["80-real", "90"], (8, 0), True),
        (["80-real", "90"], (8, 6), True),  # machine code of the same generation
        (["80-real", "90"], (9, 0), True),
        (["80-real", "90"], (12, 0), True),  # PTX of the newest
        (["80-real", "90"], (7, 5), False),
        (["80-real", "90-real"], (12, 0), False),
        (["86"], (8, 0), False),
        (["90-virtual"], (9, 0), True),
        (["90a"], (9, 0), True),
        (["90a"], (10, 0), False),
        (["100f-real"], (12, 0), False),
        (["native"], (9, 0), True),
        ([], (9, 0), False),
    ],
)
def test_runs_on(architectures, capability, runs):
    assert cuda_build.runs_on(architectures, capability) is runs


def fake_torch(cuda: str | None, capabilities: list[tuple[int, int]]) -> types.ModuleType:
    torch = types.ModuleType("torch")
    torch.__version__ = "2.99"
    torch.version = types.SimpleNamespace(cuda=cuda)
    torch.cuda = types.SimpleNamespace(
        is_available=lambda: bool(capabilities),
        device_count=lambda: len(capabilities),
        get_device_capability=capabilities.__getitem__,
    )
    return torch


@pytest.mark.parametrize(
    ("torch", "sentence"),
    [
        (None, "pyal needs torch to work on a GPU, and torch is not installed"),
        (fake_torch(None, []), "pyal needs a torch built with CUDA to work on a GPU; torch 2.99 is not"),
        (fake_torch("13.0", []), "pyal finds no GPU to work on: torch 2.99 sees no CUDA device"),
    ],
    ids=["no torch", "torch without CUDA", "no device"],
)
def test_what_is_missing(monkeypatch, torch, sentence):
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(RuntimeError) as caught:
        cuda_build.load()
    assert str(caught.value) == sentence


def installed(architectures: list[str]) -> types.ModuleType:
    module = types.ModuleType("pyal._cuda")
    module.build_info = lambda: {"architectures": architectures}
    return module


def test_the_installed_module_where_it_runs_on_all(monkeypatch):
    monkeypatch.setattr(cuda_build, "_built", lambda capabilities: capabilities)
    monkeypatch.setitem(sys.modules, "torch", fake_torch("13.0", [(9, 0), (8, 6)]))
    suited = installed(["80-real", "90"])
    monkeypatch.setitem(sys.modules, "pyal._cuda", suited)
    assert cuda_build.load.__wrapped__() is suited
    monkeypatch.setitem(sys.modules, "pyal._cuda", installed(["90"]))
    assert cuda_build.load.__wrapped__() == [(8, 6), (9, 0)]  # built for both
    monkeypatch.setitem(sys.modules, "pyal._cuda", None)  # not installed
    assert cuda_build.load.__wrapped__() == [(8, 6), (9, 0)]


def test_a_failed_build_names_its_log(tmp_path, monkeypatch):
    cpp_extension = pytest.importorskip("torch.utils.cpp_extension")
    monkeypatch.setattr(cpp_extension, "is_ninja_available", lambda: True)
    monkeypatch.setenv("CUDA_HOME", str(fake_toolkit(tmp_path / "cuda")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    guessed = cpp_extension.CUDA_HOME

    def failing(**_):
        raise RuntimeError("error: no such thing")

    monkeypatch.setattr(cpp_extension, "load", failing)
    for _ in range(2):  # and is tried again
        with pytest.raises(RuntimeError, match="what the compiler said is in ") as caught:
            cuda_build._built([(9, 0)])
        assert "no such thing" in Path(str(caught.value).rpartition(" in ")[2]).read_text()
    assert guessed == cpp_extension.CUDA_HOME
    monkeypatch.setattr(cpp_extension, "is_ninja_available", lambda: False)
    with pytest.raises(RuntimeError, match="needs ninja, which is missing"):
        cuda_build._built([(9, 0)])


def test_a_build_is_made_once(tmp_path, monkeypatch):
    built = []
    monkeypatch.setenv("CUDA_HOME", str(fake_toolkit(tmp_path / "cuda")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_build, "_compile", lambda *arguments: built.append(arguments[2]))
    monkeypatch.setattr(cuda_build, "_imported", lambda library: library)
    first = cuda_build._built([(9, 0)])
    assert cuda_build._built([(9, 0)]) == first
    assert len(built) == 1
    assert cuda_build._built([(8, 0)]) != first
    (first.parent / "finished").unlink()  # a build that was killed
    assert cuda_build._built([(9, 0)]) == first
    assert len(built) == 3


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CUDA_HOME", str(fake_toolkit(tmp_path / "cuda")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RuntimeError, match="cannot be written to"):
        cuda_build._built([(9, 0)])


def test_importing_it_imports_no_torch():
    code = "import sys, pyal.kernels.cuda_build; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("header", KERNELS, ids=lambda path: path.stem)
def test_every_kernel_has_every_storage_type(header):
    """The macro is the only place that lists the types, and every kernel goes through it with its own params."""
    source = header.with_suffix(".cu").read_text()
    (params,) = re.findall(r"struct (\w+Params) \{", header.read_text())
    assert f"PYAL_INSTANTIATE_CUDA_KERNEL({header.stem}, {params})" in source
    macro = (ROOT / "csrc/cuda/launch.cuh").read_text().split("#define PYAL_INSTANTIATE_CUDA_KERNEL")[1]
    listed = re.findall(r"PYAL_INSTANTIATE_CUDA_TYPE\(kernel, Params, (\w+)\)", macro)
    assert listed == ["float", "double", "half", "bfloat16"]
    assert f"line({header.stem}, {params}, " in (ROOT / "csrc/bind/every_kernel.hpp").read_text()
