"""Copies, work and waiting, each on a stream of its own: the one interface behind which a device's queues lie.

A host that feeds a device has three things to do at once: send the next pictures up, have these worked on, fetch the
last ones. `Streams` names those three queues. What goes into one runs in its order; between queues there are only
marks, which one waits for before another goes on. The host itself waits for nothing but a mark (`Mark.wait`), and for
everything (`settle`) before the first picture and after the last.

`CudaStreams` is CUDA's streams, events, pinned memory and graphs. `CpuStreams` does everything at once and in order, so
that the same pipeline runs, and is tested, where there is no device.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from icnet_cli.errors import is_out_of_memory

Work = Callable[[], None]


class Mark(Protocol):
    """A place in a queue: reached when everything before it is done."""

    def wait(self) -> None:
        """Hold the calling thread until it is reached."""

    def ms_since(self, earlier: Any) -> float:
        """Milliseconds between two marks of one device; both have been reached."""


class Streams(Protocol):
    """The queues of one device, used from one thread; only marks may be waited for in another.

    Every call but `settle` returns at once.
    """

    device: torch.device

    def pinned(self, *size: int) -> Tensor:
        """uint8 memory of the host that the device copies from and to by itself."""

    def memory(self, *size: int) -> Tensor:
        """uint8 memory of the device."""

    def upload(self, target: Tensor, source: Tensor) -> tuple[Mark, Mark]:
        """Copy pinned memory to the device; the marks before and after it."""

    def run(self, stages: Sequence[Work], after: Mark) -> list[Mark]:
        """Do work once `after` is reached; the marks before, between and after the stages."""

    def download(self, target: Tensor, source: Tensor, after: Mark) -> tuple[Mark, Mark]:
        """Copy to pinned memory once `after` is reached; the marks before and after it."""

    def capture(self, stages: Sequence[Work]) -> list[Work]:
        """The same stages, to be replayed as they ran on the very tensors of this first time.

        A stage is called a few times; afterwards its results lie where the last call put them.

        Raises:
            CaptureError: where they cannot be captured; they can then still be run.
        """

    def settle(self) -> None:
        """Wait until every queue is empty: before the first picture and after the last."""


class CaptureError(Exception):
    """Work could not be recorded as a graph; its text says why in one line."""


class CpuMark:
    """The time at which something was done, for it is done already."""

    def __init__(self) -> None:
        self._at = time.perf_counter()

    def wait(self) -> None:
        """It has been reached."""

    def ms_since(self, earlier: CpuMark) -> float:
        return (self._at - earlier._at) * 1000


class CpuStreams:
    """No queues: everything is done when it is asked for."""

    device = torch.device("cpu")

    def pinned(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8)

    memory = pinned

    def upload(self, target: Tensor, source: Tensor) -> tuple[Mark, Mark]:
        before = CpuMark()
        target.copy_(source)
        return before, CpuMark()

    def run(self, stages: Sequence[Work], after: Mark) -> list[Mark]:
        marks: list[Mark] = [CpuMark()]
        for stage in stages:
            stage()
            marks.append(CpuMark())
        return marks

    def download(self, target: Tensor, source: Tensor, after: Mark) -> tuple[Mark, Mark]:
        return self.upload(target, source)

    def capture(self, stages: Sequence[Work]) -> list[Work]:
        return list(stages)

    def settle(self) -> None:
        """Nothing is under way."""


_WARM_UPS = 3  # before a capture: libraries choose their algorithms, kernels are compiled


class CudaMark:
    """A CUDA event. Waiting for it sleeps: a thread that spins would take a core from the encoder."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.event = torch.cuda.Event(enable_timing=True, blocking=True)
        self.event.record(stream)

    def wait(self) -> None:
        self.event.synchronize()

    def ms_since(self, earlier: CudaMark) -> float:
        return float(earlier.event.elapsed_time(self.event))


class CudaStreams:
    """A copy stream up, a compute stream, a copy stream down, and graphs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._up, self._compute, self._down = (torch.cuda.Stream(device) for _ in range(3))

    def pinned(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def memory(self, *size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, device=self.device)

    def upload(self, target: Tensor, source: Tensor) -> tuple[Mark, Mark]:
        return self._copy(self._up, target, source)

    def download(self, target: Tensor, source: Tensor, after: Mark) -> tuple[Mark, Mark]:
        assert isinstance(after, CudaMark)
        self._down.wait_event(after.event)
        return self._copy(self._down, target, source)

    def _copy(self, stream: torch.cuda.Stream, target: Tensor, source: Tensor) -> tuple[Mark, Mark]:
        before = CudaMark(stream)
        with torch.cuda.stream(stream):
            target.copy_(source, non_blocking=True)
        return before, CudaMark(stream)

    def run(self, stages: Sequence[Work], after: Mark) -> list[Mark]:
        assert isinstance(after, CudaMark)
        self._compute.wait_event(after.event)
        marks: list[Mark] = [CudaMark(self._compute)]
        with torch.cuda.stream(self._compute):
            for stage in stages:
                stage()
                marks.append(CudaMark(self._compute))
        return marks

    def capture(self, stages: Sequence[Work]) -> list[Work]:
        with searching_algorithms(), torch.cuda.device(self.device):
            self.settle()
            with torch.cuda.stream(self._compute):
                for _ in range(_WARM_UPS):
                    for stage in stages:
                        stage()
            self.settle()
            # One pool for the stages of one job: they always run one after the other, in this order.
            pool = torch.cuda.graph_pool_handle()
            return [captured(stage, self._compute, pool) for stage in stages]

    def settle(self) -> None:
        torch.cuda.synchronize(self.device)


def captured(work: Work, stream: torch.cuda.Stream, pool: Any = None) -> Work:
    """`work` as a CUDA graph that replays it on the current stream; it has run on `stream` before.

    Raises:
        CaptureError: where it does what a graph cannot hold (asking the device for a value, say).
    """
    graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(stream.device)
    # An old graph that is collected meanwhile frees its memory, which no capture survives.
    collecting = gc.isenabled()
    gc.disable()
    try:
        # Other threads, decoding and encoding, may talk to CUDA in the meantime: only ours is held to the rules.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            work()
    except Exception as error:
        # Torch fails once more where a broken capture ends, and then its stream stays the current one.
        torch.cuda.set_stream(before)
        _draw_anew(stream.device)
        if is_out_of_memory(_first(error)):
            raise _first(error) from None
        said = str(_first(error)).strip() or type(_first(error)).__name__
        raise CaptureError(said.splitlines()[0]) from error
    finally:
        if collecting:
            gc.enable()
    return graph.replay


def _draw_anew(device: torch.device) -> None:
    """Give a device's random numbers a state that no capture holds; drawing from that of a broken one fails."""
    index = torch.cuda.current_device() if device.index is None else device.index
    generator = torch.cuda.default_generators[index]
    new = torch.Generator(device).manual_seed(generator.initial_seed())
    generator.graphsafe_set_state(new.graphsafe_get_state())


def _first(error: BaseException) -> BaseException:
    """What broke a capture off: the error that came of that, at its end, says only that there was one."""
    return error.__context__ or error


def graph_of(work: Work, device: torch.device, search: bool = True) -> Work:
    """`work` on the current stream as a graph of its own, after a few runs of it.

    Args:
        search: let cuDNN measure its algorithms first.

    Raises:
        CaptureError: as `captured`.
    """
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    try:
        with torch.cuda.device(device):
            with searching_algorithms() if search else nullcontext(), torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    work()
            torch.cuda.synchronize(device)
            return captured(work, stream)
    finally:
        current.wait_stream(stream)


@contextmanager
def searching_algorithms() -> Iterator[None]:
    """cuDNN measures its algorithms for each new shape: worth it before a capture, which keeps what was found."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def streams_of(device: torch.device) -> Streams:
    """The queues of a device."""
    return CudaStreams(device) if device.type == "cuda" else CpuStreams()
