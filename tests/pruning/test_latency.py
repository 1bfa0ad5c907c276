"""How a pass is timed: as it is on a CPU, and as what `icnet segment` replays on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

from icnet_cli.inference.streams import CaptureError
from icnet_cli.pruning.latency import measure_ms, pass_on
from tests.inference.tiny import TinyNetwork

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
Run = Callable[[], object]


def run() -> str:
    return "kernel by kernel"


def captured(work: Run, device: torch.device) -> Run:
    assert (work, device) == (run, GPU)
    return lambda: "graph"


def refusing(work: Run, device: torch.device) -> Run:
    raise CaptureError("operation not permitted when stream is capturing")


def test_a_gpu_is_timed_by_graph() -> None:
    """Else a narrow network would take as long as a wide one: what it takes to launch its kernels."""
    assert pass_on(GPU, run, captured)() == "graph"
    assert pass_on(CPU, run, captured) is run


def test_what_cannot_be_captured_is_timed_as_it_runs() -> None:
    assert pass_on(GPU, run, refusing) is run


def test_a_time_is_more_than_nothing() -> None:
    assert measure_ms(TinyNetwork(), (32, 64), CPU) > 0  # type: ignore[arg-type]
