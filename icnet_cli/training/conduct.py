"""How torch behaves while a run lasts: its arithmetic, and its words when memory runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from icnet_cli.errors import IcnetError, device_error, is_out_of_memory
from icnet_cli.inference.device import set_exactness
from icnet_cli.training.resumed import RUN_FILE
from icnet_cli.training.run import Run


@contextmanager
def arithmetic(run: Run) -> Iterator[None]:
    """TF32 off under fp32; with --deterministic algorithms that repeat their bits.

    cuDNN chooses by rule. To time its algorithms for each new size (`cudnn.benchmark`) gives nothing back where the
    host's launches are what a step waits for (on an H200 38 ms a step of ICNet, 18 of them the device's), and takes
    14 s for ICNet's first three steps; with depthwise convolutions in bf16 it was not done with one size in 40 s.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    strict = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    exact = run.config.deterministic
    if exact:
        # cuBLAS reads it once, when a process first multiplies; with it two streams share no scratch memory.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    cudnn.benchmark, cudnn.deterministic = False, exact
    set_exactness(run.config.precision)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before


@contextmanager
def memory_words(run: Run) -> Iterator[None]:
    """Out of memory, as one line (exit 6) that names what to halve."""
    try:
        yield
    except IcnetError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise device_error(f"out of memory on {run.device}, {_cure(run)}") from error


def _cure(run: Run) -> str:
    height, width = run.recipe.stage_at(1.0).crop_size
    now = f"now {run.batch} at {height}x{width}"
    if run.batch >= 4 or (run.batch > 1 and run.network.smallest_map(height, width) > 1):
        cure = f"halve the batch: --batch {run.batch // 2} --accumulate {2 * run.accumulate} ({now})"
    else:
        cure = f"halve the crops: --crop {max(32, height // 2)}x{max(32, width // 2)} ({now})"
    return f"{cure}; go on with --resume {run.folder}" if (run.folder / RUN_FILE).is_file() else cure
