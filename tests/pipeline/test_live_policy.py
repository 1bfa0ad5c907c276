"""Which frames of a live source are labelled: the policy, with a clock that stands still."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.pipeline.channel import AbortedError
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.live import HeldSink, Inbox, live_options
from icnet_cli.video.live import LiveFrame, Notice

MS = 0.001


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Camera:
    """What an inbox wants of a source."""

    def __init__(self, frames: int | None = None, size: tuple[int, int] = (48, 64)) -> None:
        self.size = size
        self.selection = SimpleNamespace(frames=frames)
        self.stopped = False
        self.live = SimpleNamespace(stop=self._stop)

    def _stop(self) -> None:
        self.stopped = True

    def picture(self, frame: LiveFrame) -> Picture:
        return Picture(str(frame.index), frame.index, np.zeros((1, 1, 3), np.uint8), arrived=frame.arrived)


def frame(index: int, arrived: float) -> LiveFrame:
    return LiveFrame(index, index, Fraction(1, 25), 1, True, False, None, None, arrived=arrived)  # type: ignore[arg-type]


def inbox(camera: Camera, latency_s: float | None, clock: Clock, **options: Any) -> Inbox:
    return Inbox(camera, latency_s, clock=clock, **options)  # type: ignore[arg-type]


def test_frames_older_than_the_limit_are_dropped_and_counted() -> None:
    clock, camera = Clock(), Camera()
    box = inbox(camera, 100 * MS, clock)
    for index in range(6):
        box.put(frame(index, clock() + index * 40 * MS))
    clock.seconds += 230 * MS  # ages: 230, 190, 150, 110, 70, 30 ms
    taken = iter(box)
    assert next(taken).index == 4
    assert box.dropped == 4
    assert next(taken).index == 5


def test_an_old_frame_is_taken_where_none_is_newer() -> None:
    clock = Clock()
    box = inbox(Camera(), 100 * MS, clock)
    box.put(frame(0, clock()))
    clock.seconds += 5
    taken = iter(box)
    assert next(taken).index == 0
    assert box.dropped == 0
    box.put(frame(1, clock()))
    box.put(frame(2, clock()))
    clock.seconds += 5
    assert next(taken).index == 2  # the newest, old as it is
    assert box.dropped == 1


def test_a_limit_of_zero_takes_the_newest() -> None:
    clock = Clock()
    box = inbox(Camera(), 0.0, clock)
    for index in range(3):
        box.put(frame(index, clock()))
    clock.seconds += 1 * MS
    assert next(iter(box)).index == 2


def test_at_the_limit_a_frame_is_taken() -> None:
    clock = Clock()
    box = inbox(Camera(), 0.5, clock)
    box.put(frame(0, clock()))
    box.put(frame(1, clock()))
    clock.seconds += 0.5
    assert next(iter(box)).index == 0


def test_what_waits_is_bounded_by_memory_and_the_oldest_goes() -> None:
    clock = Clock()
    box = inbox(Camera(size=(4320, 7680)), 10.0, clock)  # 50 MB a frame
    for index in range(9):
        box.put(frame(index, clock()))
    assert len(box) == 2
    assert box.dropped == 7
    assert next(iter(box)).index == 7
    small = inbox(Camera(), 10.0, clock)
    for index in range(100):
        small.put(frame(index, clock()))
    assert len(small) == 64


def test_with_every_frame_the_source_waits_and_nothing_is_dropped() -> None:
    clock = Clock()
    box = inbox(Camera(size=(4320, 7680)), None, clock)
    box.put(frame(0, clock()))
    box.put(frame(1, clock()))
    put = threading.Thread(target=lambda: box.put(frame(2, clock())), daemon=True)
    put.start()
    put.join(0.05)
    assert put.is_alive()  # no room
    clock.seconds += 60
    taken = iter(box)
    assert [next(taken).index for _ in range(3)] == [0, 1, 2]
    assert box.dropped == 0
    put.join(10)


def test_notices_come_before_frames_and_are_never_dropped() -> None:
    clock = Clock()
    box = inbox(Camera(), 1 * MS, clock)
    box.put(frame(0, clock()))
    box.put(Notice("it dropped"))
    box.put(frame(1, clock()))
    clock.seconds += 1
    taken = iter(box)
    assert next(taken) == Notice("it dropped")
    assert next(taken).index == 1


def test_signs_of_life_while_nothing_comes() -> None:
    box = inbox(Camera(), 0.1, Clock(), tick_s=1 * MS)
    assert next(iter(box)) == Notice("")


def test_a_number_of_frames_ends_the_source_too() -> None:
    clock, camera = Clock(), Camera(frames=2)
    box = inbox(camera, 10.0, clock)
    for index in range(4):
        box.put(frame(index, clock()))
    assert [picture.index for picture in box] == [0, 1]
    assert camera.stopped
    with pytest.raises(AbortedError):
        box.put(frame(4, clock()))


@pytest.mark.parametrize("end", ["end", "abort"])
def test_an_end_stops_the_source(end: str) -> None:
    camera = Camera()
    box = inbox(camera, 0.1, Clock())
    getattr(box, end)()
    assert camera.stopped


def test_only_the_first_picture_of_a_run_begins_a_segment() -> None:
    clock = Clock()
    box = inbox(Camera(frames=3), 10.0, clock)
    for index in range(3):
        box.put(frame(index, clock()))
    assert [picture.starts_segment for picture in box] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "latency_s", "tries", "timeout_s"),
    [
        ({}, 0.1, 20, 10.0),
        ({"every_frame": True}, None, 20, 10.0),
        ({"max_latency_s": 0.0, "reconnect": 0, "timeout_s": 2.5}, 0.0, 0, 2.5),
    ],
)
def test_options(options: dict[str, Any], latency_s: float | None, tries: int, timeout_s: float) -> None:
    found = live_options(SegmentConfig(source="camera:0", output=Path("o.mp4"), **options))
    assert (found.max_latency_s, found.tries, found.timeout_s) == (latency_s, tries, timeout_s)


class Kept:
    left_out = ("x",)

    def __init__(self) -> None:
        self.written: list[tuple[int, int | None]] = []
        self.ended = ""

    def begin(self, description: dict[str, Any]) -> None:
        pass

    def write(self, picture: Picture, rendered: Any) -> None:
        self.written.append((picture.pts or 0, picture.duration))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def test_a_live_picture_lasts_until_the_next_one_that_was_taken() -> None:
    kept = Kept()
    sink = HeldSink(kept)
    for pts in (0, 1, 5, 6):
        sink.write(Picture("x", pts, np.zeros((1, 1, 3), np.uint8), pts=pts, duration=1), None)  # type: ignore[arg-type]
    assert kept.written == [(0, 1), (1, 4), (5, 1)]
    sink.close()
    assert kept.written[-1] == (6, 1)
    assert kept.ended == "closed"
