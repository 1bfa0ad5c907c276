"""A long run that was stopped and resumed gives what an uninterrupted one gives, and then leaves nothing beside it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.identity import difference, network_of
from icnet_cli.pipeline.ledger import Ledger
from icnet_cli.pipeline.leftover import clock, left_behind
from icnet_cli.pipeline.outputs import part_of
from icnet_cli.pipeline.resume import SEGMENT_S
from icnet_cli.video import open_video
from icnet_cli.video.labels import LabelVideo
from icnet_cli.video.partfolder import PartFolder
from tests.video.video_clips import packets

from .conftest import run
from .resuming import COUNT, EXACT, MS, TICKS, StopError, names, shown, start, stopped

KINDS = {
    "out.mp4": EXACT,
    "out.mkv": EXACT,
    "labels.mkv": {},
    "out.webm": {"view": "color"},
    "labels": {},
    "colours": {"view": "color", "every": 3, "start_s": 5.0},
}


@pytest.mark.parametrize("name", KINDS)
def test_stopped_and_resumed_is_as_if_it_had_not_been(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str
) -> None:
    options: dict[str, Any] = {**KINDS[name], "no_audio": name == "out.webm"}
    whole, resumed = tmp_path / "whole" / name, tmp_path / "resumed" / name
    for output in (whole, resumed):
        output.parent.mkdir()
    _, expected = run(segmenter, long_video, whole, stats=whole.parent / "stats.csv", **options)
    options["stats"] = resumed.parent / "stats.csv"
    stopped(25, long_video, resumed, segmenter, **options)
    assert names(resumed.parent) == [part_of(resumed).name]
    for _ in range(2):
        stopped(9, long_video, resumed, segmenter, **options, resume=True)
        assert names(resumed.parent) == [part_of(resumed).name]
    _, report = run(segmenter, long_video, resumed, **options, resume=True)
    assert shown(resumed) == shown(whole)
    assert names(resumed.parent) == names(whole.parent)
    assert (resumed.parent / "stats.csv").read_bytes() == (whole.parent / "stats.csv").read_bytes()
    assert report["frames_before"] > 0
    for key in ("frames", "class_share", "duration_s", "frames_damaged", "problem", "left_out"):
        assert report[key] == expected[key], key
    if name == "out.mp4":
        assert packets(resumed, "audio") == packets(long_video, "audio")
        assert packets(whole, "audio") == packets(long_video, "audio")
    if name == "labels.mkv":
        with LabelVideo(whole) as one, LabelVideo(resumed) as other:
            assert one.times == other.times
            assert [pts * one.times.time_base for pts in one.times.pts] == [tick * MS for tick in TICKS]


@pytest.mark.parametrize("forgets", [True, False])
def test_what_is_carried_between_frames_begins_anew_with_each_segment(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    if not forgets:  # then a resumed run lacks what went before, and shows it
        monkeypatch.setattr("icnet_cli.inference.beside.BesideScores.reset", lambda self: None)
        monkeypatch.setattr("icnet_cli.inference.reuse.FrameScores._key", None, raising=False)
    options: dict[str, Any] = {**EXACT, "reuse": "5", "smooth": 0.8}
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    _, expected = run(segmenter, long_video, whole, **options)
    assert expected["reuse"]["frames"]["carried"] > COUNT / 3
    stopped(35, long_video, resumed, segmenter, **options)
    _, report = run(segmenter, long_video, resumed, **options, resume=True)
    assert 0 < report["frames_before"] < COUNT
    # What is told of the network is of this run alone.
    assert sum(report["reuse"]["frames"].values()) == COUNT - report["frames_before"]
    assert (shown(resumed) == shown(whole)) is forgets


def test_the_second_frame_of_a_segment_is_behind_the_first(
    tmp_path: Path, long_video: Path, segmenter: Segmenter
) -> None:
    """And no gap away from the last one of the segment before, however far frames lie apart."""
    options: dict[str, Any] = {**EXACT, "smooth": 0.4, "every": 2}
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    run(segmenter, long_video, whole, **options)
    stopped(45, long_video, resumed, segmenter, **options)
    _, report = run(segmenter, long_video, resumed, **options, resume=True)
    assert report["frames_before"] > 30
    assert shown(resumed) == shown(whole)


def test_times_are_the_sources_across_segments(
    tmp_path: Path, long_video: Path, segmenter: Segmenter
) -> None:
    run(segmenter, long_video, tmp_path / "out.mp4")
    with open_video(tmp_path / "out.mp4") as reader:
        frames = [(f.pts * f.time_base, f.key) for f in reader]
        assert reader.shortfall is None
    assert [at for at, _ in frames] == [tick * MS for tick in TICKS]
    starts = [int((at - frames[0][0]) // SEGMENT_S) for at, _ in frames]
    for before, (slot, (_, key)) in zip(starts, list(zip(starts, frames, strict=True))[1:], strict=False):
        assert key or slot == before  # each segment begins with a key frame


def test_a_short_run_leaves_nothing(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    for name in ("out.mp4", "labels"):
        stopped(25, long_video, tmp_path / name, segmenter, end_s=59.0)
        assert names(tmp_path) == []


def test_a_long_run_that_has_done_no_segment_leaves_nothing(
    tmp_path: Path, long_video: Path, segmenter: Segmenter
) -> None:
    stopped(3, long_video, tmp_path / "out.mp4", segmenter)
    assert names(tmp_path) == []
    assert left_behind(tmp_path / "out.mp4") is None


def test_what_is_left_is_named(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    stopped(50, long_video, Path("out.mp4"), segmenter)
    words = left_behind(Path("out.mp4"))
    assert words is not None
    assert words.startswith("out.mp4.part/ holds the first 0:")
    with pytest.raises(IcnetError, match="--resume, or start anew with -y") as caught:
        run(segmenter, long_video, Path("out.mp4"))
    assert caught.value.code == ExitCode.USAGE
    assert left_behind(Path("out.mp4")) == words  # the refusal has thrown nothing away
    run(segmenter, long_video, Path("out.mp4"), overwrite=True)
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"alpha": 0.7}, "--alpha was 0.5 and is 0.7"), ({"crf": 30}, "--crf"), ({"start_s": 1.0}, "--start")],
)
def test_another_job_is_refused(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, options: dict[str, Any], words: str
) -> None:
    stopped(30, long_video, tmp_path / "out.mp4", segmenter)
    before = sorted(os.listdir(part_of(tmp_path / "out.mp4")))
    with pytest.raises(IcnetError, match=words) as caught:
        run(segmenter, long_video, tmp_path / "out.mp4", resume=True, **options)
    assert caught.value.code == ExitCode.USAGE
    assert sorted(os.listdir(part_of(tmp_path / "out.mp4"))) == before


def test_another_source_or_network_is_refused(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    shutil.copy(long_video, source)
    stopped(30, source, output, segmenter)
    for parameter in segmenter.network.parameters():
        parameter.data.add_(0.25)
        break
    else:
        segmenter.network.register_buffer("other", segmenter.network.state_dict().get("other"))
    with pytest.raises(IcnetError, match="another job: weights changed since"):
        run(segmenter, source, output, resume=True)
    data = bytearray(source.read_bytes())
    data[-5] ^= 1
    source.write_bytes(data)
    with pytest.raises(IcnetError, match="its source was another file, or has been changed"):
        run(segmenter, source, output, resume=True)


@pytest.mark.parametrize("changed", ["net.xml", "net.bin"])
def test_an_exported_network_is_told_by_all_of_its_files(tmp_path: Path, changed: str) -> None:
    """Two exports of one network with other weights have one .xml to the byte: the values are in OpenVINO's .bin."""
    for name in ("net.xml", "net.bin"):
        (tmp_path / name).write_bytes(name.encode())
    segmenter = SimpleNamespace(
        meta=SimpleNamespace(model="icnet"), engine=SimpleNamespace(path=tmp_path / "net.xml"), device="cpu",
        precision="fp32", backend="openvino",
    )  # fmt: skip
    before = network_of(segmenter, {})
    assert network_of(segmenter, {}) == before
    (tmp_path / changed).write_bytes(b"changed")
    assert difference({"network": before}, {"network": network_of(segmenter, {})}) == "weights changed since"


def test_a_picture_that_is_another_is_refused(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    """What a fingerprint of places in the file may miss."""
    stopped(30, long_video, tmp_path / "out.mp4", segmenter)
    folder = PartFolder(tmp_path / "out.mp4")
    folder.look()
    _change(
        folder.segment_path(folder.count - 1), lambda document: document["next"]["picture"].__setitem__(1, 7)
    )
    with pytest.raises(IcnetError, match="another picture now where it is to go on"):
        run(segmenter, long_video, tmp_path / "out.mp4", resume=True)


def _change(path: Path, change: Any) -> None:
    """Rewrite the document of a segment."""
    data = path.read_bytes()
    start, length, _ = struct.unpack("<QQI", data[-20:])
    document = json.loads(data[start : start + length])
    change(document)
    text = json.dumps(document).encode()
    body = data[:start] + text
    path.write_bytes(body + struct.pack("<QQI", start, len(text), zlib.crc32(body)))


@pytest.mark.parametrize("name", ["out.mkv", "labels"])
def test_a_damaged_segment_is_made_again(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str
) -> None:
    options = {"codec": "ffv1"} if name == "out.mkv" else {}
    run(segmenter, long_video, tmp_path / ("whole" + name), **options, view="color")
    stopped(70, long_video, tmp_path / name, segmenter, **options, view="color")
    folder = PartFolder(tmp_path / name)
    folder.look()
    assert folder.count >= 3
    victim = folder.segment_path(1)
    if name == "labels":
        victim = sorted(folder.whole.glob("*.png"))[30]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 16
    victim.write_bytes(data)
    _, report = run(segmenter, long_video, tmp_path / name, resume=True, **options, view="color")
    assert 0 < report["frames_before"] < 40
    assert shown(tmp_path / name) == shown(tmp_path / ("whole" + name))


def test_two_runs_do_not_share_a_folder(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    first = start(long_video, tmp_path / "out.mp4", segmenter)
    next(first)
    for resume in (False, True):
        with pytest.raises(IcnetError, match="is in use") as caught:
            run(segmenter, long_video, tmp_path / "out.mp4", resume=resume, overwrite=True)
        assert caught.value.code == ExitCode.USAGE
    for _ in first:
        pass
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("name", ["out.mp4", "labels"])
def test_a_crash_between_the_name_and_the_end(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output has its name, and NAME.part/ is still there."""

    def crash(_: PartFolder) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(PartFolder, "discard", crash)
        with pytest.raises(StopError):
            run(segmenter, long_video, tmp_path / name, end_s=70.0)
    assert names(tmp_path) == [name, part_of(tmp_path / name).name]
    before = shown(tmp_path / name)
    for _ in range(2):
        _, report = run(segmenter, long_video, tmp_path / name, end_s=70.0, resume=True)
        assert report["finished_before"]
        assert names(tmp_path) == [name]
    assert shown(tmp_path / name) == before


@pytest.mark.parametrize("name", ["out.mp4", "labels"])
def test_a_crash_amid_the_removal_of_the_folder(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a kill falls among the files that are removed, a resumed run knows that all is done."""
    done, crashes = tmp_path / "done", 0
    done.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(PartFolder, "discard", lambda _: None)
        run(segmenter, long_video, done / name, end_s=70.0)
    before = shown(done / name)
    part = part_of(done / name).name
    while True:
        folder = tmp_path / str(crashes)
        folder.mkdir()
        (done / name).rename(folder / name)  # it stays the file that the record names
        shutil.copytree(done / part, folder / part)
        with monkeypatch.context() as patch:
            for remove in ("unlink", "rmdir"):
                patch.setattr(os, remove, _Mortal(getattr(os, remove), crashes))
            _Mortal.calls = 0
            try:
                PartFolder(folder / name).discard()
                break
            except StopError:
                pass
        _, report = run(segmenter, long_video, folder / name, end_s=70.0, resume=True)
        assert report["finished_before"], crashes
        assert names(folder) == [name], crashes
        assert shown(folder / name) == before
        (folder / name).rename(done / name)
        crashes += 1
    assert crashes >= 4  # a segment, what the run is, what says that it is over, the lock, the folder


class _Mortal:
    """A removal that is not made, and ends the run, once `lives` were made."""

    calls = 0

    def __init__(self, remove: Any, lives: int) -> None:
        self._remove, self._lives = remove, lives

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if _Mortal.calls >= self._lives:
            raise StopError
        _Mortal.calls += 1
        self._remove(*args, **kwargs)


@pytest.mark.parametrize("name", ["out.mp4", "labels", "labels.mkv"])
def test_a_crash_before_the_name(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture is done; the output has yet to be put together."""

    def crash(*_: Any, **__: Any) -> None:
        raise StopError

    options = EXACT if name == "out.mp4" else {}
    (tmp_path / "whole").mkdir()
    run(segmenter, long_video, tmp_path / "whole" / name, **options)
    with monkeypatch.context() as patch:
        patch.setattr(PartFolder, "publish", crash)
        with pytest.raises(StopError):
            run(segmenter, long_video, tmp_path / name, stats=tmp_path / "stats.csv", **options)
    assert names(tmp_path) == sorted([part_of(tmp_path / name).name, "stats.csv", "whole"])
    _, report = run(
        segmenter, long_video, tmp_path / name, stats=tmp_path / "stats.csv", resume=True, **options
    )
    assert (report["frames"], report["frames_before"]) == (COUNT, COUNT)
    assert report["problem"] is None
    assert shown(tmp_path / name) == shown(tmp_path / "whole" / name)


def test_a_full_disk_keeps_what_is_done(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(segmenter, long_video, tmp_path / "whole.mp4", **EXACT)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: _Usage())
        with pytest.raises(IcnetError, match=r"to join its segments takes \d+ MB.*make room") as caught:
            run(segmenter, long_video, tmp_path / "out.mp4", **EXACT)
    assert caught.value.code == ExitCode.OUTPUT
    assert left_behind(tmp_path / "out.mp4") is not None
    run(segmenter, long_video, tmp_path / "out.mp4", resume=True, **EXACT)
    assert shown(tmp_path / "out.mp4") == shown(tmp_path / "whole.mp4")
    assert names(tmp_path) == ["out.mp4", "whole.mp4"]


class _Usage:
    free = 1000


def test_what_stood_there_stays_until_the_end(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    for name in ("out.mp4", "labels"):
        run(segmenter, long_video, tmp_path / name, frames=2)
        before = shown(tmp_path / name)
        stopped(40, long_video, tmp_path / name, segmenter, overwrite=True)
        assert shown(tmp_path / name) == before
        with pytest.raises(IcnetError, match="-y"):
            run(segmenter, long_video, tmp_path / name, resume=True)
        run(segmenter, long_video, tmp_path / name, resume=True, overwrite=True)
        assert len(shown(tmp_path / name)) >= COUNT
        assert not part_of(tmp_path / name).exists()


def test_segments_say_where_they_begin(tmp_path: Path, long_video: Path, segmenter: Segmenter) -> None:
    """The hook for what keeps state between pictures: a resumed run begins where an uninterrupted one forgot."""
    seen: dict[str, list[int]] = {"whole": [], "stopped": [], "resumed": []}
    note = Ledger.note

    def watching(begins: list[int]) -> Any:
        def noting(ledger: Ledger, picture: Any, *rest: Any) -> None:
            if picture.starts_segment:
                begins.append(picture.index)
            note(ledger, picture, *rest)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "note", watching(seen["whole"]))
        run(segmenter, long_video, tmp_path / "whole", view="color")
        patch.setattr(Ledger, "note", watching(seen["stopped"]))
        stopped(60, long_video, tmp_path / "out", segmenter, view="color")
        patch.setattr(Ledger, "note", watching(seen["resumed"]))
        run(segmenter, long_video, tmp_path / "out", view="color", resume=True)
    assert seen["whole"][0] == 0
    assert len(seen["whole"]) == 8
    assert seen["stopped"] == seen["whole"][: len(seen["stopped"])]
    assert seen["resumed"] == seen["whole"][-len(seen["resumed"]) :]


def test_what_a_killed_short_run_left_moves_no_segment(
    tmp_path: Path, long_video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is thrown away: when its first picture was shown says nothing of another run to the same name."""
    killed, clean = tmp_path / "killed" / "labels", tmp_path / "clean" / "labels"
    for output in (killed, clean):
        output.parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("icnet_cli.pipeline.resume.Job.leave", lambda job: job.folder.release())
        stopped(30, long_video, killed, segmenter, start_s=40.0, end_s=75.0)
    assert PartFolder(killed).newest()
    for output in (killed, clean):
        run(segmenter, long_video, output, start_s=3.0, end_s=59.0, reuse="5", smooth=0.8)
    assert shown(killed) == shown(clean)


def test_nothing_to_resume_is_a_run_like_any_other(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, video, tmp_path / "out.mp4", resume=True)
    assert report["frames"] == 10
    assert clock(3723) == "1:02:03"
