"""A device that is none: it does what it is asked as late as it may, keeps time of its own, and notes what went wrong.

Work lies in its queues until somebody waits for a mark behind it, or until the queues are settled. So whoever writes to
pinned memory too early spoils a copy that has not happened, and whoever reads too early finds poison. The clock counts
units of work, not seconds: each queue does one thing after the other, and nothing begins before what it waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

POISON = 0xEE
COPY_TIME, STAGE_TIME = 2.0, 1.0


@dataclass
class Task:
    """Something in a queue: what it does, and when it begins and ends on the device's clock."""

    queue: str
    work: Callable[[], Any]
    begin: float
    end: float
    before: list[Task]
    done: bool = False

    def finish(self) -> None:
        """Do it now, and what it waits for before it."""
        for task in self.before:
            task.finish()
        self.before = []
        if not self.done:
            self.done = True
            self.work()


@dataclass
class RecordingMark:
    streams: RecordingStreams
    task: Task
    at: float

    def wait(self) -> None:
        self.streams.waits.append(threading.current_thread().name)
        with self.streams.lock:
            self.task.finish()
            self.streams.clock = max(self.streams.clock, self.at)

    def ms_since(self, earlier: RecordingMark) -> float:
        assert self.task.done, "a time was asked for before the mark was reached"
        return self.at - earlier.at


@dataclass
class RecordingStreams:
    """Streams that record.

    Attributes:
        problems: what no pipeline may do, in words.
        crossed: bytes of every copy, by queue.
        waits: the names of the threads that waited for marks.
        settled: how often all queues were waited for.
        tasks: everything that was put into the queues.
    """

    device = torch.device("cpu")
    problems: list[str] = field(default_factory=list)
    crossed: dict[str, list[int]] = field(default_factory=lambda: {"up": [], "down": []})
    waits: list[str] = field(default_factory=list)
    settled: int = 0
    tasks: list[Task] = field(default_factory=list)
    clock: float = 0.0
    capturable: bool = True
    lock: Any = field(default_factory=threading.RLock)
    _pinned: list[Tensor] = field(default_factory=list)
    _last: dict[str, Task] = field(default_factory=dict)

    def pinned(self, *size: int) -> Tensor:
        self._pinned.append(torch.full(size, POISON, dtype=torch.uint8))
        return self._pinned[-1]

    def memory(self, *size: int) -> Tensor:
        return torch.full(size, POISON, dtype=torch.uint8)

    def upload(self, target: Tensor, source: Tensor) -> tuple[RecordingMark, RecordingMark]:
        self._must_be_pinned(source)
        self.crossed["up"].append(source.numel())
        sent = source.clone()

        def copy() -> None:
            if not torch.equal(sent, source):
                self.problems.append("pinned memory was written while its copy was under way")
            target.copy_(source)

        return self._one("up", copy, COPY_TIME, None)

    def download(
        self, target: Tensor, source: Tensor, after: RecordingMark
    ) -> tuple[RecordingMark, RecordingMark]:
        self._must_be_pinned(target)
        self.crossed["down"].append(source.numel())
        target.fill_(POISON)  # from now on the device may write here at any time
        return self._one("down", lambda: target.copy_(source), COPY_TIME, after)

    def run(self, stages: Sequence[Callable[[], None]], after: RecordingMark) -> list[RecordingMark]:
        marks: list[RecordingMark] = []
        for stage in stages:
            begin, end = self._one("compute", stage, STAGE_TIME, after)
            marks += [end] if marks else [begin, end]
        return marks

    def capture(self, stages: Sequence[Callable[[], None]]) -> list[Callable[[], None]]:
        from icnet_cli.inference.streams import CaptureError

        for stage in stages:
            stage()
        if not self.capturable:
            raise CaptureError("operation not permitted when stream is capturing")
        return list(stages)

    def settle(self) -> None:
        self.settled += 1
        for task in self.tasks:
            task.finish()

    def _one(
        self, queue: str, work: Callable[[], Any], takes: float, after: RecordingMark | None
    ) -> tuple[RecordingMark, RecordingMark]:
        before = [task for task in (self._last.get(queue), after and after.task) if task]
        begin = max([self.clock, *(task.end for task in before)])
        task = Task(queue, work, begin, begin + takes, before)
        self.tasks.append(task)
        self._last[queue] = task
        return RecordingMark(self, task, task.begin), RecordingMark(self, task, task.end)

    def _must_be_pinned(self, tensor: Tensor) -> None:
        if not any(tensor is known for known in self._pinned):
            self.problems.append("a copy from or to memory that is not pinned: the host would wait for it")

    def overlap(self) -> float:
        """The time that all tasks take one after the other, over the time they took."""
        return sum(task.end - task.begin for task in self.tasks) / (max(task.end for task in self.tasks) or 1)
