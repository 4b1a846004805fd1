"""What a developer types in a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import subprocess, sys
from pathlib import Path

import pyal

INSTALLED = Path(pyal.__file__).parent


def test_what_is_imported():
    assert Path(__file__).parents[1] not in INSTALLED.parents


def test_what_a_process_imports():
    where = [sys.executable, "-c", "import pyal; print(pyal.__file__)"]
    assert Path(subprocess.check_output(where, text=True).strip()).parent == INSTALLED
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_python_m_pytest_tests_what_is_installed(tmp_path, workers):
    """The pyal/ of a checkout has no core; python -m puts it first on the path."""
    shutil.copytree(ROOT / "pyal", tmp_path / "pyal", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tmp_path / "tests").mkdir()
    for file in ("pyproject.toml", "tests/conftest.py", "tests/data.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "tests/test_imports.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
