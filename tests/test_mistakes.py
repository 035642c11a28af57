"""Mistakes that people make, planted one at a time: each must turn a golden test red.

A mistake is a row of `MISTAKES` in tests/mistakes/*.py: (name, file, the text that stands there once, what somebody
writes by mistake, the test that must fail).
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def planted():
    for path in sorted((ROOT / "tests" / "mistakes").glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield from module.MISTAKES


MISTAKES = list(planted())


def test_the_list():
    names = [name for name, *_ in MISTAKES]
    assert len(names) == len(set(names)), "a name twice"
    for name, file, right, wrong, _ in MISTAKES:
        assert (ROOT / file).read_text(encoding="utf-8").count(right) == 1, f"{name}: its text must stand once in {file}"
        assert right != wrong, name


@pytest.mark.slow
@pytest.mark.parametrize("file, right, wrong, test", [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_planted(tmp_path, file, right, wrong, test):
    for folder in ("minimm", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "test_golden.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    golden = os.environ.get("MINIMM_GOLDEN") or str(ROOT / "tests" / "golden")
    # In its folder, so that the copy is imported and not the library that is installed.
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test], cwd=tmp_path,
                          env={**os.environ, "MINIMM_GOLDEN": golden, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert "1 failed" in done.stdout, f"the test did not fail: {done.stdout[-1500:]}{done.stderr[-500:]}"
    assert str(ROOT / "minimm") not in done.stdout, "the library was imported from elsewhere than the copy"
