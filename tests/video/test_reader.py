"""Every frame with its own time, upright, in true colours, and every wound counted."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import corner_colours, make_clip, number_in, numbers, picture, times

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import open_video

TICK = Fraction(1, 90000)
VARIABLE = [0, 3003, 6006, 15000, 15100, 40000, 40091, 90000, 91000, 130000, 130900, 200000]
GAP = [n * 3003 for n in range(6)] + [900000 + n * 3003 for n in range(6)]
OFFSET = [123457 + n * 3003 for n in range(12)]

# -- time


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("ticks", [VARIABLE, GAP, OFFSET], ids=["variable", "gap", "offset"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_are_the_files_own(tmp_path: Path, suffix: str, ticks: list[int], b_frames: int) -> None:
    path = make_clip(tmp_path / f"clip{suffix}", ticks, TICK, b_frames=b_frames)
    read = times(path)
    assert [pts for pts, _ in read] == [t * TICK for t in ticks]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert [duration for _, duration in read[:-1]] == [s * TICK for s in steps]
    assert numbers(path) == list(range(12))


def test_a_frame_knows_its_time_and_place(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", [n * 512 for n in range(4)], last_duration=1024)
    with open_video(path) as reader:
        frames = list(reader)
        assert abs(float(reader.info.frame_rate or 0) - 20) < 6
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert [round(f.seconds, 6) for f in frames] == [0, 0.04, 0.08, 0.12]
    assert frames[-1].duration_s == pytest.approx(0.08)
    assert frames[0].key


def test_a_container_without_times_gets_rising_ones(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.h264", range(8), Fraction(1, 25))
    read = [pts for pts, _ in times(path)]
    assert read == sorted(set(read))
    assert len(read) == 8


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_range_is_half_open_and_keeps_the_sources_numbers(
    tmp_path: Path, suffix: str, b_frames: int
) -> None:
    options = {"g": "6"}
    base = TICK if suffix != ".mkv" else Fraction(1, 1000)
    ticks = [round(Fraction(n, 25) / base) for n in range(30)]
    path = make_clip(tmp_path / f"clip{suffix}", ticks, base, b_frames=b_frames, options=options)
    with open_video(path, start_s=0.4, end_s=0.8) as reader:
        assert reader.info.frames_estimated in (None, 10)
        frames = list(reader)
        assert [f.index for f in frames] == list(range(10, 20))
        assert [number_in(f.rgb()) for f in frames] == list(range(10, 20))
        assert reader.finished
        assert reader.shortfall is None


def test_a_range_counts_from_the_files_beginning(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "late.mp4", [900000 + n * 3600 for n in range(20)], TICK)
    with open_video(path, start_s=0.2) as reader:
        first = next(iter(reader))
    assert (first.index, first.pts) == (5, 900000 + 5 * 3600)


def test_ranges_without_a_frame_are_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    for options in ({"start_s": 60.0}, {"start_s": -1.0}, {"start_s": 2.0, "end_s": 1.0}, {"end_s": 0.0}):
        with pytest.raises(IcnetError) as caught:
            open_video(path, **options)
        assert caught.value.code == ExitCode.USAGE


# -- which way is up


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("size", [(128, 64), (126, 66)])
def test_pictures_stand_upright(tmp_path: Path, degrees: int, hflip: bool, size: tuple[int, int]) -> None:
    # The camera lay on its side: what it stored is the upright picture turned, and the flag turns it back.
    upright = picture(77, *size)
    stored = np.rot90(upright, -degrees // 90)
    if hflip:  # set_display_rotation mirrors after turning
        stored = np.rot90(upright[:, ::-1], -degrees // 90)
    coded = stored.shape[1], stored.shape[0]
    path = make_clip(
        tmp_path / "turned.mp4",
        range(3),
        Fraction(1, 25),
        size=coded,
        rotation=degrees,
        hflip=hflip,
        pictures=[stored] * 3,
    )
    with open_video(path) as reader:
        info = reader.info
        assert (info.width, info.height) == size
        assert (info.coded_width, info.coded_height) == coded
        for frame in reader:
            assert frame.rgb().shape == (size[1], size[0], 3)
            assert corner_colours(frame.rgb()) == ("red", "green")
            assert number_in(frame.rgb()) == 77
            luma, blue, red = frame.yuv420()
            assert luma.shape == (size[1], size[0])
            assert blue.shape == red.shape == (size[1] // 2, size[0] // 2)
            assert red[2:6, 4:12].mean() > 170 > 110 > red[2:6, -12:-4].mean()


def test_an_unturned_picture_is_not_turned(tmp_path: Path) -> None:
    """The failing twin: the same turned picture without the flag stays as it lies."""
    stored = np.ascontiguousarray(np.rot90(picture(77), 2))
    path = make_clip(tmp_path / "flat.mp4", range(3), Fraction(1, 25), pictures=[stored] * 3)
    with open_video(path) as reader:
        assert corner_colours(next(iter(reader)).rgb()) != ("red", "green")


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_odd_sizes_keep_their_size_and_colours(tmp_path: Path, degrees: int) -> None:
    upright = picture(5, 127, 65)
    stored = np.ascontiguousarray(np.rot90(upright, -degrees // 90))
    coded = stored.shape[1], stored.shape[0]
    path = make_clip(
        tmp_path / "odd.mkv",
        range(2),
        Fraction(1, 25),
        codec="ffv1",
        size=coded,
        rotation=degrees,
        pictures=[stored] * 2,
    )
    with open_video(path) as reader:
        frame = next(iter(reader))
        assert np.abs(frame.rgb().astype(int) - upright).mean() < 4
        luma, blue, red = frame.yuv420()
        assert luma.shape == (65, 127)
        assert blue.shape == red.shape == (33, 64)


def test_a_pixel_that_is_not_square_is_turned_too(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "wide.mp4", sar=Fraction(4, 3))
    with open_video(path) as reader:
        assert reader.info.sample_aspect_ratio == Fraction(4, 3)
    path = make_clip(tmp_path / "tall.mp4", sar=Fraction(4, 3), rotation=90)
    with open_video(path) as reader:
        assert reader.info.sample_aspect_ratio == Fraction(3, 4)


# -- colour

PATCHES = np.zeros((64, 128, 3), np.uint8)
PATCHES[:, :32], PATCHES[:, 32:64] = (200, 40, 40), (40, 180, 60)
PATCHES[:, 64:96], PATCHES[:, 96:] = (50, 70, 200), (128, 128, 128)


def _error(path: Path) -> float:
    with open_video(path) as reader:
        return float(np.abs(next(iter(reader)).rgb().astype(int) - PATCHES)[8:-8, 8:24].max())


# ITU-T H.273: 1 BT.709, 6 BT.601, 9 BT.2020; range 1 limited, 2 full
TAGS = {(1, 1): "709", (1, 2): "709 full", (6, 1): "601", (6, 2): "601 full", (9, 1): "2020"}


@pytest.mark.parametrize("tag", TAGS, ids=TAGS.values())
def test_pictures_are_converted_with_their_own_matrix_and_range(tmp_path: Path, tag: tuple[int, int]) -> None:
    matrix, range_ = tag
    path = make_clip(
        tmp_path / "colour.mp4", range(2), Fraction(1, 25), tags=(1, 1, matrix, range_), pictures=[PATCHES] * 2,
        options={"qp": "0"},
    )  # fmt: skip
    with open_video(path) as reader:
        assert (reader.info.colour.matrix, reader.info.colour.full_range) == (matrix, range_ == 2)
        assert not reader.info.colour.matrix_assumed
    assert _error(path) <= 4


def test_the_wrong_matrix_would_be_seen(tmp_path: Path) -> None:
    """The failing twin: BT.709 samples under a BT.601 tag miss by more than any rounding does."""
    clip: Any = {"pictures": [PATCHES] * 2, "options": {"qp": "0"}}
    right = make_clip(tmp_path / "right.mp4", range(2), Fraction(1, 25), tags=(1, 1, 1, 1), **clip)
    with av.open(str(right)) as source, av.open(str(tmp_path / "wrong.mp4"), "w") as out:
        frame = next(source.decode(video=0))
        stream = out.add_stream("libx264", 25, width=128, height=64)
        stream.codec_context.options = {"qp": "0"}
        stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1
        out.mux([*stream.encode(frame), *stream.encode(None)])
    assert _error(tmp_path / "wrong.mp4") > 10


@pytest.mark.parametrize(("height", "name"), [(718, "smpte170m"), (720, "bt709")])
def test_untagged_pictures_go_by_their_height(tmp_path: Path, height: int, name: str) -> None:
    path = make_clip(tmp_path / "plain.mp4", range(1), Fraction(1, 25), size=(64, height))
    with open_video(path) as reader:
        assert reader.info.colour.matrix_name == name
        assert reader.info.colour.matrix_assumed


FORMATS = [
    ("yuv420p10le", "libx264", ".mp4"),
    ("yuv422p", "libx264", ".mp4"),
    ("yuv444p", "libx264", ".mp4"),
    ("yuv422p10le", "ffv1", ".mkv"),
    ("yuvj420p", "mjpeg", ".avi"),
    ("yuvj444p", "mjpeg", ".mov"),
    ("bgr0", "ffv1", ".mkv"),
    ("rgb24", "png", ".mov"),
    ("yuv420p16le", "ffv1", ".mkv"),
    ("yuv411p", "ffv1", ".mkv"),
]


@pytest.mark.parametrize(("pix_fmt", "codec", "suffix"), FORMATS)
def test_every_pixel_format_is_read(tmp_path: Path, pix_fmt: str, codec: str, suffix: str) -> None:
    options = {"qp": "0"} if codec == "libx264" and "422" not in pix_fmt else {}
    base = Fraction(1, 25)
    path = make_clip(
        tmp_path / f"clip{suffix}",
        range(2),
        base,
        codec=codec,
        pix_fmt=pix_fmt,
        pictures=[PATCHES] * 2,
        options=options,
    )
    assert _error(path) <= 12
    with open_video(path) as reader:
        frame = next(iter(reader))
        assert reader.info.pix_fmt in (pix_fmt, "yuvj420p")
        luma, blue, red = frame.yuv420()
        assert luma.dtype == blue.dtype == red.dtype == np.uint8
        expected = _planes_of(PATCHES, full=reader.info.colour.full_range)
        for plane, value in zip((luma, blue, red), expected, strict=True):
            column = plane[plane.shape[0] // 2, plane.shape[1] // 8]
            assert abs(int(column) - value) <= 4


def _planes_of(rgb: np.ndarray, *, full: bool) -> tuple[float, float, float]:
    """BT.601's own equations at the first patch."""
    red, green, blue = (float(v) for v in rgb[32, 16])
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = (blue - luma) / 1.772, (red - luma) / 1.402
    if full:
        return luma, 128 + cb, 128 + cr
    return 16 + luma * 219 / 255, 128 + cb * 224 / 255, 128 + cr * 224 / 255


@pytest.mark.parametrize("full", [False, True])
def test_grey_video_is_grey(tmp_path: Path, full: bool) -> None:
    ramp = np.repeat(np.linspace(16, 235, 128).astype(np.uint8)[None], 64, axis=0)
    path = make_clip(
        tmp_path / "grey.mkv", range(2), Fraction(1, 25), codec="ffv1" if full else "libx264", pix_fmt="gray",
        pictures=[ramp] * 2, options={} if full else {"qp": "0"},
    )  # fmt: skip
    with open_video(path) as reader:
        frame = next(iter(reader))
        assert reader.info.colour.full_range == full
        luma, blue, _ = frame.yuv420()
        assert np.abs(luma.astype(int) - ramp).max() <= 1
        assert blue.min() == blue.max() == 128
        expected = ramp.astype(float) if full else (ramp.astype(float) - 16) * 255 / 219
        assert np.abs(frame.rgb()[..., 0] - expected).max() <= 2


def test_planes_are_not_to_be_written_to(tmp_path: Path) -> None:
    with open_video(make_clip(tmp_path / "clip.mp4")) as reader:
        luma, _, _ = next(iter(reader)).yuv420()
    with pytest.raises(ValueError, match="read-only"):
        luma[0, 0] = 1


def test_interlaced_video_is_known(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "fields.mp4", options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    with open_video(path) as reader:
        assert reader.info.interlaced
    with open_video(make_clip(tmp_path / "frames.mp4")) as reader:
        assert not reader.info.interlaced


# -- wounds


def _read(path: Path) -> Any:
    with open_video(path) as reader:
        for frame in reader:
            frame.rgb()
    return reader


CUTTABLE = {
    ".mp4": {"movflags": "faststart"},
    ".mov": {"movflags": "faststart"},
    ".mkv": {},
    ".webm": {},
    ".avi": {},
}


def _clip(path: Path, **options: Any) -> Path:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    speed = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else None
    return make_clip(path, range(24), Fraction(1, 25), codec=codec, options=speed, **options)


@pytest.mark.parametrize("suffix", CUTTABLE)
def test_a_cut_file_says_what_is_missing_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    whole = _clip(tmp_path / f"whole{suffix}", container_options=CUTTABLE[suffix])
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    silent, readable = [], 0
    for part in range(1, 20):
        cut.write_bytes(data[: len(data) * part // 20])
        try:
            reader = _read(cut)
        except IcnetError:
            continue
        readable += 1
        whole_frames = reader.frames_read - reader.frames_damaged
        if whole_frames < 24 and reader.shortfall is None and not reader.frames_damaged:
            silent.append((part, reader.frames_read))
    assert not silent
    assert readable >= 5


@pytest.mark.parametrize("suffix", CUTTABLE)
@pytest.mark.parametrize("audio", [None, "longer"])
def test_a_whole_file_is_never_called_short(tmp_path: Path, suffix: str, audio: str | None) -> None:
    options: dict[str, Any] = {"container_options": CUTTABLE[suffix]}
    if audio:
        options |= {"audio": "libopus" if suffix == ".webm" else "aac", "audio_seconds": 3.0}
    reader = _read(_clip(tmp_path / f"whole{suffix}", **options))
    assert (reader.frames_read, reader.frames_damaged, reader.frames_lost) == (24, 0, 0)
    assert reader.shortfall is None


def test_a_long_last_frame_is_no_shortfall(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "slides.mkv", [0, 40, 80, 120], Fraction(1, 1000), last_duration=5000)
    assert _read(path).shortfall is None
    assert times(path)[-1][1] == 5


def test_an_edit_list_that_hides_frames_is_no_shortfall(tmp_path: Path) -> None:
    # Written by hand as `-ss` with a copied stream does: frames before the edit are decoded and not shown.
    whole = make_clip(tmp_path / "whole.mp4", range(24), Fraction(1, 25), options={"g": "24"})
    trimmed = tmp_path / "trimmed.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(str(trimmed), "w", container_options={"movie_timescale": "12800"}) as out,
    ):
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
                packet.stream = copy
                out.mux(packet)
    reader = _read(trimmed)
    assert reader.frames_read == 19
    assert reader.shortfall is None


def test_a_hole_in_the_middle_is_counted_and_the_rest_read(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "hole.mp4", range(24), Fraction(1, 25), container_options={"movflags": "faststart"}
    )
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        middle = [p.pos for p in container.demux(video=0) if p.size][10]
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    reader = _read(path)
    assert reader.frames_damaged + reader.frames_lost > 0
    assert reader.frames_read >= 20
    assert _read(make_clip(tmp_path / "sound.mp4")).frames_damaged == 0


def test_the_shortfall_reads_as_a_sentence(tmp_path: Path) -> None:
    path = _clip(tmp_path / "clip.mp4", container_options=CUTTABLE[".mp4"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert "truncated" in str(_read(path).shortfall)


def test_a_size_that_changes_on_the_way_keeps_the_first(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "small.ts", range(6), Fraction(1, 25), size=(64, 32))
    large = make_clip(tmp_path / "large.ts", range(6), Fraction(1, 25))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(large.read_bytes() + small.read_bytes())
    with open_video(joined) as reader:
        shapes = {frame.rgb().shape for frame in reader}
    assert shapes == {(64, 128, 3)}
    assert reader.frames_read > 8


def test_a_range_of_a_stream_that_cannot_be_sought(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.h264", range(30), Fraction(1, 25))
    with open_video(path, start_s=0.4) as reader:
        read = [number_in(f.rgb()) for f in reader]
    assert read[-1] == 29
    assert read == list(range(read[0], 30))
