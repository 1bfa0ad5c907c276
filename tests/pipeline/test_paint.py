"""`icnet paint`: the picture that `segment` gave, again, from a label video and without the network."""

from __future__ import annotations

import errno
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from icnet_cli.config import PaintConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.paint import DamagedInputError, paint
from icnet_cli.pixels.files import read_picture, write_picture
from icnet_cli.video import attachments, open_video
from icnet_cli.video import labels as label_videos
from icnet_cli.video.labels import LabelVideo
from tests.inference.tiny import CLASSES, stripes

from .conftest import SIZE, TIMES, frames, run, write_video


def painted(labels: Path, source: Path, output: Path, **options: Any) -> dict[str, Any]:
    """The report of a run."""
    events = paint(PaintConfig(labels, str(source), output, **options))
    while True:
        try:
            next(events)
        except StopIteration as end:
            report: dict[str, Any] = end.value
            return report


def decoded(path: Path) -> list[tuple[float, float, bytes]]:
    with open_video(path) as reader:
        return [(f.seconds, f.duration_s, f.rgb().tobytes()) for f in reader]


@pytest.fixture
def labels(tmp_path: Path, video: Path, segmenter: Segmenter) -> Path:
    run(segmenter, video, tmp_path / "labels.mkv")
    return tmp_path / "labels.mkv"


# Lossless: what is compared is what the encoder was given. On pictures this small x264 differs from run to run.
LOOKS: list[dict[str, Any]] = [
    {"codec": "ffv1"},
    {"codec": "ffv1", "alpha": 0.8, "legend": True, "only": ("red",)},
    {"codec": "ffv1", "view": "side-by-side", "blur": ("green", "blue")},
    {"codec": "ffv1", "view": "color", "palette": "palette.yaml"},
    {"codec": "ffv1", "pix_fmt": "yuv444p", "blur": ("red",), "alpha": 0.0},
]


@pytest.mark.parametrize("look", LOOKS)
def test_its_picture_is_segments(
    tmp_path: Path, video: Path, labels: Path, segmenter: Segmenter, look: dict[str, Any]
) -> None:
    if "palette" in look:
        (tmp_path / "p.yaml").write_text("classes: [{name: red, color: [250, 240, 0]}, green, blue]\n")
        look = look | {"palette": str(tmp_path / "p.yaml")}
    run(segmenter, video, tmp_path / "segment.mkv", **look)
    report = painted(labels, video, tmp_path / "paint.mkv", **look)
    assert decoded(tmp_path / "paint.mkv") == decoded(tmp_path / "segment.mkv")
    assert report["frames"] == len(TIMES)
    # The failing twin: another look is another picture.
    painted(labels, video, tmp_path / "other.mkv", **(look | {"alpha": 0.3, "view": "overlay"}))
    assert decoded(tmp_path / "other.mkv") != decoded(tmp_path / "segment.mkv")


@pytest.mark.parametrize(
    "selection",
    [{"every": 2, "frames": 3}, {"start_s": 0.5, "end_s": 1.1}, {"frames": 2}, {"ids": "dataset"}],
)
def test_a_part_of_the_video(
    tmp_path: Path, video: Path, segmenter: Segmenter, selection: dict[str, Any]
) -> None:
    run(segmenter, video, tmp_path / "labels.mkv", **selection)
    run(segmenter, video, tmp_path / "segment.mkv", codec="ffv1", **(selection | {"ids": "train"}))
    painted(tmp_path / "labels.mkv", video, tmp_path / "paint.mkv", codec="ffv1")
    assert decoded(tmp_path / "paint.mkv") == decoded(tmp_path / "segment.mkv")


def test_each_frames_exact_time_is_inside(tmp_path: Path, segmenter: Segmenter) -> None:
    """A third of a second is no whole number of Matroska's milliseconds."""
    from tests.video.video_clips import make_clip

    video = make_clip(tmp_path / "in.mp4", ticks=(7, 11, 12, 40))
    run(segmenter, video, tmp_path / "labels.mkv")
    with open_video(video) as reader, LabelVideo(tmp_path / "labels.mkv") as found:
        given = list(reader)
        assert found.times.time_base == reader.info.time_base
        assert found.times.pts == tuple(frame.pts for frame in given)
        assert found.times.durations == tuple(frame.duration for frame in given)
        np.testing.assert_array_equal(list(found), [segmenter.labels(f.rgb()) for f in given])
    assert [c["name"] for c in found.description["classes"]] == list(CLASSES.names)
    assert [tuple(c["color"]) for c in found.description["classes"]] == list(CLASSES.palette)


def test_sound_comes_from_the_video(tmp_path: Path, segmenter: Segmenter) -> None:
    from tests.video.video_clips import make_clip, packets

    video = make_clip(tmp_path / "in.mp4", audio="aac")
    run(segmenter, video, tmp_path / "labels.mkv")
    painted(tmp_path / "labels.mkv", video, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4", "audio") == packets(video, "audio") != []
    assert packets(tmp_path / "labels.mkv", "audio") == packets(video, "audio")


@pytest.mark.parametrize("late", [0, 1])
def test_a_copy_in_another_container_fits(tmp_path: Path, segmenter: Segmenter, late: int) -> None:
    """Its clock counts milliseconds; a copy that is a millisecond late is another video."""
    from tests.video.video_clips import make_clip

    ticks = (0, 427, 853, 1280, 1707)  # sixtieths of a second and no whole milliseconds
    video = make_clip(tmp_path / "in.mp4", ticks)
    milliseconds = [round(tick / 12.8) + late for tick in ticks]
    copy = make_clip(tmp_path / "copy.mkv", milliseconds, Fraction(1, 1000))
    run(segmenter, video, tmp_path / "labels.mkv")
    if late:
        refused(ExitCode.INPUT, "none of the labels", tmp_path / "labels.mkv", copy, tmp_path / "out.mkv")
    else:
        assert painted(tmp_path / "labels.mkv", copy, tmp_path / "out.mkv")["frames"] == len(ticks)


def test_a_copy_may_count_its_streams_otherwise(tmp_path: Path, segmenter: Segmenter) -> None:
    """ffmpeg puts the video in front, a phone often the sound."""
    from tests.video.video_clips import make_clip

    video, labels = make_clip(tmp_path / "in.mp4", audio="aac"), tmp_path / "labels.mkv"
    run(segmenter, video, labels)
    with av.open(str(video)) as source, av.open(str(tmp_path / "copy.mp4"), "w") as copy:
        targets = {s.index: copy.add_stream_from_template(s) for s in reversed(source.streams)}
        assert list(targets) == [1, 0]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = targets[packet.stream.index]
                copy.mux(packet)
    report = painted(labels, tmp_path / "copy.mp4", tmp_path / "out.mkv", codec="ffv1")
    painted(labels, video, tmp_path / "same.mkv", codec="ffv1")
    assert report["frames"] == 12
    assert decoded(tmp_path / "out.mkv") == decoded(tmp_path / "same.mkv")
    # One that was asked for by its number is that or none.
    refused(
        ExitCode.INPUT, "no video stream 0.*: 1", labels, tmp_path / "copy.mp4", tmp_path / "x.mkv", stream=0
    )


def test_a_disk_that_is_full_at_the_end_leaves_nothing(
    tmp_path: Path, video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attachments are written last, into a copy of the file."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(attachments, "_copy", full)
        with pytest.raises(IcnetError, match="the disk is full") as caught:
            run(segmenter, video, tmp_path / "labels.mkv")
    assert caught.value.code == ExitCode.OUTPUT
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    run(segmenter, video, tmp_path / "labels.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "labels.mkv"]


def test_pictures_and_their_labels(tmp_path: Path, segmenter: Segmenter) -> None:
    for index in range(5):
        write_picture(tmp_path / "in" / f"{index}.png", stripes(*SIZE, shift=9 * index))
    run(segmenter, tmp_path / "in", tmp_path / "labels.mkv", every=2)
    run(segmenter, tmp_path / "in", tmp_path / "segment.mkv", codec="ffv1", every=2)
    painted(tmp_path / "labels.mkv", tmp_path / "in", tmp_path / "paint.mkv", codec="ffv1")
    assert decoded(tmp_path / "paint.mkv") == decoded(tmp_path / "segment.mkv")
    with pytest.raises(IcnetError, match="one picture"):
        painted(tmp_path / "labels.mkv", tmp_path / "in", tmp_path / "one.png")
    run(segmenter, tmp_path / "in", tmp_path / "one.mkv", every=9, view="labels")
    painted(tmp_path / "one.mkv", tmp_path / "in", tmp_path / "one.png", view="color")
    found = {tuple(colour) for colour in read_picture(tmp_path / "one.png").reshape(-1, 3).tolist()}
    assert found == set(CLASSES.palette)


def refused(code: ExitCode, words: str, labels: Path, source: Path, output: Path, **options: Any) -> None:
    before = sorted(path.name for path in output.parent.iterdir())
    with pytest.raises(IcnetError, match=words) as caught:
        painted(labels, source, output, **options)
    assert caught.value.code == code
    assert sorted(path.name for path in output.parent.iterdir()) == before


def test_what_does_not_belong_together(
    tmp_path: Path, video: Path, labels: Path, folder: Path, segmenter: Segmenter
) -> None:
    out = tmp_path / "out.mp4"
    refused(ExitCode.INPUT, "not a label video", video, video, out)
    refused(ExitCode.INPUT, "no such file", tmp_path / "gone.mkv", video, out)
    refused(ExitCode.USAGE, "made from a video", labels, folder, out)
    refused(ExitCode.USAGE, "no class is called car.*red, green, blue", labels, video, out, only=("car",))
    refused(ExitCode.USAGE, "no class is called car.*red, green, blue", labels, video, out, blur=("car",))
    refused(ExitCode.USAGE, r"called gren \(green\?\)", labels, tmp_path / "gone.mp4", out, blur=("gren",))
    refused(ExitCode.USAGE, "holds the labels", labels, video, labels, overwrite=True)
    refused(ExitCode.USAGE, "is the input", labels, video, video, overwrite=True)
    larger = write_video(tmp_path / "larger.mp4", frames(3, (64, 96)))
    refused(ExitCode.INPUT, "48x72 and .* is 64x96", labels, larger, out)
    later = write_video(tmp_path / "later.mp4", frames(3), (97, 98, 99))
    refused(ExitCode.INPUT, "none of the labels", labels, later, out)


def test_labels_without_their_frames_are_told(tmp_path: Path, labels: Path) -> None:
    shorter = write_video(tmp_path / "shorter.mp4", frames(4))
    with pytest.raises(DamagedInputError, match="6 of the labels") as caught:
        painted(labels, shorter, tmp_path / "out.mp4")
    assert caught.value.report["frames"] == 4
    assert len(decoded(tmp_path / "out.mp4")) == 4


def test_cut_labels_paint_as_far_as_they_go(tmp_path: Path, segmenter: Segmenter) -> None:
    video = write_video(tmp_path / "in.mp4", frames(10, (96, 128)))
    run(segmenter, video, tmp_path / "labels.mkv")
    data = (tmp_path / "labels.mkv").read_bytes()
    (tmp_path / "labels.mkv").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DamagedInputError, match=r"labels\.mkv is damaged or truncated") as caught:
        painted(tmp_path / "labels.mkv", video, tmp_path / "out.mp4")
    assert 1 <= caught.value.report["frames"] == len(decoded(tmp_path / "out.mp4")) < 10


HOSTILE = {
    "classes.json": [b"[]", b"{", b'{"name": "x", "classes": [{"value": 900}]}', b"[" * 100_000],
    "times.json": [b"{}", b'{"version": 1, "time_base": [0, 0]}', b"\xff"],
}


@pytest.mark.parametrize(("name", "data"), [(n, d) for n, many in HOSTILE.items() for d in many])
def test_strangers_attachments_are_refused(
    tmp_path: Path, video: Path, labels: Path, name: str, data: bytes
) -> None:
    attachments.attach(labels, {name: data})
    refused(ExitCode.INPUT, "label video|what its classes are", labels, video, tmp_path / "out.mp4")


def test_a_video_in_colour_has_no_labels(
    tmp_path: Path, video: Path, labels: Path, segmenter: Segmenter
) -> None:
    files = label_videos._attachments(labels, 10**6)
    run(segmenter, video, tmp_path / "colour.mkv")
    attachments.attach(tmp_path / "colour.mkv", files)
    refused(ExitCode.INPUT, "yuv420p, not grey", tmp_path / "colour.mkv", video, tmp_path / "out.mp4")
    run(segmenter, video, tmp_path / "grey.mkv", view="labels")
    attachments.attach(tmp_path / "grey.mkv", files)
    assert painted(tmp_path / "grey.mkv", video, tmp_path / "out.mp4")["frames"] == len(TIMES)


def test_torch_is_not_loaded(tmp_path: Path, video: Path, labels: Path) -> None:
    program = (
        "import sys; from icnet_cli.cli.app import run; code = run(sys.argv[1:]); "
        "sys.exit(code or 99 * ('torch' in sys.modules))"
    )
    words = ["paint", str(labels), str(video), "-o", str(tmp_path / "out.mp4"), "--blur", "red"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(decoded(tmp_path / "out.mp4")) == len(TIMES)
