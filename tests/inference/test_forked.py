"""Processes that are forked, as `multiprocessing` does on Linux: they label too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_IN_CHILDREN = """
import multiprocessing, numpy as np, torch, icnet_cli
picture = np.random.default_rng(0).integers(0, 255, (360, 480, 3), np.uint8)
segmenter = None
def load():
    global segmenter
    segmenter = segmenter or icnet_cli.load("fast-scnn-camvid", device="cpu", backend="torch")
    return segmenter
def answer(_):
    return torch.get_num_threads(), load().labels(picture)
def in_a_child():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.map_async(answer, [0]).get(timeout=60)[0]
import icnet_cli.inference.segmenter
found = [in_a_child()]
load()
found.append(in_a_child())
labels = segmenter.labels(picture)
found.append(in_a_child())
assert all((again == labels).all() for _, again in found)
print(*[threads for threads, _ in found], torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked on this system")
def test_children_label_whenever_they_were_forked() -> None:
    """Before there is a segmenter, with one, and once it has labelled: they waited for threads of their parent's."""
    ran = subprocess.run(
        [sys.executable, "-c", _IN_CHILDREN], env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-500:]
    assert ran.stdout.split() == ["2", "1", "1", "2"]
