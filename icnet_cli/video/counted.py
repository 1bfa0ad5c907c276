"""Which packets of a video have been read, each counted once however often it is read again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.video.pyav import time_base_of
from icnet_cli.video.source import DEFAULT_MAX_PIXELS, choose_video, open_source, reading


@dataclass(frozen=True)
class Mark:
    """Where a reader is when it gives a frame: what it needs to go on from that frame in another process.

    Attributes:
        index, pts: of the frame.
        dts: the newest packet that had been read by then; it and those before it have been counted.
        packets, packet_end: how many whole packets, and where the last of them ends, in seconds.
        skipped: the seconds of long pauses between them.
        frames_damaged, frames_lost: before this frame.
        seekable: whether the frame can be found again by its time: every frame so far had one of its own, and no
            damage makes what is decoded depend on where decoding began.
        byte: of the file, where the newest packet begins; a seek may land no later. None: anywhere.
    """

    index: int
    pts: int
    dts: int | None = None
    packets: int = 0
    packet_end: Fraction | None = None
    skipped: Fraction = Fraction(0)
    frames_damaged: int = 0
    frames_lost: int = 0
    seekable: bool = False
    byte: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        end = self.packet_end
        return {
            **self.__dict__,
            "packet_end": None if end is None else list(end.as_integer_ratio()),
            "skipped": list(self.skipped.as_integer_ratio()),
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Mark:
        """The mark that `to_dict` wrote."""
        end, skipped = document["packet_end"], document.get("skipped", (0, 1))
        given = {"packet_end": None if end is None else Fraction(*end), "skipped": Fraction(*skipped)}
        return cls(**{**document, **given})


_PAUSE = Fraction(1, 2)  # seconds without a picture


class Counted:
    """Counts packets by their decoding times, so that those read again after a seek are passed over.

    Args:
        frame_ticks: how long a packet without a duration lasts.
    """

    def __init__(self, time_base: Fraction, frame_ticks: int) -> None:
        self._time_base, self._frame_ticks = time_base, frame_ticks
        self.packets = 0
        self.end: Fraction | None = None  # where the last whole packet ends, in seconds
        self.skipped = Fraction(0)  # seconds of pauses longer than `_PAUSE`
        self.newest_dts: int | None = None
        self.all_dated = True  # whether each had a decoding time, by which it is known again
        self._until: int | None = None

    def note(self, packet: Any) -> None:
        """Count a packet, unless it was counted before."""
        if not self.is_new(packet):
            return
        if packet.dts is not None:
            if self.newest_dts is not None:
                pause = (packet.dts - self.newest_dts - self._frame_ticks) * self._time_base
                self.skipped += pause if pause > _PAUSE else 0
            self.newest_dts = packet.dts if self.newest_dts is None else max(packet.dts, self.newest_dts)
        elif packet.size:
            self.all_dated = False
        if packet.size and not packet.is_corrupt:
            self.packets += 1
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or self._frame_ticks)) * self._time_base
                self.end = end if self.end is None else max(end, self.end)

    def is_new(self, packet: Any) -> bool:
        """Whether a packet has not been read before."""
        return self._until is None or packet.dts is None or packet.dts > self._until

    def read_again(self) -> None:
        """From now on what was counted is passed over."""
        self._until = self.newest_dts

    def go_on_from(self, mark: Mark) -> None:
        """As if everything before `mark` had been read here."""
        self.packets, self.end, self.skipped = mark.packets, mark.packet_end, mark.skipped
        self.newest_dts = mark.dts
        self.read_again()


def frames_before(packets: Iterable[Any], time_base: Fraction, start: Fraction) -> int:
    """Frames of a stream that are shown before `start` (seconds), counted by their packets, nothing being decoded."""
    before = 0
    for packet in packets:
        if packet.dts is not None and packet.dts * time_base >= start:
            break  # nothing is shown before it is decoded
        if packet.size and packet.pts is not None and not packet.is_discard:
            before += packet.pts * time_base < start
    return before


def frames_stored(
    path: Path,
    stream: int,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> int:
    """Frames that a video holds between two times (seconds on its own clock), counted by their packets."""
    found = 0
    with reading(path), open_source(path, max_pixels=max_pixels) as container:
        video = choose_video(container, path, stream)
        base = time_base_of(video)
        for packet in container.demux(video):
            ticks = packet.dts if packet.pts is None else packet.pts  # AVI has no other
            if ticks is None or not packet.size or packet.is_discard:
                continue
            at = ticks * base
            found += (start is None or at >= start) and (end is None or at < end)
    return found
