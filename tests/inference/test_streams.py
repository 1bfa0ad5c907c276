"""What CudaStreams asks of CUDA, held against a stand-in for torch.cuda; CpuStreams as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from icnet_cli.inference import streams
from icnet_cli.inference.streams import CaptureError, CpuStreams, CudaStreams, captured, graph_of, streams_of

CPU = torch.device("cpu")


class Generator:
    """Torch's, as far as its state is shared with graphs."""

    def __init__(self, device: torch.device) -> None:
        self.state = object()
        self.seed = 0

    def manual_seed(self, seed: int) -> Generator:
        self.seed = seed
        return self

    def initial_seed(self) -> int:
        return self.seed

    def graphsafe_get_state(self) -> Generator:
        return self

    def graphsafe_set_state(self, other: Generator) -> None:
        self.state, self.seed = other.state, other.seed


class Cuda:
    """Notes what is asked for; streams and events have numbers in the order in which they are made."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "default"
        self.made = 0
        self.fails: Exception | None = None
        self.default_generators = [Generator(CPU).manual_seed(7)]
        outer = self

        class Stream:
            def __init__(self, device: Any = None) -> None:
                outer.made += 1
                self.name, self.device = f"s{outer.made}", device

            def wait_event(self, event: Any) -> None:
                outer.log.append(f"{self.name} waits for {event.name}")

            def wait_stream(self, other: Any) -> None:
                outer.log.append(f"{self.name} waits for all of {other.name}")

        class Event:
            def __init__(self, enable_timing: bool, blocking: bool) -> None:
                assert enable_timing
                assert blocking, "a thread that spins takes a core"
                self.name = "?"

            def record(self, stream: Any) -> None:
                self.name = f"e{sum('records' in line for line in outer.log)}"
                outer.log.append(f"{stream.name} records {self.name}")

            def synchronize(self) -> None:
                outer.log.append(f"host waits for {self.name}")

            def elapsed_time(self, later: Any) -> float:
                return 1.5

        class Graph:
            def replay(self) -> None:
                outer.log.append(f"{outer.current} replays")

        self.Stream, self.Event, self.CUDAGraph = Stream, Event, Graph

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.log.append(f"{stream.name} captures")
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            if self.fails:
                raise self.fails  # torch's capture_end comes before its stream is left
            self.current = before

    def current_device(self) -> int:
        return 0

    def set_stream(self, stream: Any) -> None:
        self.current = stream.name

    @contextmanager
    def device(self, device: Any) -> Iterator[None]:
        yield

    def current_stream(self, device: Any) -> Any:
        name = self.current
        return SimpleNamespace(
            name=name, wait_stream=lambda other: self.log.append(f"{name} waits for all of {other.name}")
        )

    def graph_pool_handle(self) -> str:
        return "pool"

    def synchronize(self, device: Any) -> None:
        self.log.append("host waits for all")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    monkeypatch.setattr(streams.torch, "cuda", fake)
    monkeypatch.setattr(streams.torch, "Generator", Generator)
    return fake


def bytes_of(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)


def test_queues_wait_for_marks_and_the_host_for_one(cuda: Cuda) -> None:
    queues, on = CudaStreams(torch.device("cpu")), []
    up, there, down = bytes_of(1, 2), bytes_of(0, 0), bytes_of(0, 0)
    sent = queues.upload(there, up)
    done = queues.run([lambda: on.append(cuda.current), lambda: on.append(cuda.current)], after=sent[-1])
    back = queues.download(down, there, after=done[-1])
    back[-1].wait()
    assert down.tolist() == [1, 2]
    assert on == ["s2", "s2"]
    assert cuda.log == [
        "s1 records e0", "s1 records e1",
        "s2 waits for e1", "s2 records e2", "s2 records e3", "s2 records e4",
        "s3 waits for e4", "s3 records e5", "s3 records e6",
        "host waits for e6",
    ]  # fmt: skip
    assert back[-1].ms_since(sent[0]) == 1.5


def test_a_capture_warms_up_and_replays_on_the_compute_stream(cuda: Cuda) -> None:
    queues, calls = CudaStreams(torch.device("cpu")), []
    first, second = queues.capture([lambda: calls.append("a"), lambda: calls.append("b")])
    assert calls == ["a", "b"] * 3 + ["a", "b"]
    assert cuda.log == ["host waits for all"] * 2 + ["s2 captures"] * 2
    queues.run([first, second], after=queues.upload(bytes_of(0), bytes_of(0))[-1])
    assert cuda.log.count("s2 replays") == 2


def test_what_a_capture_cannot_hold_is_told_in_a_line(cuda: Cuda) -> None:
    cuda.fails = RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might")
    with pytest.raises(CaptureError, match=r"^operation not permitted when stream is capturing$"):
        captured(lambda: None, cuda.Stream(CPU))


def test_memory_that_runs_out_amid_a_capture_is_told_as_such(cuda: Cuda) -> None:
    """Ending a capture that was broken off fails in its turn: the first failure is the one to tell."""

    def work() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        captured(work, cuda.Stream(CPU))
    cuda.fails = RuntimeError("operation failed due to a previous error during capture")
    with pytest.raises(torch.OutOfMemoryError):
        captured(work, cuda.Stream(CPU))


def test_a_capture_that_breaks_off_tells_its_cause_and_leaves_its_stream(cuda: Cuda) -> None:
    """Torch leaves the stream of a broken capture the current one; what runs next would be out of order there."""

    def work() -> None:
        assert cuda.current == "s1"
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")

    cuda.fails = RuntimeError("operation failed due to a previous error during capture")
    numbers = cuda.default_generators[0]
    held = numbers.state
    with pytest.raises(CaptureError, match=r"^operation not permitted when stream is capturing$"):
        captured(work, cuda.Stream(CPU))
    assert cuda.current == "default"
    assert numbers.state is not held, "torch draws nothing more from the state of a broken capture"
    assert numbers.seed == 7


def test_a_graph_of_its_own_comes_after_what_was_asked_before_it(cuda: Cuda) -> None:
    calls: list[str] = []
    replay = graph_of(lambda: calls.append(cuda.current), torch.device("cpu"))
    replay()
    assert calls == ["s1"] * 4
    assert cuda.log == [
        "s1 waits for all of default", "host waits for all", "s1 captures",
        "default waits for all of s1", "default replays",
    ]  # fmt: skip


def test_the_cpu_has_no_queues() -> None:
    queues = streams_of(torch.device("cpu"))
    assert isinstance(queues, CpuStreams)
    up, there = queues.pinned(2, 3), queues.memory(2, 3)
    sent = queues.upload(there, up.fill_(7))
    assert (there == 7).all()
    done = queues.run([lambda: None], after=sent[-1])
    assert len(done) == 2
    done[-1].wait()
    assert done[-1].ms_since(sent[0]) >= 0
    queues.settle()
