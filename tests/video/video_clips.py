"""Clips made in milliseconds, with a number in every picture and a coloured corner that shows which way is up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from icnet_cli.video import open_video

WIDTH, HEIGHT = 128, 64
TS_STEP = 3600  # ticks of a transport stream between pictures: 25 frames a second
RED, GREEN, GREY = (200, 30, 30), (30, 180, 40), (110, 110, 110)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 (height, width, 3): red top left, green top right, `number` in binary along the bottom."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[: height // 3, : width // 4] = RED
    image[: height // 3, -(width // 4) :] = GREEN
    cell = width // 8
    for bit in range(8):
        image[-(height // 3) :, bit * cell : (bit + 1) * cell] = 235 if number >> bit & 1 else 20
    return image


def number_in(image: np.ndarray) -> int:
    """The number that `picture` drew, read from an RGB picture."""
    height, width = image.shape[:2]
    cell, row = width // 8, height - height // 6
    bits = [
        image[row - 2 : row + 2, b * cell + cell // 2 - 2 : b * cell + cell // 2 + 2].mean() > 128
        for b in range(8)
    ]
    return sum(1 << b for b, on in enumerate(bits) if on)


def corner_colours(image: np.ndarray) -> tuple[str, str]:
    """What stands top left and top right: 'red', 'green' or 'other'."""
    height, width = image.shape[:2]

    def name(patch: np.ndarray) -> str:
        red, green, blue = patch.reshape(-1, 3).mean(axis=0)
        if red > green + 60 and red > blue + 60:
            return "red"
        return "green" if green > red + 60 and green > blue + 60 else "other"

    rows = slice(height // 12, height // 5)
    return name(image[rows, width // 16 : width // 6]), name(image[rows, -(width // 6) : -(width // 16)])


def make_clip(
    path: Path,
    ticks: Sequence[int] = tuple(range(0, 12 * 512, 512)),
    time_base: Fraction = Fraction(1, 12800),
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    last_duration: int | None = None,
    b_frames: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    hflip: bool = False,
    sar: Fraction | None = None,
    tags: tuple[int, int, int, int] | None = None,
    audio: str | None = None,
    audio_seconds: float | None = None,
    metadata: dict[str, str] | None = None,
    pictures: Iterable[np.ndarray] | None = None,
    rate: Fraction = Fraction(25),
    muxer: str | None = None,
    before: Any = None,
    after: Any = None,
) -> Path:
    """Encode numbered pictures at the given ticks.

    `size` is (width, height) as coded; `tags` is (primaries, transfer, matrix, range).
    """
    movie = {"movie_timescale": str(time_base.denominator)} if path.suffix in (".mp4", ".mov") else {}
    with av.open(
        str(path), "w", format=muxer, container_options={**movie, **(container_options or {})}
    ) as out:
        out.metadata.update(metadata or {})
        stream = out.add_stream(codec, rate, width=size[0], height=size[1], time_base=time_base)
        stream.time_base = time_base
        context = stream.codec_context
        context.pix_fmt = pix_fmt
        context.flags |= Flags.frame_duration
        if codec == "libx264":
            context.options = {
                "preset": "ultrafast",
                "crf": "10",
                "bf": str(b_frames),
                "x264-params": "scenecut=0",
            }
            if b_frames:
                context.options = {**context.options, "preset": "veryfast", "b_strategy": "0"}
        context.options = {**context.options, **(options or {})}
        if tags:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        if sar:
            context.sample_aspect_ratio = sar
        if rotation or hflip:
            stream.set_display_rotation(rotation, hflip=hflip)
        sound = None
        if audio:
            sound = out.add_stream(audio, 48000)
        if before:
            before(out)
        ends = [*itertools.pairwise(ticks)]
        durations = [b - a for a, b in ends] + [
            last_duration or (ticks[-1] - ticks[-2] if len(ticks) > 1 else 512)
        ]
        images = iter(pictures) if pictures is not None else (picture(n, *size) for n in range(len(ticks)))
        for tick, duration, image in zip(ticks, durations, images, strict=False):
            frame = _frame(image, pix_fmt, tags)
            frame.pts, frame.time_base, frame.duration = tick, time_base, duration
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            seconds = audio_seconds or float((ticks[-1] + durations[-1]) * time_base)
            _sound(out, sound, seconds)
        if after:
            after(out)
    return path


def recording(path: Path, numbers: Sequence[int], **options: Any) -> Path:
    """Numbered pictures with sound, 25 a second, from the muxer's own zero."""
    told: dict[str, Any] = {"audio": "aac", "options": {"g": "10"}, **options}
    ticks = [n * TS_STEP for n in range(len(numbers))]
    return make_clip(path, ticks, Fraction(1, 90_000), pictures=(picture(n) for n in numbers), **told)


def joined_recordings(folder: Path, counts: Sequence[int], **options: Any) -> Path:
    """Transport streams of so many pictures each (part0.ts, part1.ts, ...), one behind the other in one file."""
    path, begun = folder / "joined.ts", 0
    data = b""
    for place, count in enumerate(counts):
        data += recording(folder / f"part{place}.ts", range(begun, begun + count), **options).read_bytes()
        begun += count
    path.write_bytes(data)
    return path


def _frame(image: np.ndarray, pix_fmt: str, tags: tuple[int, int, int, int] | None) -> Any:
    if image.ndim == 2:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), pix_fmt)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    matrix = {1: 1, 9: 9}.get(tags[2] if tags else 6, 5)
    range_ = tags[3] if tags and tags[3] else (2 if pix_fmt.startswith(("yuvj", "gray")) else 1)
    return frame.reformat(
        format=pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=range_,
    )


def _sound(out: Any, stream: Any, seconds: float) -> None:
    context = stream.codec_context
    layout, pcm = context.layout.name, context.format.name
    count = context.frame_size or 1024
    rng = np.random.default_rng(0)
    for start in range(0, int(seconds * 48000), count):
        planar = np.asarray(rng.integers(-3000, 3000, (2, count)))
        data = (planar / 32768).astype(np.float32) if pcm.startswith("flt") else planar.astype(np.int16)
        data = planar.astype(np.int32) << 16 if pcm.startswith("s32") else data
        if not pcm.endswith("p"):
            data = np.ascontiguousarray(data.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, pcm, layout)
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def times(path: Path) -> list[tuple[Fraction, Fraction]]:
    """(pts, duration) in seconds of every frame, as the reader gives them."""
    with open_video(path) as reader:
        return [(f.pts * f.time_base, f.duration * f.time_base) for f in reader]


def numbers(path: Path) -> list[int]:
    with open_video(path) as reader:
        return [number_in(f.rgb()) for f in reader]


def packets(path: Path, kind: str) -> list[bytes]:
    """The payloads of every packet of the streams of a kind ('audio', 'subtitle', 'data')."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [bytes(p) for p in container.demux(streams) if p.size] if streams else []
