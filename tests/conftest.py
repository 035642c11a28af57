"""What all tests share: GPU tests are skipped without a GPU, and the time that each notebook took is printed."""

from collections import Counter

import pytest

notebook_seconds = Counter()


def pytest_collection_modifyitems(items):
    gpu_items = [item for item in items if item.get_closest_marker("cuda")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a GPU that CUDA can use; this machine has none"))


def pytest_runtest_logreport(report):
    path = report.nodeid.partition("::")[0]
    if path.endswith(".ipynb"):
        notebook_seconds[path] += report.duration  # the kernel's start and end are part of setup and teardown


def pytest_terminal_summary(terminalreporter):
    if notebook_seconds:
        terminalreporter.section("time of each notebook")
        for path, seconds in sorted(notebook_seconds.items()):
            terminalreporter.write_line(f"{seconds:7.1f} s  {path}")
