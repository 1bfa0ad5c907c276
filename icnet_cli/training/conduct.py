"""How torch behaves while a run lasts: its arithmetic, and its words when memory runs out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from icnet_cli.errors import IcnetError, device_error, is_out_of_memory
from icnet_cli.inference.device import set_exactness
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.recipe import Stage
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
def memory_words(run: Run, stage: Callable[[], Stage | None]) -> Iterator[None]:
    """Out of memory, as one line (exit 6) that names what to halve.

    Args:
        stage: the recipe's stage that the run is in; None while it measures.
    """
    try:
        yield
    except IcnetError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise device_error(f"out of memory on {run.device}, {_cure(run, stage())}") from error


def _cure(run: Run, stage: Stage | None) -> str:
    cure = _smaller_pictures(run) if stage is None else _smaller_batch(run, stage)
    return f"{cure}; go on with --resume {run.folder}" if (run.folder / RUN_FILE).is_file() else cure


def _smaller_pictures(run: Run) -> str:
    """An evaluation has one picture at a time: no batch to halve."""
    height, width = run.measured_at or run.train_size
    picture = f"measuring one picture of {run.recipe.val_split} at about {height}x{width}"
    return f"{picture}: use --device cpu, or a recipe with a smaller eval_size"


def _smaller_batch(run: Run, stage: Stage) -> str:
    (height, width), batch = stage.crop_size, run.batch_of(stage)
    now = f"now {batch} at {height}x{width}"
    if batch >= 4 or (batch > 1 and run.network.smallest_map(height, width) > 1):
        # A stage's own batch may be smaller than the recipe's, which is what the learning rate belongs to.
        more = max(1, round(run.batch * run.accumulate / (batch // 2)))
        return f"halve the batch: --batch {batch // 2} --accumulate {more} ({now})"
    return f"halve the crops: --crop {max(32, height // 2)}x{max(32, width // 2)} ({now})"
