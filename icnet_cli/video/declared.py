"""What a file says it holds, to be compared with what came out of it.

Half a Matroska or AVI file plays without any error, so truncation is found only by comparison. A
cut transport stream or a live Matroska file declares nothing and cannot be told; nor can a fragmented mp4 that is cut
between two of its boxes.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

# A file is called short when it lacks more than the smaller of these.
_SECONDS, _SHARE = Fraction(1), Fraction(2, 100)


@dataclass(frozen=True)
class Shortfall:
    """What a truncated file lacks. `missing_frames` is None where the file declares no count.

    `missing_s` is None where it only shows that the file was cut, and not how much is missing.
    """

    missing_s: float | None
    declared_s: float
    missing_frames: int | None = None

    def __str__(self) -> str:
        if self.missing_s is None:
            return "the file is truncated: it ends amid one of its fragments, and how much is missing cannot be told"
        frames = ""
        if self.missing_frames is not None:
            frames = f" ({self.missing_frames} frame{'' if self.missing_frames == 1 else 's'})"
        lacking = f"the last {_seconds(self.missing_s)}{frames} of {_seconds(self.declared_s)}"
        return f"the file is truncated: {lacking} are not in it"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


@dataclass(frozen=True)
class Declared:
    """A video stream's own statement of its length; None where it makes none.

    `duration` is in seconds, from the first frame; `end` is where the last frame ends on the file's clock.
    `complete` says that the file's outermost element lies within the file, so nothing was cut off; `cut` that one of
    its parts passes the file's end, in a file that declares no length as a whole.
    """

    frames: int | None
    duration: Fraction | None
    end: Fraction | None
    complete: bool
    cut: bool = False

    def expected(self, rate: Fraction | None, before: int, end_s: float | None) -> int | None:
        """Frames to be expected at `rate` a second, without those `before` the range and behind `end_s`."""
        total = self.frames
        if total is None and rate and self.duration:
            total = round(self.duration * rate)
        if total is None:
            return None
        if end_s is not None and rate:
            total = min(total, math.ceil((end_s - 0.0005) * rate))
        return max(0, total - before)

    def compare(self, packets: int | None, end: Fraction | None, frame_s: Fraction) -> Shortfall | None:
        """What is missing when `packets` whole packets were read, the last one ending at `end`.

        `packets` is None where reading did not begin at the start; `frame_s` is the usual duration of a frame.
        """
        found = self._lacking(packets, end, frame_s)
        return Shortfall(None, float(self.duration or 0)) if found is None and self.cut else found

    def _lacking(self, packets: int | None, end: Fraction | None, frame_s: Fraction) -> Shortfall | None:
        declared_s = float(self.duration or 0)
        if self.frames is not None and packets is not None:
            missing = self.frames - packets
            lacking = missing * frame_s
            if missing > 0 and (lacking > _SECONDS or missing > _SHARE * self.frames):
                return Shortfall(float(lacking), declared_s or float(self.frames * frame_s), missing)
            return None
        if self.end is None or self.complete or self.frames is not None:
            return None
        lacking = self.end - (end or Fraction(0))
        if (
            lacking > min(_SECONDS, _SHARE * (self.duration or self.end))
            and lacking > Fraction(6, 10) * frame_s
        ):
            return Shortfall(float(lacking), declared_s)
        return None


def declared_by_file(container: Any, stream: Any, path: Path) -> Declared:
    """`declared_by`, with a look into the file that `path` is."""
    declared = declared_by(container, stream, path)
    is_mp4 = str(container.format.name).startswith("mov")
    return replace(declared, cut=True) if is_mp4 and _ends_in_a_fragment(path) else declared


def declared_by(container: Any, stream: Any, path: Path) -> Declared:
    """Read what `container` says about `stream`. An mp4's `path` may be the name of something else than a file."""
    name = str(container.format.name)
    own = None if stream.duration is None else stream.duration * stream.time_base
    if name.startswith("mov"):
        # The index counts what the edit list lets through; the box's own count does not.
        count = len(stream.index_entries) or stream.frames or None
        end = None if own is None or stream.start_time is None else own + stream.start_time * stream.time_base
        return Declared(count, own, end, complete=False)
    if name == "avi":
        # The header counts empty frames too; the index at the end does not, where it was not cut off.
        count = len(stream.index_entries) if _riff_is_whole(path) else 0
        return Declared(count or stream.frames or None, own, None, complete=False)
    if name.startswith("matroska"):
        end = _matroska_end(container, stream)
        start = (stream.start_time or 0) * stream.time_base
        duration = None if end is None else max(end - start, Fraction(0))
        return Declared(None, duration, end, complete=_segment_is_whole(path))
    total = None if container.duration is None else Fraction(container.duration, av.time_base)
    return Declared(None, own or total, None, complete=False)


def _matroska_end(container: Any, stream: Any) -> Fraction | None:
    """The stream's DURATION tag, or the segment's where the video is its only track (audio may run longer)."""
    for key, value in stream.metadata.items():
        if key.upper().split("-")[0] == "DURATION":
            match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\s*", value)
            if match:
                hours, minutes, seconds = match.groups()
                return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if len(container.streams) == 1 and container.duration:
        return Fraction(container.duration, av.time_base)
    return None


def _riff_is_whole(path: Path) -> bool:
    """Whether the first RIFF list of an AVI file ends within the file."""
    with open(path, "rb") as file:
        head = file.read(8)
    return 8 + int.from_bytes(head[4:8], "little") <= path.stat().st_size


_MOST_BOXES = 1 << 18  # as many as two days of fragments of a second; a hostile file can have more


def _ends_in_a_fragment(path: Path) -> bool:
    """Whether an mp4 has fragments (moof) and ends within one of its outermost boxes: then it was cut there."""
    fragmented, at, size = False, 0, path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        for _ in range(_MOST_BOXES):
            file.seek(at, os.SEEK_SET)
            head = file.read(16)
            if len(head) < 8:
                return fragmented and len(head) > 0
            length, kind = struct.unpack_from(">I4s", head)
            fragmented = fragmented or kind == b"moof"
            if length == 1 and len(head) == 16:
                (length,) = struct.unpack_from(">Q", head, 8)
            if length < 8:  # 0: it lasts to the end of the file, wherever that is
                return False
            if at + length > size:
                return fragmented
            at += length
    return False


_SEGMENT = 0x18538067


def _segment_is_whole(path: Path) -> bool:
    """Whether the Matroska segment ends within the file: then nothing was cut off, however long the last frame."""
    with open(path, "rb") as file:
        head = file.read(4096)
    at = 0
    while at + 12 <= len(head):
        identifier, at = ebml_number(head, at, keep_marker=True)
        size, at = ebml_number(head, at, keep_marker=False)
        if identifier == _SEGMENT:
            return size is not None and at + size <= path.stat().st_size
        if size is None or identifier is None:
            return False
        at += size
    return False


def ebml_number(data: bytes, at: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """An EBML variable-length number (RFC 8794, section 4) and the offset after it; None for the 'unknown' value."""
    length = 9 - data[at].bit_length()
    if length > 8 or at + length > len(data):
        return None, len(data)
    value = int.from_bytes(data[at : at + length], "big")
    if keep_marker:
        return value, at + length
    value &= (1 << (7 * length)) - 1
    return (None if value == (1 << (7 * length)) - 1 else value), at + length
