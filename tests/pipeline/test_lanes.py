"""Three lanes at once: order, bounds, overlap, and an orderly end however it comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from icnet_cli.errors import IcnetError, output_error
from icnet_cli.pipeline import lanes as lanes_module
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.lanes import DEPTH, Lanes, no_signals


class RecordingSink:
    """Remembers what was done to it, and by which thread."""

    left_out: tuple[str, ...] = ()

    def __init__(self, fail_at: int | None = None, fail_closing: bool = False) -> None:
        self.fail_at, self.fail_closing = fail_at, fail_closing
        self.written: list[int] = []
        self.ended: list[str] = []
        self.threads: set[int] = set()

    def begin(self, description: dict[str, Any]) -> None: ...

    def write(self, picture: Picture, rendered: Any) -> None:
        self.threads.add(threading.get_ident())
        if picture.index == self.fail_at:
            raise output_error("disk full")
        self.written.append(picture.index)

    def close(self) -> None:
        if self.fail_closing:
            raise output_error("disk full at the end")
        self.ended.append("close")

    def abort(self) -> None:
        self.ended.append("abort")


def pictures(count: int, fail_at: int | None = None) -> Iterator[Picture]:
    for index in range(count):
        if index == fail_at:
            raise IcnetError("cannot read", 3)  # type: ignore[arg-type]
        yield Picture(str(index), index, np.full((2, 2, 3), index % 256, np.uint8))


def first_channel(picture: Picture) -> np.ndarray:
    return picture.rgb[..., 0]


def nothing(_: Picture, labels: np.ndarray) -> np.ndarray:
    return labels


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("icnet-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a lane never ended"
        time.sleep(0.01)


def test_every_picture_is_written_once_and_in_order() -> None:
    sink = RecordingSink()
    lanes = Lanes(pictures(100), first_channel, nothing, sink, 100)
    events = list(lanes.run())
    assert sink.written == [event.index for event in events] == list(range(100))
    assert [event.done for event in events] == list(range(1, 101))
    assert sink.ended == ["close"]
    assert sink.threads != {threading.get_ident()}
    assert lanes.stopped


def test_queues_are_bounded() -> None:
    """A slow sink holds up the source: never more than the queues and the lanes' hands hold."""
    taken, ahead = [0], [0]
    sink = RecordingSink()

    def counted() -> Iterator[Picture]:
        for picture in pictures(60):
            taken[0] += 1
            yield picture

    def slow(_: Picture, labels: np.ndarray) -> np.ndarray:
        time.sleep(0.002)
        ahead[0] = max(ahead[0], taken[0] - len(sink.written))
        return labels

    list(Lanes(counted(), first_channel, slow, sink).run())
    assert DEPTH < ahead[0] <= 2 * DEPTH + 4


def test_the_lanes_overlap() -> None:
    """While one picture is written another is labelled: the first write waits for the second label."""
    second_labelled = threading.Event()
    seen = []

    def label(picture: Picture) -> np.ndarray:
        if picture.index == 1:
            second_labelled.set()
        return picture.rgb[..., 0]

    def render(picture: Picture, labels: np.ndarray) -> np.ndarray:
        if picture.index == 0:
            seen.append(second_labelled.wait(5))
        return labels

    list(Lanes(pictures(3), label, render, RecordingSink()).run())
    assert seen == [True]


@pytest.mark.parametrize("lane", ["decode", "network", "render", "encode", "close"])
def test_an_error_in_any_lane_ends_all_and_leaves_nothing(lane: str) -> None:
    sink = RecordingSink(5 if lane == "encode" else None, lane == "close")

    def fail_at_five(value: int) -> None:
        if value == 5:
            raise IcnetError("failed", 6)  # type: ignore[arg-type]

    def label(picture: Picture) -> np.ndarray:
        if lane == "network":
            fail_at_five(picture.index)
        return picture.rgb[..., 0]

    def render(picture: Picture, labels: np.ndarray) -> np.ndarray:
        if lane == "render":
            fail_at_five(picture.index)
        return labels

    lanes = Lanes(pictures(50, 5 if lane == "decode" else None), label, render, sink)
    with pytest.raises(IcnetError, match=r"cannot read|failed|disk full"):
        list(lanes.run())
    assert lanes.stopped
    assert sink.ended == ["abort"]


@pytest.mark.parametrize("way", ["close", "interrupt"])
def test_a_run_that_is_stopped_leaves_nothing(way: str) -> None:
    sink = RecordingSink()
    lanes = Lanes(pictures(10_000), first_channel, nothing, sink)
    events = lanes.run()
    next(events)
    if way == "close":
        events.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert lanes.stopped
    assert sink.ended == ["abort"]
    assert len(sink.written) < 10_000


def test_a_source_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that gives nothing and does not end: what was written is put away all the same."""
    monkeypatch.setattr(lanes_module, "_READS_S", 0.05)
    monkeypatch.setattr(lanes_module, "_PATIENCE_S", 600.0)
    hanging = threading.Event()

    def source() -> Iterator[Picture]:
        yield from pictures(2)
        hanging.wait()

    def label(picture: Picture) -> np.ndarray:
        if picture.index == 1:
            raise IcnetError("no memory", 6)  # type: ignore[arg-type]
        return first_channel(picture)

    def run() -> None:
        with pytest.raises(IcnetError, match="no memory"):
            list(lanes.run())

    sink = RecordingSink()
    lanes = Lanes(source(), label, nothing, sink)
    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(60)
    assert not running.is_alive()
    assert sink.ended == ["abort"]
    assert not lanes.stopped  # so that nobody closes what it reads
    hanging.set()


def test_the_slowest_lane_is_named() -> None:
    def slow(_: Picture, labels: np.ndarray) -> np.ndarray:
        time.sleep(0.003)
        return labels

    *_, last = Lanes(pictures(10), first_channel, slow, RecordingSink(), 10).run()
    assert last.slowest == "encode"
    assert last.total == 10


def test_ctrl_c_while_a_file_is_put_away_waits_for_it() -> None:
    """Python 3.11 takes a thread for ended whose join() was interrupted, and a program would go amid its writing."""
    closing = threading.Event()

    class Slow(RecordingSink):
        def close(self) -> None:
            closing.set()
            time.sleep(0.5)
            super().close()

    def interrupt() -> None:
        closing.wait(10)
        time.sleep(0.1)  # until the caller waits for the lanes
        os.kill(os.getpid(), signal.SIGINT)

    sink = Slow()
    threading.Thread(target=interrupt, daemon=True).start()
    lanes = Lanes(pictures(3), first_channel, nothing, sink)
    with pytest.raises(KeyboardInterrupt):
        list(lanes.run())
    assert sink.ended == ["close"]
    assert lanes.stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_another_thread_takes_waits_for_the_block_too(number: signal.Signals) -> None:
    """The kernel gives it to any thread that does not block it, and Python has the main thread answer, where it is."""

    class Asked(BaseException):
        pass

    def answer(*_: Any) -> None:
        raise Asked

    def block() -> None:
        with no_signals():
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            reached.append(True)

    over, reached = threading.Event(), []
    other = threading.Thread(target=over.wait)
    other.start()  # before the block: it blocks nothing
    before = signal.signal(number, answer)
    try:
        with pytest.raises(Asked):
            block()
        assert reached
        assert signal.getsignal(number) is answer
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(number, before)
        over.set()
        other.join()
