"""Every frame upright, in true colours, whatever its pixel format."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import corner_colours, make_clip, number_in, picture

from icnet_cli.video import open_video


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


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("libx265", "gray"),
        ("libx265", "gray10le"),
        ("ffv1", "gray"),
        ("ffv1", "gray10le"),
        ("ffv1", "gray12le"),
    ],
)
def test_grey_of_limited_range_without_chroma(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    """As HEVC's monochrome is decoded; H.264's gets chroma from its decoder."""
    scale = {"gray": 1, "gray10le": 4, "gray12le": 16}[pix_fmt]
    ramp = np.repeat(np.linspace(16, 235, 128).round()[None], 64, axis=0)
    options = {"x265-params": "lossless=1:bframes=0:log-level=error"} if codec == "libx265" else {}
    samples = (ramp * scale).astype(np.uint8 if scale == 1 else np.uint16)
    path = make_clip(
        tmp_path / "grey.mkv", range(2), Fraction(1, 25), codec=codec, pix_fmt=pix_fmt,
        pictures=[samples] * 2, tags=(1, 1, 1, 1), options=options,
    )  # fmt: skip
    with open_video(path) as reader:
        assert (reader.info.pix_fmt, reader.info.colour.full_range) == (pix_fmt, False)
        frame = next(iter(reader))
        luma, blue, red = frame.yuv420()
        assert np.abs(luma - ramp).max() <= (0 if scale == 1 else 1)
        assert {blue.min(), blue.max(), red.min(), red.max()} == {128}
        assert np.abs(frame.rgb() - ((ramp - 16) * 255 / 219)[..., None]).max() <= 3


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
