"""What is known of a video once its first picture is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.sidedata.sidedata import Type as SideDataType

from icnet_cli.video.colour import Colour, colour_of
from icnet_cli.video.declared import Declared
from icnet_cli.video.frame import Turn
from icnet_cli.video.pyav import sample_aspect_of, time_base_of
from icnet_cli.video.source import codec_name


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its second frame is read. Sizes are upright unless called coded."""

    width: int
    height: int
    coded_width: int
    coded_height: int
    pix_fmt: str
    codec_name: str
    container_name: str
    stream_index: int
    time_base: Fraction
    frame_rate: Fraction | None
    rotation: int  # clockwise degrees that were applied: 0, 90, 180 or 270
    mirrored: bool
    tilt: int  # clockwise degrees that were not applied: only quarter turns are
    sample_aspect_ratio: Fraction  # of the upright picture; 1 where unknown
    colour: Colour
    bit_rate: int | None  # of the video stream, bits per second, measured or estimated
    start_s: float  # time of the first frame on the source's clock
    duration_s: float | None
    frames_estimated: int | None  # frames expected in the range that is read, for progress
    interlaced: bool
    field_order: int
    other_streams: tuple[str, ...]  # "audio aac", "subtitle mov_text"


def describe(
    container: Any,
    stream: Any,
    first: Any,
    declared: Declared,
    *,
    size: int,
    rate: Fraction | None,
    frames_estimated: int | None,
) -> VideoInfo:
    """Gather the facts of a stream from its container, its first av.VideoFrame and the file's size in bytes."""
    context = stream.codec_context
    turn = turn_of(first)
    sar, base = sample_aspect_of(stream), time_base_of(stream)
    width, height = (first.height, first.width) if turn.swaps else (first.width, first.height)
    codec_name = str(context.codec.canonical_name)
    return VideoInfo(
        width=width,
        height=height,
        coded_width=first.width,
        coded_height=first.height,
        pix_fmt=first.format.name,
        codec_name=codec_name,
        container_name=str(container.format.name),
        stream_index=stream.index,
        time_base=base,
        frame_rate=rate,
        rotation=turn.clockwise,
        mirrored=turn.mirror,
        tilt=tilt_of(first),
        sample_aspect_ratio=1 / sar if turn.swaps else sar,
        colour=colour_of(first, context, codec_name),
        bit_rate=_bit_rate(context, declared, size),
        start_s=float(first.pts * base),
        duration_s=None if declared.duration is None else float(declared.duration),
        frames_estimated=frames_estimated,
        interlaced=bool(first.interlaced_frame),
        field_order=int(context.field_order),
        other_streams=tuple(_name(other) for other in container.streams if other.index != stream.index),
    )


def _bit_rate(context: Any, declared: Declared, size: int) -> int | None:
    if context.bit_rate:
        return int(context.bit_rate)
    # Containers that state no rate a stream: the file's own, audio included, is near enough.
    return int(size * 8 / declared.duration) or None if declared.duration else None


def _name(stream: Any) -> str:
    return f"{stream.type} {codec_name(stream)}"


def _matrix_of(frame: Any) -> tuple[int, int, int, int, bool]:
    """a, b, c, d of a frame's display matrix once its mirror is undone, which is applied first, and whether it has one.

    ISO/IEC 14496-12: 16.16 fixed point, rows a b u, c d v, x y w.
    """
    if SideDataType.DISPLAYMATRIX not in frame.side_data:
        return 1, 0, 0, 1, False
    data = bytes(frame.side_data[SideDataType.DISPLAYMATRIX])
    a, b, c, d = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (0, 4, 12, 16))
    return (-a, -b, c, d, True) if a * d - b * c < 0 else (a, b, c, d, False)


def tilt_of(frame: Any) -> int:
    """Degrees by which a frame is to be turned further than `turn_of` does, clockwise; -45 to 45."""
    a, b, _, _, _ = _matrix_of(frame)
    return round(math.degrees(math.atan2(b, a)) - turn_of(frame).clockwise + 180) % 360 - 180


def turn_of(frame: Any) -> Turn:
    """The display matrix of a frame as a turn: the nearest quarter turn, as no camera writes another."""
    a, b, c, d, mirror = _matrix_of(frame)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(0 if a + d >= 0 else 180, mirror)
    return Turn(90 if b > c else 270, mirror)
