"""What all tests share: GPU tests are skipped without a GPU, and the time that each notebook took is printed."""

from collections import Counter

import pytest


def pytest_collection_modifyitems(items):
    gpu_items = [item for item in items if item.get_closest_marker("cuda")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a GPU that CUDA can use; this machine has none"))


def pytest_terminal_summary(terminalreporter):
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            path = getattr(report, "nodeid", "").partition("::")[0]
            if path.endswith(".ipynb") and hasattr(report, "duration"):
                seconds[path] += report.duration  # the kernel's start and end are in a cell's setup and teardown
    if seconds:
        terminalreporter.section("time of each notebook")
        for path in sorted(seconds):
            terminalreporter.write_line(f"{seconds[path]:7.1f} s  {path}")
