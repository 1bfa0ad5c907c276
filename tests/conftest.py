from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# Beside other workers a core each is all there is: commands that the tests start, and torch's import below, take note.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch


def pytest_configure() -> None:
    """Where these are set pytest explains bytes that differ by a diff: of two networks, for 47 minutes."""
    for name in ("CI", "BUILD_NUMBER"):
        os.environ.pop(name, None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down what was skipped, where somebody has a second environment to run just that in (`pytest @FILE`)."""
    path = os.environ.get("TESTS_SKIPPED")
    if path and report.skipped and "gpu" not in report.keywords and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(path, "a", encoding="utf-8") as skipped:
            skipped.write(report.nodeid + "\n")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are fastest so, and nothing depends on the machine's cores or on which test came before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
