"""Every codec in every container: what the muxer takes is read in order, upright and in time; it refuses the rest.

Outputs likewise: every codec that can be asked for is accepted by a container, or refused before any work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import CODECS, CONTAINERS, VideoWriter, check_output, open_video
from tests.video.video_clips import HEIGHT, WIDTH, corner_colours, make_clip, number_in, numbers, picture

os.environ.setdefault("SVT_LOG", "1")  # or SVT-AV1 prints its settings
COUNT = 6
BASE = Fraction(1, 12800)
TICKS = tuple(range(0, COUNT * 512, 512))  # 25 frames a second


@dataclass(frozen=True)
class Made:
    """How a codec is made here."""

    encoder: str
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)


SOURCES = {
    "h264": Made("libx264"),
    "hevc": Made("libx265", options={"x265-params": "log-level=0", "preset": "ultrafast"}),
    "vp9": Made("libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"}),
    "av1": Made("libsvtav1", options={"preset": "12", "crf": "20"}),
    "mpeg4": Made("mpeg4", options={"q": "2"}),
    "mjpeg": Made("mjpeg", "yuvj420p"),
    "prores": Made("prores_ks", "yuv422p10le"),
    "ffv1": Made("ffv1"),
}
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts")
# What FFmpeg's muxers do not take.
REFUSED = {
    ("prores", ".mp4"),
    *((codec, ".webm") for codec in ("h264", "hevc", "mpeg4", "mjpeg", "prores", "ffv1")),
    ("hevc", ".avi"),
    ("prores", ".avi"),
    *((codec, ".mov") for codec in ("vp9", "av1", "ffv1")),
}
# What a transport stream takes without a word and stores as nameless data: nobody can read it as video again.
NAMELESS = {(codec, ".ts") for codec in ("vp9", "av1", "mjpeg", "prores", "ffv1")}
PAIRS = [(codec, suffix) for codec in SOURCES for suffix in SUFFIXES]


def make(path: Path, codec: str) -> Path:
    made = SOURCES[codec]
    # avi counts frames and knows no ticks; the others are given fine ones.
    base, ticks = (Fraction(1, 25), tuple(range(COUNT))) if path.suffix == ".avi" else (BASE, TICKS)
    return make_clip(path, ticks, base, codec=made.encoder, pix_fmt=made.pix_fmt, options=made.options)


@pytest.mark.parametrize(("codec", "suffix"), [pair for pair in PAIRS if pair not in REFUSED | NAMELESS])
def test_a_pair_is_read(tmp_path: Path, codec: str, suffix: str) -> None:
    with open_video(make(tmp_path / f"clip{suffix}", codec)) as reader:
        seen = [(number_in(rgb := frame.rgb()), corner_colours(rgb), frame.seconds) for frame in reader]
        assert reader.info.codec_name == codec
        assert (reader.info.height, reader.info.width) == (HEIGHT, WIDTH)
        assert (reader.frames_damaged, reader.frames_lost, reader.shortfall) == (0, 0, None)
        tick = reader.info.time_base
    assert [number for number, _, _ in seen] == list(range(COUNT))
    assert {corners for _, corners, _ in seen} == {("red", "green")}
    start = seen[0][2]
    for number, _, seconds in seen:
        assert abs(Fraction(seconds - start).limit_denominator(10**6) - Fraction(number, 25)) <= tick


@pytest.mark.parametrize(("codec", "suffix"), sorted(REFUSED))
def test_a_pair_is_refused_by_the_muxer(tmp_path: Path, codec: str, suffix: str) -> None:
    with pytest.raises((av.FFmpegError, ValueError)):
        make(tmp_path / f"clip{suffix}", codec)


@pytest.mark.parametrize(("codec", "suffix"), sorted(NAMELESS))
def test_a_pair_without_a_name_is_refused_by_the_reader(tmp_path: Path, codec: str, suffix: str) -> None:
    with pytest.raises(IcnetError, match="no video") as caught:
        open_video(make(tmp_path / f"clip{suffix}", codec))
    assert caught.value.code is ExitCode.INPUT


def test_the_marks_would_tell() -> None:
    """Turned, the corners change; another number is another number."""
    assert corner_colours(picture(5)) == ("red", "green")
    assert corner_colours(picture(5)[:, ::-1]) == ("green", "red")
    assert corner_colours(picture(5)[::-1]) != ("red", "green")
    assert [number_in(picture(n)) for n in (0, 5, 200)] == [0, 5, 200]


SOFTWARE = [name for name, codec in CODECS.items() if not codec.hardware]
OUTPUTS = [(codec, suffix) for codec in SOFTWARE for suffix in (*CONTAINERS, ".avi", ".ts")]


@pytest.mark.parametrize(("codec", "suffix"), OUTPUTS)
def test_an_output_is_written_or_refused_before_any_work(tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    container = CONTAINERS.get(suffix)
    if container is None or CODECS[codec].family not in container.codecs:
        with pytest.raises(IcnetError) as caught:
            check_output(path, codec)
        assert caught.value.code is ExitCode.USAGE
        assert any(other in str(caught.value) for other in (".mp4", ".mkv"))
        assert not list(tmp_path.iterdir())
        return
    with VideoWriter(
        path, width=WIDTH, height=HEIGHT, codec=codec, time_base=BASE, frame_rate=Fraction(25)
    ) as out:
        for number, tick in enumerate(TICKS):
            out.write(picture(number), pts=tick, time_base=BASE, duration=512)
    assert numbers(path) == list(range(COUNT))
