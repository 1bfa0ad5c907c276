"""What a file says it holds, to be compared with what came out of it.

Half a Matroska or AVI file plays without any error, so truncation is found only by comparison. A
cut transport stream or a live Matroska file declares nothing and cannot be told; nor can a fragmented mp4 that is cut
between two of its boxes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from icnet_cli.video.pyav import tags_of, time_base_of
from icnet_cli.video.structure import cut_asf_end, ends_in_a_fragment, has_index, is_cut_flv, segment_of

# A file is called short when it lacks more than the smaller of these.
_SECONDS, _SHARE = Fraction(1), Fraction(2, 100)


@dataclass(frozen=True)
class Shortfall:
    """What a truncated file lacks. `missing_frames` is None where the file declares no count.

    `missing_s` is None where it only shows that something is missing, and not how much. `inside` says that it is
    missing amid the file, or may be, and not at its end.
    """

    missing_s: float | None
    declared_s: float
    missing_frames: int | None = None
    inside: bool = False

    def __str__(self) -> str:
        if self.inside and self.missing_s is None:
            return "the file is damaged: a part of it cannot be read, and how much is missing cannot be told"
        if self.inside:
            lacking = f"{_seconds(self.missing_s or 0)} of {_seconds(self.declared_s)}"
            return f"the file is damaged: {lacking} are not in it"
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
    its parts passes the file's end, in a file that declares no length as a whole; `broken` that something amid it is
    none of its parts. `gapless` says that pictures follow one another, as those of a playlist's parts do: where none
    come for long, a part is missing.
    """

    frames: int | None
    duration: Fraction | None
    end: Fraction | None
    complete: bool = False
    cut: bool = False
    broken: bool = False
    gapless: bool = False

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

    def compare(
        self, packets: int | None, end: Fraction | None, frame_s: Fraction, skipped: Fraction = Fraction(0)
    ) -> Shortfall | None:
        """What is missing when `packets` whole packets were read, the last one ending at `end`.

        `packets` is None where reading did not begin at the start; `frame_s` is the usual duration of a frame;
        `skipped` are the seconds of long pauses between pictures.
        """
        found, declared_s = self._lacking(packets, end, frame_s), float(self.duration or 0)
        if found is None and (self.broken or self._lacks_a_part((packets or 0) * frame_s, skipped)):
            known = skipped and declared_s
            return Shortfall(float(skipped) if known else None, declared_s, inside=True)
        return Shortfall(None, declared_s) if found is None and self.cut else found

    def _lacks_a_part(self, shown: Fraction, skipped: Fraction) -> bool:
        """Whether pauses are parts of a playlist that did not come: they and what was shown are what was declared.

        Where more is paused than shown the pictures are slides; where both are more than was declared, the clock leapt.
        """
        if not (self.gapless and skipped and self.duration):
            return False
        return skipped <= shown and shown + skipped <= self.duration * (1 + _SHARE) + _SECONDS / 2

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


def looked_into(declared: Declared, name: str, path: Path, since: int = 0) -> Declared:
    """The same after a look into the file, of FFmpeg's format `name`, as it is now: it may be cut while it is read.

    What lies before the byte `since` is not what was read.
    """
    if name.startswith("mov"):
        return replace(declared, cut=ends_in_a_fragment(path))
    if name.startswith("matroska"):
        whole, broken = segment_of(path, since)
        return replace(declared, complete=whole and not broken, broken=broken)
    # These say how long all tracks are together, and sound may be longer: only of a file that was cut is it the end.
    if name == "asf":
        end = cut_asf_end(path)
        return declared if end is None else replace(declared, end=end, duration=declared.duration or end)
    if name == "flv" and is_cut_flv(path):
        return replace(declared, end=declared.duration)
    return declared


def declared_by(container: Any, stream: Any, path: Path) -> Declared:
    """Read what `container` says about `stream`. Only an AVI's `path` need be the name of a file; see `looked_into`."""
    name = str(container.format.name)
    base = time_base_of(stream)
    own = None if stream.duration is None else stream.duration * base
    if name.startswith("mov"):
        # The index counts what the edit list lets through; the box's own count does not.
        count = len(stream.index_entries) or stream.frames or None
        end = None if own is None or stream.start_time is None else own + stream.start_time * base
        return Declared(count, own, end)
    if name == "mxf" and own is not None:
        return Declared(None, own, own + (stream.start_time or 0) * base)
    if name == "avi":
        # The header counts empty frames too; the index at the end does not, where it is there.
        count = len(stream.index_entries) if has_index(path) else 0
        return Declared(count or stream.frames or None, own, None)
    if name.startswith("matroska"):
        end = _matroska_end(container, stream)
        start = (stream.start_time or 0) * base
        duration = None if end is None else max(end - start, Fraction(0))
        return Declared(None, duration, end)
    total = None if container.duration is None else Fraction(container.duration, av.time_base)
    return Declared(None, own or total, None)


def _matroska_end(container: Any, stream: Any) -> Fraction | None:
    """The stream's DURATION tag, or the segment's where the video is its only track (audio may run longer)."""
    for key, value in tags_of(stream).items():
        if key.upper().split("-")[0] == "DURATION":
            match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\s*", value)
            if match:
                hours, minutes, seconds = match.groups()
                return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if len(container.streams) == 1 and container.duration:
        return Fraction(container.duration, av.time_base)
    return None
