"""What of a video could not be kept, and no damage is: told in one line, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import av
import pytest

from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.opening import open_source
from icnet_cli.pipeline.sources import Selection
from icnet_cli.video import VideoReader, open_video
from icnet_cli.video.partfolder import PartFolder
from tests.video.video_clips import make_clip

from .conftest import run
from .resuming import StopError

MS = Fraction(1, 1000)
TICKS = (0, 40, 40, 80, 120, 120, 120, 160, 200)


def stamped(path: Path, ticks: Sequence[int]) -> Path:
    """A video whose packets have these times (ms), be they equal."""
    made = make_clip(
        path.with_name("even.mkv"), range(len(ticks)), Fraction(1, 25), codec="mjpeg", pix_fmt="yuvj420p"
    )
    with av.open(str(made)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet, tick in zip(source.demux(video=0), ticks, strict=False):
            packet.pts = packet.dts = tick
            packet.time_base, packet.stream = MS, stream
            out.mux(packet)
    return path


def test_frames_of_one_time_are_counted_and_told(tmp_path: Path, segmenter: Segmenter) -> None:
    path = stamped(tmp_path / "in.mkv", TICKS)
    _, report = run(segmenter, path, tmp_path / "out.mp4")
    assert (report["frames"], report["frames_moved"], report["problem"]) == (9, 3, None)
    assert report["notices"] == [
        f"{path}: 3 of 9 frames had the time of the frame before, or an earlier one; each follows it by a tick of "
        "the file's clock"
    ]
    with open_video(tmp_path / "out.mp4") as reader:
        assert [round(frame.seconds / MS) for frame in reader] == [0, 40, 41, 80, 120, 121, 122, 160, 200]


def test_they_are_told_where_only_the_joining_was_left_to_a_resumed_run(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stamped(tmp_path / "in.mkv", [0, *range(0, 70_000, 1000)])
    with monkeypatch.context() as patch:
        patch.setattr(PartFolder, "publish", Mock(side_effect=StopError))
        with pytest.raises(StopError):
            run(segmenter, path, tmp_path / "out.mp4")
    _, report = run(segmenter, path, tmp_path / "out.mp4", resume=True)
    assert report["frames_before"] == report["frames"] == 71
    assert report["frames_moved"] == 1
    assert "1 of 71 frames had the time of the frame before" in report["notices"][0]


def test_frames_of_their_own_times_are_none(tmp_path: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, stamped(tmp_path / "in.mkv", range(0, 360, 40)), tmp_path / "out.mp4")
    assert (report["frames_moved"], report["notices"]) == (0, [])
    # A bare stream has no times that could be wrong.
    bare = make_clip(tmp_path / "in.h264", muxer="h264")
    _, report = run(segmenter, bare, tmp_path / "bare.mp4")
    assert (report["frames_moved"], report["notices"]) == (0, [])
    # Nor has an AVI, whose pictures come in another order than its ticks, which are a frame each.
    counted = make_clip(tmp_path / "in.avi", range(12), Fraction(1, 25), b_frames=2)
    _, report = run(segmenter, counted, tmp_path / "counted.mp4")
    assert (report["frames_moved"], report["notices"]) == (0, [])


def test_those_before_a_range_are_nothing_to_it(tmp_path: Path) -> None:
    source = open_source(str(stamped(tmp_path / "in.mkv", TICKS)), Selection(start_s=0.1))
    assert len(list(source)) == 5
    assert source.frames_moved == 2


def test_samples_that_change_their_shape_are_told(tmp_path: Path, segmenter: Segmenter) -> None:
    parts = [
        make_clip(tmp_path / f"{n}.h264", range(4), Fraction(1, 25), muxer="h264", sar=sar).read_bytes()
        for n, sar in enumerate((Fraction(1), Fraction(4, 3)))
    ]
    path = tmp_path / "in.h264"
    path.write_bytes(b"".join(parts))
    _, report = run(segmenter, path, tmp_path / "out.mp4")
    words = "its samples change their shape on the way, to 4/3 as wide as high; all are shown as "
    assert report["notices"][0].startswith(f"{path}: {words}")
    path.write_bytes(parts[1] + parts[1])
    _, report = run(segmenter, path, tmp_path / "same.mp4")
    assert report["notices"] == []


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("out.mp4", {}, False),
        ("out.mkv", {"codec": "vp9"}, True),
        ("out.mp4", {"codec": "hevc"}, True),
        ("out.mp4", {"pix_fmt": "yuv444p"}, True),
        ("labels.mkv", {"view": "labels"}, False),
    ],
)
def test_fields_that_no_player_is_told_of_are_told(
    name: str, options: dict[str, str], told: bool, tmp_path: Path, segmenter: Segmenter
) -> None:
    path = make_clip(tmp_path / "in.mp4", options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    _, report = run(segmenter, path, tmp_path / name, **options)
    words = f"{name}: its pictures are interlaced, and nothing in it says so: only h264 in yuv420p is told"
    assert report["left_out"] == ([words] if told else [])


def test_pictures_that_end_amid_a_file_are_told(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(tmp_path / "in.ts", range(8), Fraction(1, 25))
    _, report = run(segmenter, path, tmp_path / "whole.mp4")
    assert report["notices"] == []
    monkeypatch.setattr(VideoReader, "unread_share", 0.26)
    _, report = run(segmenter, path, tmp_path / "out.mp4")
    (line,) = report["notices"]
    assert line.startswith(f"{path}: its pictures end at 74% of the file")


@pytest.mark.parametrize(("transfer", "words"), [(16, "HDR (PQ)"), (18, "HDR (HLG)"), (1, None)])
def test_what_of_hdr_is_lost_is_told(
    transfer: int, words: str | None, tmp_path: Path, segmenter: Segmenter
) -> None:
    path = make_clip(
        tmp_path / "in.mp4", range(4), Fraction(1, 25), pix_fmt="yuv420p10le", tags=(9, transfer, 9, 1)
    )
    _, report = run(segmenter, path, tmp_path / "out.mp4")
    told = f"out.mp4: its {words} pictures are painted with 8 bits; what the source says of its mastering is not kept"
    assert report["left_out"] == ([told] if words else [])
    with open_video(tmp_path / "out.mp4") as reader:
        assert reader.info.colour.transfer == transfer
    _, report = run(segmenter, path, tmp_path / "labels.mkv", view="labels")
    assert report["left_out"] == []


@pytest.mark.parametrize(("transfer", "kept"), [(16, (1, 1)), (18, (1, 1)), (14, (9, 14))])
def test_classes_alone_are_no_hdr(
    transfer: int, kept: tuple[int, int], tmp_path: Path, segmenter: Segmenter
) -> None:
    """A player would show the palette's colours as bright as the source's lights."""
    tags = (9, transfer, 9, 1)
    path = make_clip(tmp_path / "in.mp4", range(4), Fraction(1, 25), pix_fmt="yuv420p10le", tags=tags)
    _, report = run(segmenter, path, tmp_path / "color.mp4", view="color")
    assert report["left_out"] == []
    with open_video(tmp_path / "color.mp4") as reader:
        assert (reader.info.colour.primaries, reader.info.colour.transfer) == kept
        assert reader.info.colour.matrix == 9


@pytest.mark.parametrize("tags", [(9, 16, 9, 1), (1, 1, 1, 1)])
def test_labels_have_no_colours(tags: tuple[int, ...], tmp_path: Path, segmenter: Segmenter) -> None:
    path = make_clip(tmp_path / "in.mkv", range(2), Fraction(1, 25), tags=tags)  # type: ignore[arg-type]
    run(segmenter, path, tmp_path / "labels.mkv", view="labels")
    with av.open(str(tmp_path / "labels.mkv")) as made:
        context = made.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (2, 2, 2)
        assert context.color_range == 2


@pytest.mark.parametrize(
    ("degrees", "turned", "rest"),
    [
        (30, 0, "30 degrees further counterclockwise"),
        (80, 270, "10 degrees further clockwise"),
        (90, 270, None),
    ],
)
def test_a_turn_that_is_no_quarter_is_told(
    degrees: int, turned: int, rest: str | None, tmp_path: Path, segmenter: Segmenter
) -> None:
    path = make_clip(tmp_path / "in.mp4", range(2), Fraction(1, 25), rotation=degrees)
    with open_video(path) as reader:
        assert reader.info.rotation == turned
    _, report = run(segmenter, path, tmp_path / "out.mp4")
    words = f"{path}: its pictures ask to be turned {rest}; only quarter turns are done"
    assert report["notices"] == ([words] if rest else [])
