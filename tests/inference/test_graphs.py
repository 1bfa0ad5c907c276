"""Graphs for the sizes that come again, bounded; held against a capture that only remembers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from icnet_cli.inference.graphs import Graphed
from icnet_cli.inference.streams import CaptureError


class Capture:
    """Counts captures and replays; a replay does the work again, on the tensors of the capture."""

    def __init__(self, fails: str | None = None) -> None:
        self.captured = self.replayed = 0
        self.fails = fails

    def __call__(self, work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        work()
        if self.fails:
            raise CaptureError(self.fails)
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def double(x: Tensor) -> Tensor:
    return x * 2


def of(size: int) -> Tensor:
    return torch.arange(float(size))[None]


def test_a_size_that_comes_again_is_captured_and_gives_the_same() -> None:
    capture = Capture()
    graphed = Graphed(double, capture=capture)
    for time in range(4):
        assert torch.equal(graphed(of(5) + time), (of(5) + time) * 2)
    assert (capture.captured, capture.replayed) == (1, 3)


def test_what_was_given_before_is_not_written_over() -> None:
    graphed = Graphed(double, after=1, capture=Capture())
    first = graphed(of(3))
    graphed(of(3) + 7)
    assert torch.equal(first, of(3) * 2)


def test_memory_order_is_part_of_a_size() -> None:
    capture = Capture()
    graphed = Graphed(double, after=1, capture=capture)
    x = torch.randn(1, 3, 4, 4)
    graphed(x)
    assert graphed(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
    assert capture.captured == 2


def test_sizes_in_turn_do_not_capture_without_end() -> None:
    capture = Capture()
    graphed = Graphed(double, limit=2, capture=capture)
    for _ in range(10):
        for size in range(1, 7):
            assert torch.equal(graphed(of(size)), of(size) * 2)
    assert (capture.captured, len(graphed)) == (2, 2)


def test_a_size_out_of_use_makes_room() -> None:
    capture = Capture()
    graphed = Graphed(double, limit=1, stale=5, capture=capture)
    for size in (1, 2):
        for _ in range(10):
            graphed(of(size))
    assert (capture.captured, len(graphed)) == (2, 1)
    graphed.clear()
    assert len(graphed) == 0


def test_what_cannot_be_captured_runs_as_it_is_and_says_so_once() -> None:
    capture = Capture("operation not permitted when stream is capturing")
    graphed = Graphed(double, capture=capture)
    for size in (3, 3, 3, 4, 4, 4):
        assert torch.equal(graphed(of(size)), of(size) * 2)
    expected = "the network runs operator by operator, not as a CUDA graph: operation not permitted"
    assert graphed.note is not None
    assert graphed.note.startswith(expected)
    assert len(graphed) == 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_graph_for_which_there_is_no_memory_is_done_without(error: Exception) -> None:
    """The same picture was labelled a moment before; without memory for the work itself that is told as ever."""

    def full(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise error

    def greedy(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    graphed = Graphed(double, capture=full)
    for _ in range(3):
        assert torch.equal(graphed(of(3)), of(3) * 2)
    assert str(graphed.note).endswith("not as a CUDA graph: no memory for one on cpu")
    with pytest.raises(torch.OutOfMemoryError):
        Graphed(greedy, after=1, capture=full)(of(3))


def test_a_failure_of_the_work_itself_is_not_hidden() -> None:
    def broken(x: Tensor) -> Tensor:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        Graphed(broken, after=1, capture=Capture())(of(2))
