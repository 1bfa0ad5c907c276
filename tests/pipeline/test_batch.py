"""Many videos: a mirrored tree, refusals before any work, and a failure that does not stop the rest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import jobs, resume
from icnet_cli.pipeline.batch import is_batch, plan_jobs, segment_many
from icnet_cli.video import open_video
from tests.video.video_clips import make_clip

from .conftest import frames, write_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """videos/: b.mp4, night/a.mkv, and a file that is no video."""
    folder = tmp_path / "videos"
    (folder / "night").mkdir(parents=True)
    write_video(folder / "b.mp4", frames(3))
    write_video(folder / "night" / "a.mkv", frames(2))
    (folder / "notes.txt").write_text("not a video")
    return folder


def config(tmp_path: Path, *sources: Path | str, **options: Any) -> SegmentConfig:
    options.setdefault("output", tmp_path / "out")
    more = tuple(str(source) for source in sources[1:]) or None
    return SegmentConfig(source=str(sources[0]), more=more, **options)


def run(config: SegmentConfig, segmenter: Segmenter) -> tuple[list[Any], dict[str, Any]]:
    events, seen = segment_many(config, segmenter), []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_of_videos_gives_a_mirrored_tree(tmp_path: Path, videos: Path, segmenter: Segmenter) -> None:
    events, report = run(config(tmp_path, videos), segmenter)
    assert written(tmp_path / "out") == ["b.mp4", "night/a.mkv"]
    assert [(event.number, event.of) for event in events] == [(1, 2)] * 3 + [(2, 2)] * 2
    assert [file["frames"] for file in report["files"]] == [3, 2]
    assert (report["failed"], report["code"]) == (0, 0)


def test_labels_are_a_folder_of_pictures_each(tmp_path: Path, videos: Path, segmenter: Segmenter) -> None:
    run(config(tmp_path, videos, view="labels"), segmenter)
    assert len(list((tmp_path / "out" / "b").glob("*.png"))) == 3
    assert len(list((tmp_path / "out" / "night" / "a").glob("*.png"))) == 2


def test_several_sources_go_by_their_names(tmp_path: Path, videos: Path, segmenter: Segmenter) -> None:
    run(config(tmp_path, videos / "night" / "a.mkv", videos / "b.mp4"), segmenter)
    assert written(tmp_path / "out") == ["a.mkv", "b.mp4"]


@pytest.mark.parametrize("made_before", ["", "out", "out/night"])
def test_of_what_failed_only_folders_of_the_run_itself_are_removed(
    tmp_path: Path, segmenter: Segmenter, made_before: str
) -> None:
    (tmp_path / made_before).mkdir(parents=True, exist_ok=True)
    (tmp_path / "videos" / "night").mkdir(parents=True)
    (tmp_path / "videos" / "night" / "a.mkv").write_bytes(b"no video")
    _, report = run(config(tmp_path, tmp_path / "videos"), segmenter)
    assert report["failed"] == 1
    left = [name for name in ("out", "out/night") if (tmp_path / name).exists()]
    assert left == ["out", "out/night"][: len(Path(made_before).parts)]


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path, videos: Path, segmenter: Segmenter) -> None:
    """One is no video, one is cut short; what they leave, and whose code it is."""
    (videos / "a.mp4").write_text("not a video")
    whole = (videos / "night" / "a.mkv").read_bytes()
    (videos / "c.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    _, report = run(config(tmp_path, videos), segmenter)
    assert [(Path(file["input"]).name, file["code"]) for file in report["files"]] == [
        ("a.mp4", 3), ("b.mp4", 0), ("c.mkv", 3), ("a.mkv", 0)
    ]  # fmt: skip
    assert (report["failed"], report["code"]) == (2, ExitCode.INPUT)
    assert set(written(tmp_path / "out")) >= {"b.mp4", "night/a.mkv"}
    assert "a.mp4" not in written(tmp_path / "out")


def test_a_container_that_is_only_read_becomes_mp4(tmp_path: Path, videos: Path) -> None:
    shutil.copy(videos / "b.mp4", videos / "d.ts")
    outputs = [job.output.name for job in plan_jobs(config(tmp_path, videos))]
    assert outputs == ["b.mp4", "d.mp4", "a.mkv"]


KINDS = {
    ".mxf": ("mpeg2video", "mxf"), ".mts": ("libx264", "mpegts"), ".m2ts": ("libx264", "mpegts"),
    ".vob": ("mpeg2video", "vob"), ".m2v": ("mpeg2video", "mpeg2video"), ".mpe": ("mpeg1video", "mpeg"),
    ".3gp": ("libx264", "3gp"), ".3g2": ("libx264", "3g2"), ".f4v": ("libx264", "f4v"), ".qt": ("libx264", "mov"),
    ".ogv": ("libvpx", "ogg"), ".asf": ("wmv2", "asf"), ".wmv": ("wmv2", "asf"), ".flv": ("flv", "flv"),
    ".h264": ("libx264", "h264"), ".264": ("libx264", "h264"), ".h265": ("libx265", "hevc"),
    ".hevc": ("libx265", "hevc"), ".265": ("libx265", "hevc"), ".nut": ("ffv1", "nut"), ".ivf": ("libvpx", "ivf"),
    ".mjpeg": ("mjpeg", "mjpeg"), ".gif": ("gif", "gif"), ".y4m": ("rawvideo", "yuv4mpegpipe"),
    ".rm": ("rv10", "rm"), ".wtv": ("mpeg2video", "wtv"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", KINDS)
def test_in_a_folder_a_video_of_any_kind_that_is_read_is_taken(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "videos").mkdir()
    clip = tmp_path / "videos" / f"a{suffix}"
    codec, muxer = KINDS[suffix]
    formats = {"mjpeg": "yuvj420p", "gif": "rgb8"}
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    make_clip(
        clip, range(0, 4), Fraction(1, 25), codec=codec, pix_fmt=formats.get(codec, "yuv420p"), size=(176, 144),
        options=quiet, muxer=muxer,
    )  # fmt: skip
    with open_video(clip) as reader:
        assert len(list(reader)) == 4
    assert is_batch(config(tmp_path, tmp_path / "videos"))
    (job,) = plan_jobs(config(tmp_path, tmp_path / "videos"))
    assert (job.source, job.output.name) == (clip, "a.mp4")


def test_a_gif_among_videos_is_one_of_them(tmp_path: Path, videos: Path) -> None:
    (videos / "c.GIF").write_bytes(b"GIF89a")
    assert [job.output.name for job in plan_jobs(config(tmp_path, videos))] == ["b.mp4", "c.mp4", "a.mkv"]
    (videos / "b.gif").write_bytes(b"GIF89a")  # a preview, as a rule
    names = [job.output.name for job in plan_jobs(config(tmp_path, videos))]
    assert sorted(names) == ["a.mkv", "b.gif.mp4", "b.mp4", "c.mp4"]


def test_what_is_a_batch(tmp_path: Path, videos: Path, folder: Path) -> None:
    assert is_batch(config(tmp_path, videos))
    assert is_batch(config(tmp_path, videos / "b.mp4", videos / "b.mp4"))
    assert is_batch(config(tmp_path, f"{videos}/**/*.m*"))
    assert not is_batch(config(tmp_path, videos / "b.mp4"))
    assert not is_batch(config(tmp_path, folder))
    assert not is_batch(config(tmp_path, f"{folder}/*.png"))


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("mixed", ExitCode.USAGE, "pictures and videos"),
        ("picture", ExitCode.USAGE, "is a picture"),
        ("collision", ExitCode.USAGE, "would both be written to"),
        ("nested", ExitCode.USAGE, "would be written into"),
        ("file", ExitCode.USAGE, "go to a folder"),
        ("inside", ExitCode.USAGE, "lies in the source"),
        ("exists", ExitCode.USAGE, "overwrite it with -y"),
        ("input", ExitCode.USAGE, "is an input itself"),
        ("long", ExitCode.USAGE, "a name that is too long"),
        ("loop", ExitCode.USAGE, "leads to itself"),
        ("codec", ExitCode.USAGE, "cannot hold"),
        ("missing", ExitCode.INPUT, "no such file"),
        ("empty", ExitCode.INPUT, "holds no videos"),
    ],
)
def test_what_is_refused_before_any_work(
    tmp_path: Path, videos: Path, folder: Path, what: str, code: ExitCode, words: str
) -> None:
    sources: list[Path] = [videos, videos / "b.mp4"]
    options: dict[str, Any] = {}
    if what == "mixed":
        shutil.copy(folder / "img2.png", videos)
    elif what == "picture":
        sources = [videos / "b.mp4", folder / "img2.png"]
    elif what == "collision":
        shutil.copy(videos / "b.mp4", videos / "b.ts")
    elif what == "nested":
        shutil.copytree(videos / "night", videos / "b")
        options["view"] = "labels"
    elif what == "file":
        options["output"] = tmp_path / "out.mp4"
    elif what == "inside":
        options["output"] = videos / "out"
    elif what == "exists":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b.mp4").write_text("something")
        sources = [videos]
    elif what == "input":
        sources, options = (
            [videos / "b.mp4", videos / "night" / "a.mkv"],
            {"output": videos, "overwrite": True},
        )
    elif what == "long":  # 255 bytes, and one more as .mp4
        shutil.copy(videos / "b.mp4", videos / f"{'x' * 252}.ts")
    elif what == "loop":
        (tmp_path / "out").symlink_to("out")
    elif what == "codec":
        shutil.copy(videos / "b.mp4", videos / "c.webm")
        options["codec"] = "h264"
    elif what == "missing":
        sources = [videos, tmp_path / "none.mp4"]
    else:
        (tmp_path / "empty").mkdir()
        sources = [tmp_path / "empty", videos]
    before = written(tmp_path)
    with pytest.raises(IcnetError, match=words) as caught:
        plan_jobs(config(tmp_path, *sources, **options))
    assert caught.value.code is code
    assert written(tmp_path) == before


def test_a_batch_goes_on_where_it_was_stopped(
    tmp_path: Path, videos: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is passed over, what is unfinished goes on, the rest is done."""
    monkeypatch.setattr(jobs, "LONG_S", 0.2)
    monkeypatch.setattr(resume, "SEGMENT_S", 0.2)
    shutil.copy(write_video(tmp_path / "ten.mkv", frames()), videos / "night" / "a.mkv")
    shutil.copy(videos / "b.mp4", videos / "z.mp4")
    run(config(tmp_path, videos, output=tmp_path / "whole", codec="ffv1"), segmenter)
    told = config(tmp_path, videos, codec="ffv1")
    events = segment_many(told, segmenter)
    for _ in range(3 + 6):
        next(events)
    events.close()
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".mp4", ".mkv")] == [
        "b.mp4"
    ]
    assert (tmp_path / "out" / "night" / "a.mkv.part").is_dir()
    (tmp_path / "out" / "b.mp4").rename(tmp_path / "b.mp4")
    with pytest.raises(IcnetError, match=r"a\.mkv\.part/ holds the first .* --resume, or start anew"):
        run(config(tmp_path, videos, codec="ffv1"), segmenter)
    (tmp_path / "b.mp4").rename(tmp_path / "out" / "b.mp4")
    before = (tmp_path / "out" / "b.mp4").stat().st_mtime_ns
    _, report = run(replace(told, resume=True), segmenter)
    first, second, third = report["files"]
    assert first["finished_before"]
    assert (tmp_path / "out" / "b.mp4").stat().st_mtime_ns == before
    assert (second["frames"], second["frames_before"] > 0) == (10, True)
    assert (third["frames"], third["frames_before"]) == (3, 0)
    assert written(tmp_path / "out") == written(tmp_path / "whole")
    for name in ("night/a.mkv", "z.mp4"):
        with open_video(tmp_path / "out" / name) as one, open_video(tmp_path / "whole" / name) as other:
            assert [(f.pts, f.rgb().tobytes()) for f in one] == [(f.pts, f.rgb().tobytes()) for f in other]
