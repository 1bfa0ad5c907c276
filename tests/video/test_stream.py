"""Frames without a container: written as y4m or bare, read from a pipe, and kept at a constant rate."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import open_video
from icnet_cli.video.colour import Colour
from icnet_cli.video.pipe import PipeReader
from icnet_cli.video.rate import Metronome, keeps_rate, steady_rate
from icnet_cli.video.stream import StreamWriter
from tests.video.video_clips import HEIGHT, WIDTH, make_clip, number_in, picture

BT601 = Colour(6, full_range=False)


def stream(format: str, pix_fmt: str, pictures: list[np.ndarray], **options: object) -> bytes:
    height, width = pictures[0].shape[:2]
    file = io.BytesIO()
    writer = StreamWriter(
        file, format=format, width=width, height=height, pix_fmt=pix_fmt, colour=BT601,
        **{"rate": Fraction(30000, 1001), **options},  # type: ignore[arg-type]
    )  # fmt: skip
    for image in pictures:
        writer.write(image)
    return file.getvalue()


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """A descriptor that gives `data` and then ends."""
    out, into = os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as file, suppress(BrokenPipeError):
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield out
    finally:
        os.close(out)
        thread.join(10)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (63, 97)])
def test_y4m_reads_back(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    images = [picture(number, size[1], size[0]) for number in range(5)]
    (tmp_path / "out.y4m").write_bytes(stream("y4m", pix_fmt, images, aspect=Fraction(4, 3)))
    with open_video(tmp_path / "out.y4m") as reader:
        info = reader.info
        found = list(reader)
    assert [number_in(frame.rgb()) for frame in found] == list(range(5))
    assert (info.height, info.width, info.pix_fmt) == (*size, pix_fmt)
    assert (info.frame_rate, info.sample_aspect_ratio) == (Fraction(30000, 1001), Fraction(4, 3))
    assert [frame.seconds for frame in found] == pytest.approx([n * 1001 / 30000 for n in range(5)])
    assert not info.colour.full_range


def test_labels_survive_y4m(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (tmp_path / "out.y4m").write_bytes(stream("y4m", "gray", [labels]))
    with open_video(tmp_path / "out.y4m") as reader:
        np.testing.assert_array_equal(next(iter(reader)).grey(), labels)


def test_raw_is_the_samples_alone() -> None:
    image = picture(3, 97, 63)
    assert stream("raw", "rgb24", [image, image]) == image.tobytes() * 2
    assert len(stream("raw", "yuv420p", [image])) == 63 * 97 + 2 * 32 * 49
    assert stream("raw", "gray", [image[..., 0].copy()]) == image[..., 0].tobytes()


@pytest.mark.parametrize(
    ("format", "pix_fmt"), [("y4m", "rgb24"), ("raw", "yuv420p10le"), ("raw", "\x1b[2J")]
)
def test_what_a_stream_cannot_hold(format: str, pix_fmt: str) -> None:
    with pytest.raises(IcnetError, match=f"a {format} stream holds yuv420p") as caught:
        stream(format, pix_fmt, [picture(0)])
    assert caught.value.code == ExitCode.USAGE
    assert "\x1b" not in str(caught.value)


def test_nobody_reads() -> None:
    out, into = os.pipe()
    os.close(out)
    size = {"width": WIDTH, "height": HEIGHT}
    with os.fdopen(into, "wb", buffering=0) as file:
        writer = StreamWriter(file, format="y4m", **size, pix_fmt="yuv420p", rate=Fraction(25), colour=BT601)
        with pytest.raises(BrokenPipeError):
            writer.write(picture(0))


# -- reading a pipe


def y4m(tmp_path: Path) -> bytes:
    return stream("y4m", "yuv420p", [picture(number) for number in range(12)])


def a_file(name: str, **options: object) -> Callable[[Path], bytes]:
    def make(tmp_path: Path) -> bytes:
        return make_clip(tmp_path / name, **options).read_bytes()  # type: ignore[arg-type]

    return make


FASTSTART = {"container_options": {"movflags": "+faststart"}}


@pytest.mark.parametrize(
    "source",
    [y4m, a_file("in.mkv"), a_file("in.mp4", **FASTSTART), a_file("in.ts")],
    ids=["y4m", "mkv", "mp4", "ts"],
)
def test_a_pipe_gives_every_frame(tmp_path: Path, source: Callable[[Path], bytes]) -> None:
    with piped(source(tmp_path)) as descriptor, PipeReader(descriptor=descriptor) as reader:
        assert [number_in(frame.rgb()) for frame in reader] == list(range(12))
        assert (reader.frames_lost, reader.frames_damaged, reader.shortfall) == (0, 0, None)


def noise(count: int) -> Iterator[np.ndarray]:
    """What does not compress: FFmpeg looks some hundred kilobytes back in a pipe."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 256, (128, 256, 3), np.uint8) for _ in range(count))


def test_an_index_at_the_end_names_the_cure(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", size=(256, 128), pictures=noise(12))
    with piped(path.read_bytes()) as descriptor, pytest.raises(IcnetError, match="faststart") as caught:
        PipeReader(descriptor=descriptor)
    assert caught.value.code == ExitCode.INPUT
    first = make_clip(tmp_path / "first.mp4", size=(256, 128), pictures=noise(12), **FASTSTART)
    with piped(first.read_bytes()) as descriptor, PipeReader(descriptor=descriptor) as reader:
        assert len(list(reader)) == 12


def test_a_cut_mp4_is_told(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "first.mp4", size=(256, 128), pictures=noise(12), **FASTSTART)
    data = path.read_bytes()
    with piped(data[: len(data) // 2]) as descriptor, PipeReader(descriptor=descriptor) as reader:
        assert len(list(reader)) < 12
        assert reader.shortfall is not None


@pytest.mark.parametrize("data", [b"", b"hello\n" * 100, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"])
def test_what_is_no_video(data: bytes) -> None:
    with piped(data) as descriptor, pytest.raises(IcnetError, match="cannot read stdin") as caught:
        PipeReader(descriptor=descriptor)
    assert caught.value.code == ExitCode.INPUT


def test_a_pipe_through_which_nothing_comes(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (os.devnull, tmp_path / "empty"):
        with open(path, "rb") as file, pytest.raises(IcnetError, match="nothing came"):
            PipeReader(descriptor=file.fileno())
    with piped(b"") as descriptor, pytest.raises(IcnetError, match="nothing came") as caught:
        PipeReader(descriptor=descriptor)
    assert caught.value.code == ExitCode.INPUT
    with piped(b"x") as descriptor, pytest.raises(IcnetError, match="not a video"):
        PipeReader(descriptor=descriptor)


def test_a_pipe_has_a_limit_of_pixels() -> None:
    with piped(y4m(Path())) as descriptor, pytest.raises(IcnetError, match="--max-pixels"):
        PipeReader(descriptor=descriptor, max_pixels=WIDTH * HEIGHT - 1)
    with (
        piped(y4m(Path())) as descriptor,
        PipeReader(descriptor=descriptor, max_pixels=WIDTH * HEIGHT) as reader,
    ):
        assert reader.info.width == WIDTH


# -- a constant rate


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(15)])
def test_a_constant_rate_is_found(tmp_path: Path, name: str, rate: Fraction) -> None:
    ticks = [round(n * 1001 * 25 / rate) for n in range(12)]
    clip = make_clip(tmp_path / name, ticks, Fraction(1, 25025), rate=rate, b_frames=2)
    found = steady_rate(clip, 0)
    assert found is not None
    assert float(found) == pytest.approx(float(rate), rel=2e-3)
    every = steady_rate(clip, 0, every=3)
    assert every is not None
    assert float(every) == pytest.approx(float(rate) / 3, rel=2e-3)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize("times", [(0, 1, 2, 4, 5), (0, 10, 20, 29, 40), (0, 1, 3, 4, 6, 7)])
def test_a_variable_rate_is_seen(tmp_path: Path, name: str, times: tuple[int, ...]) -> None:
    clip = make_clip(tmp_path / name, [n * 1280 for n in times])
    assert steady_rate(clip, 0) is None


def test_a_gap_outside_the_range_does_not_matter(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", [n * 512 for n in (0, 1, 2, 3, 9, 10)])
    assert steady_rate(clip, 0) is None
    assert steady_rate(clip, 0, end=Fraction(4, 25)) == 25
    assert steady_rate(clip, 0, start=Fraction(9, 25)) == 25


def test_frames_that_are_not_asked_for_do_not_matter(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", [n * 512 for n in (*range(50), 60, 61)], b_frames=2)
    assert steady_rate(clip, 0) is None
    assert steady_rate(clip, 0, frames=51) is None
    assert steady_rate(clip, 0, frames=50) == steady_rate(clip, 0, frames=2) == 25
    assert steady_rate(clip, 0, frames=5, every=10) == Fraction(5, 2)


def test_milliseconds_keep_a_rate_and_more_do_not() -> None:
    tick = Fraction(1, 1000)
    rounded = [round(n * 1001 * 1000 / Fraction(30000)) * tick for n in range(1000)]
    assert keeps_rate(rounded, Fraction(30000, 1001), tick)
    assert not keeps_rate(rounded, Fraction(30), tick)
    assert not keeps_rate([*rounded[:500], rounded[500] + 2 * tick], Fraction(30000, 1001), tick)


@pytest.mark.parametrize(
    ("times", "rate", "beats"),
    [
        ((0, 1, 2, 3), 10, [1, 1, 1, 1]),
        ((0, 1, 2, 5, 6), 10, [1, 1, 3, 1, 1]),
        ((7, 8, 9), 20, [2, 2, 2]),
        ((0, 1, 2, 3, 4, 5), 5, [1, 0, 1, 0, 1, 0]),
    ],
)
def test_pictures_are_shown_as_long_as_they_last(times: tuple[int, ...], rate: int, beats: list[int]) -> None:
    """Times in tenths of a second; the last one lasts a tenth."""
    metronome = Metronome(Fraction(rate))
    lasting = np.diff([*times, times[-1] + 1]).tolist()
    found = [metronome.beats(Fraction(a, 10), Fraction(d, 10)) for a, d in zip(times, lasting, strict=True)]
    assert found == beats
    assert sum(found) == (times[-1] + 1 - times[0]) * rate / 10
