"""Frames at a constant rate, for formats that have no times."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

from icnet_cli.video.pyav import rates_of, time_base_of
from icnet_cli.video.source import DEFAULT_MAX_PIXELS, choose_video, open_source, reading

_REORDERED = 32  # packets that may come before one that is shown earlier: twice what any codec allows


def keeps_rate(times: list[Fraction], rate: Fraction, tick: Fraction) -> bool:
    """Whether times in seconds lie on a grid of `rate` frames a second.

    Containers round each time to their ticks, so two times may be off by half a tick each: one tick in all.
    """
    return all(abs(at - times[0] - number / rate) <= tick for number, at in enumerate(times))


def steady_rate(
    path: Path,
    stream: int,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
    every: int = 1,
    frames: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Fraction | None:
    """The constant rate of a video's frames, by the times of its packets, nothing being decoded; None if it varies.

    Args:
        start, end: only the frames in this range, in seconds on the video's own clock.
        every: only each Nth of them.
        frames: only that many of those, and the file is read no further than they need.
    """
    with reading(path), open_source(path, max_pixels=max_pixels) as container:
        video = choose_video(container, path, stream)
        declared = [rate / every for rate in rates_of(video)]
        tick = time_base_of(video)
        times = []
        for packet in container.demux(video):
            if packet.size and not packet.is_discard and packet.pts is not None:
                at = packet.pts * tick
                if (start is None or at >= start) and (end is None or at < end):
                    times.append(at)
            if frames is not None and len(times) >= frames * every + _REORDERED:
                break
    times = sorted(times)[::every][:frames]
    if len(times) < 2:
        return declared[0] if declared else None
    measured = [(len(times) - 1) / (times[-1] - times[0])] if times[-1] > times[0] else []
    return next((rate for rate in (*declared, *measured) if keeps_rate(times, rate, tick)), None)


class Metronome:
    """How often each picture is shown at a constant rate, so that the video keeps its time.

    Args:
        rate: frames a second.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self._first: Fraction | None = None
        self._beats = 0

    def beats(self, at: Fraction, duration: Fraction) -> int:
        """How many frames fall to a picture that is shown from `at` for `duration` (seconds).

        Containers round times, so one that ends up to a quarter of a frame after a beat does not have that beat.
        """
        if self._first is None:
            self._first = at
        until = math.ceil((at + duration - self._first) * self.rate - Fraction(1, 4))
        count = max(0, until - self._beats)
        self._beats += count
        return count

    def is_late(self, at: Fraction, tick: Fraction) -> bool:
        """Whether a picture at `at` is off the beat that is next by more than a tick."""
        return self._first is not None and abs(at - self._first - self._beats / self.rate) > tick

    def beat(self, at: Fraction) -> None:
        """Count one picture, whatever its duration."""
        self._first = at if self._first is None else self._first
        self._beats += 1
