"""The whole path: files in, files out, with the labels that the Segmenter gives."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import processor
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.batch import segment_many
from icnet_cli.pipeline.lanes import Notice
from icnet_cli.pipeline.segment import DamagedInputError, segment
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import read_picture, write_picture
from icnet_cli.video import open_video
from tests.inference.tiny import CLASSES, stripes
from tests.video.video_clips import joined_recordings, packets

from .conftest import SIZE, TIMES, frames, run, write_video


def read_labels(path: Path) -> np.ndarray:
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert labels.ndim == 2
    return labels


def times_of(path: Path) -> list[tuple[int, int]]:
    """Tenths of a second: when each frame is shown and how long."""
    with open_video(path) as reader:
        return [(round(f.seconds * 10), round(f.duration_s * 10)) for f in reader]


def test_labels_from_video_are_the_segmenters(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    events, report = run(segmenter, video, tmp_path / "out")
    with open_video(video) as reader:
        for frame in reader:
            found = read_labels(tmp_path / "out" / f"frame_{frame.index:06d}.png")
            np.testing.assert_array_equal(found, segmenter.labels(frame.rgb()))
    rows = list(csv.DictReader((tmp_path / "out" / "index.csv").open()))
    assert [int(row["frame"]) for row in rows] == list(range(10))
    assert [round(float(row["seconds"]) * 10) for row in rows] == list(TIMES)
    assert [row["file"] for row in rows][:2] == ["frame_000000.png", "frame_000001.png"]
    classes = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [(c["value"], c["name"]) for c in classes["classes"]] == [(0, "red"), (1, "green"), (2, "blue")]
    assert len(events) == report["frames"] == 10
    assert not list(tmp_path.glob("*.part"))


def test_overlay_keeps_every_frame_and_its_time(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    events, report = run(segmenter, video, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == times_of(video)
    assert [event.index for event in events] == list(range(10))
    assert report["output_size"] == list(SIZE)
    assert report["view"] == "overlay"


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_of_joined_recordings_none_goes_by_in_an_instant(
    tmp_path: Path, segmenter: Segmenter, name: str
) -> None:
    source = joined_recordings(tmp_path, (20, 30))
    _, report = run(segmenter, source, tmp_path / name)
    assert (report["frames"], report["problem"]) == (50, None)
    assert report["duration_s"] == pytest.approx(2.0, abs=0.03)
    with open_video(tmp_path / name) as reader:
        assert {round(f.duration_s, 2) for f in reader} == {0.04}
    assert len(packets(tmp_path / name, "audio")) == len(packets(source, "audio"))


def test_overlay_shows_the_labels_in_their_colours(tmp_path: Path, segmenter: Segmenter) -> None:
    """At alpha 1 and nearly lossless, the colours decode to the labels' own."""
    video = write_video(tmp_path / "in.mkv", frames(3))
    run(segmenter, video, tmp_path / "out.mkv", alpha=1.0, crf=1)
    palette = CLASSES.palette_array().astype(int)
    with open_video(video) as before, open_video(tmp_path / "out.mkv") as after:
        for source, shown in zip(before, after, strict=True):
            distance = np.abs(shown.rgb()[:, :, None].astype(int) - palette).sum(axis=3)
            labels = segmenter.labels(source.rgb())
            assert (distance.argmin(axis=2) == labels).mean() > 0.95


def test_side_by_side_is_twice_as_wide(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, video, tmp_path / "out.mp4", view="side-by-side", legend=True, frames=2)
    with open_video(tmp_path / "out.mp4") as reader:
        assert (reader.info.height, reader.info.width) == (SIZE[0], 2 * SIZE[1])
    assert report["output_size"] == [SIZE[0], 2 * SIZE[1]]


def test_a_label_video_is_lossless(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    run(segmenter, video, tmp_path / "labels.mkv")
    with open_video(video) as before, open_video(tmp_path / "labels.mkv") as after:
        for source, labels in zip(before, after, strict=True):
            np.testing.assert_array_equal(labels.rgb()[..., 0], segmenter.labels(source.rgb()))


def test_pictures_keep_their_stems_and_sub_folders(
    tmp_path: Path, folder: Path, segmenter: Segmenter
) -> None:
    _, report = run(segmenter, folder, tmp_path / "out")
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert written == ["img10.png", "img2.png", "night/a.png"]
    for name, source in (
        ("img2.png", "img2.png"),
        ("img10.png", "img10.jpg"),
        ("night/a.png", "night/a.png"),
    ):
        expected = segmenter.labels(read_picture(folder / source))
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / name), expected)
    assert report["duration_s"] is None
    assert (tmp_path / "out" / "index.csv").read_text().splitlines()[1] == "0,,,img2.png"


def test_one_picture_to_one_png(tmp_path: Path, folder: Path, segmenter: Segmenter) -> None:
    run(segmenter, folder / "img2.png", tmp_path / "labels.png")
    picture = read_picture(folder / "img2.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), segmenter.labels(picture))
    run(segmenter, folder / "img2.png", tmp_path / "out.png", alpha=1.0)
    shown = read_picture(tmp_path / "out.png")
    np.testing.assert_array_equal(shown, CLASSES.palette_array()[segmenter.labels(picture)])


def test_pictures_become_a_video(tmp_path: Path, segmenter: Segmenter) -> None:
    for index in range(4):
        write_picture(tmp_path / "in" / f"{index}.png", stripes(*SIZE, shift=index))
    run(segmenter, tmp_path / "in", tmp_path / "out.mp4")
    with open_video(tmp_path / "out.mp4") as reader:
        assert [frame.seconds for frame in reader] == [0, 0.04, 0.08, 0.12]


def test_pictures_of_two_sizes_are_no_video(tmp_path: Path, folder: Path, segmenter: Segmenter) -> None:
    with pytest.raises(IcnetError, match="one size") as caught:
        run(segmenter, folder, tmp_path / "out.mp4")
    assert caught.value.code == ExitCode.INPUT
    assert os.listdir(tmp_path) == ["pictures"]


def test_ids_of_the_dataset_are_written(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    run(segmenter, video, tmp_path / "train", frames=1)
    run(segmenter, video, tmp_path / "dataset", frames=1, ids="dataset")
    train, dataset = (read_labels(tmp_path / n / "frame_000000.png") for n in ("train", "dataset"))
    np.testing.assert_array_equal(np.array(CLASSES.ids)[train], dataset)
    classes = json.loads((tmp_path / "dataset" / "classes.json").read_text())["classes"]
    assert [c["value"] for c in classes] == list(CLASSES.ids)


def test_a_range_and_a_stride(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    run(segmenter, video, tmp_path / "out.mp4", every=2, frames=3)
    assert times_of(tmp_path / "out.mp4") == [(0, 2), (2, 4), (6, 4)]
    _, report = run(segmenter, video, tmp_path / "cut.mp4", start_s=0.5, end_s=1.1)
    assert report["frames"] == 4
    assert [at for at, _ in times_of(tmp_path / "cut.mp4")] == [0, 1, 4, 5]


def test_another_palette_changes_the_colours(tmp_path: Path, folder: Path, segmenter: Segmenter) -> None:
    rows = [{"name": name, "color": [9, 8, index]} for index, name in enumerate(CLASSES.names)]
    (tmp_path / "p.json").write_text(json.dumps({"classes": rows}))
    run(segmenter, folder / "img2.png", tmp_path / "o.png", view="color", palette=str(tmp_path / "p.json"))
    assert set(map(tuple, read_picture(tmp_path / "o.png").reshape(-1, 3).tolist())) == {
        (9, 8, 0), (9, 8, 1), (9, 8, 2),
    }  # fmt: skip


def test_the_report_is_the_documented_one(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, video, tmp_path / "out.mp4")
    documented = {
        "input", "output", "frames", "frames_damaged", "seconds", "duration_s", "end_to_end_fps", "device",
        "precision", "backend", "model", "size", "output_size", "stages_ms", "class_share",
    }  # fmt: skip
    assert documented <= set(report)
    assert list(report["stages_ms"]) == ["decode", "prepare", "forward", "postprocess", "render", "encode"]
    assert all(spent > 0 for spent in report["stages_ms"].values())
    assert sum(report["class_share"].values()) == pytest.approx(1)
    assert report["size"] == [96, 128]
    assert report["duration_s"] == pytest.approx(1.7)
    assert report["end_to_end_fps"] == pytest.approx(10 / report["seconds"])
    assert report["frames_damaged"] == 0
    json.dumps(report)


def test_the_class_share_is_that_of_the_labels(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    _, report = run(segmenter, video, tmp_path / "out")
    labels = np.stack([read_labels(path) for path in sorted((tmp_path / "out").glob("frame*.png"))])
    for index, name in enumerate(CLASSES.names):
        assert report["class_share"][name] == pytest.approx((labels == index).mean())


@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_a_truncated_video_is_written_as_far_as_it_goes(
    tmp_path: Path, segmenter: Segmenter, output: str
) -> None:
    path = write_video(tmp_path / "in.mp4", frames(10, (96, 128)), tuple(range(0, 100, 10)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(DamagedInputError, match="truncated") as caught:
        run(segmenter, path, tmp_path / output)
    assert caught.value.code == ExitCode.INPUT
    written = caught.value.report["frames"]
    assert 1 <= written < 10
    if output == "out":
        assert len(list((tmp_path / output).glob("frame*.png"))) == written
    else:
        assert len(times_of(tmp_path / output)) == written


def test_a_damaged_picture_is_left_out_and_told(tmp_path: Path, folder: Path, segmenter: Segmenter) -> None:
    (folder / "img10.jpg").write_bytes((folder / "img10.jpg").read_bytes()[:-40])
    with pytest.raises(DamagedInputError, match=r"img10\.jpg.*out holds") as caught:
        run(segmenter, folder, tmp_path / "out")
    assert caught.value.report["frames"] == 2
    assert caught.value.report["frames_damaged"] == 1
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def tree(place: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(place)): p.read_bytes() if p.is_file() else None for p in place.rglob("*")}


@pytest.mark.parametrize("output", ["out.mp4", "out", "one.png"])
@pytest.mark.parametrize("way", ["close", "interrupt", "fail"])
def test_a_run_that_does_not_finish_leaves_nothing(
    tmp_path: Path, video: Path, segmenter: Segmenter, output: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"frames": 1} if output == "one.png" else {}
    before = tree(tmp_path)
    config = SegmentConfig(source=str(video), output=tmp_path / output, **options)
    if way == "fail" or output == "one.png":
        monkeypatch.setattr(segmenter, "labels", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(segment(config, segmenter))
    else:
        events = segment(config, segmenter)
        next(events)
        if way == "close":
            events.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                events.throw(KeyboardInterrupt)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_weights_that_cannot_be_loaded_leave_nothing(tmp_path: Path, video: Path, output: str) -> None:
    before = tree(tmp_path)
    config = SegmentConfig(source=str(video), output=tmp_path / output, weights="nowhere", device="cpu")
    with pytest.raises(IcnetError, match="nowhere") as caught:
        list(segment(config))
    assert caught.value.code == ExitCode.WEIGHTS
    assert tree(tmp_path) == before


def test_an_output_is_replaced_only_when_asked(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    for output in ("out", "out.mp4"):
        run(segmenter, video, tmp_path / output, frames=3)
        with pytest.raises(IcnetError, match="-y"):
            run(segmenter, video, tmp_path / output, frames=2)
        _, report = run(segmenter, video, tmp_path / output, frames=2, overwrite=True)
        assert report["frames"] == 2
    assert len(list((tmp_path / "out").glob("frame*.png"))) == 2
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out", "out.mp4"]


def test_a_part_folder_of_a_killed_run_is_cleared(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    part = tmp_path / "out.part"
    (part / "whole").mkdir(parents=True)
    for name in ("lock", "job.json", "000000.tmp", "whole/frame_999999.png"):
        (part / name).write_bytes(b"")
    run(segmenter, video, tmp_path / "out", frames=1)
    assert sorted(os.listdir(tmp_path / "out")) == ["classes.json", "frame_000000.png", "index.csv"]
    assert not part.exists()


def test_a_wrong_configuration_is_refused_first(tmp_path: Path, segmenter: Segmenter) -> None:
    with pytest.raises(IcnetError, match="--end") as caught:
        run(segmenter, "gone.mp4", tmp_path / "o.mp4", start_s=3.0, end_s=2.0)
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize("size", [(1, 1), (33, 35)])
def test_odd_and_tiny_videos(tmp_path: Path, segmenter: Segmenter, size: tuple[int, int]) -> None:
    video = write_video(tmp_path / "in.mkv", frames(2, (size[0] + size[0] % 2, size[1] + size[1] % 2)))
    for output in ("out.mp4", "out"):
        assert run(segmenter, video, tmp_path / output)[1]["frames"] == 2


@pytest.mark.parametrize("view", ["overlay", "color"])
def test_a_pixel_format_is_kept(tmp_path: Path, segmenter: Segmenter, view: str) -> None:
    """With more colour than 4:2:0 the edges of the classes have it too."""
    video = write_video(tmp_path / "in.mkv", frames(2))
    for pix_fmt in ("yuv444p", "yuv420p", "yuv420p10le"):
        output = tmp_path / f"{pix_fmt}.mkv"
        strength = {"alpha": 1.0} if view == "overlay" else {}
        run(segmenter, video, output, pix_fmt=pix_fmt, view=view, crf=1, **strength)
        with open_video(output) as reader, open_video(video) as before:
            assert reader.info.pix_fmt == pix_fmt
            shown, source = next(iter(reader)).rgb(), next(iter(before)).rgb()
        wrong = np.abs(shown.astype(int) - CLASSES.palette_array()[segmenter.labels(source)]).max(axis=2) > 40
        assert (wrong.mean() < 0.001) == (pix_fmt == "yuv444p")


def test_too_many_pixels_are_refused(tmp_path: Path, video: Path, folder: Path, segmenter: Segmenter) -> None:
    pixels = SIZE[0] * SIZE[1]
    for source in (video, folder / "img2.png"):
        with pytest.raises(IcnetError, match="pixels") as caught:
            run(segmenter, source, tmp_path / "out", max_pixels=1000)
        assert caught.value.code == ExitCode.INPUT
        assert run(segmenter, source, tmp_path / source.stem, max_pixels=pixels)[1]["frames"]


@pytest.mark.parametrize("option", ["only", "blur"])
def test_an_unknown_class_names_the_known(
    tmp_path: Path, video: Path, segmenter: Segmenter, option: str
) -> None:
    with pytest.raises(IcnetError, match=f"--{option}: no class is called car.*red, green, blue") as caught:
        run(segmenter, video, tmp_path / "out.mp4", **{option: ("red", "car")})
    assert caught.value.code == ExitCode.USAGE
    assert os.listdir(tmp_path) == ["in.mp4"]
    run(segmenter, video, tmp_path / "out.mp4", **{option: ("red", "blue")})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"only": ("person", "car")},
            r"--only: no class is called person \(pedestrian\?\); the classes are sky",
        ),
        ({"blur": ("Bicycle", "zebra")}, r"--blur: .* Bicycle, zebra \(bicyclist\?\)"),
        ({"weights": "of-nobody"}, "no weights 'of-nobody'"),
        ({"palette": "coco-stuff"}, None),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_they_are_loaded(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str | None
) -> None:
    monkeypatch.setattr("icnet_cli.inference.segmenter.load", None)
    for more in (None, (str(video),)):
        output = tmp_path / ("out" if more else "out.mp4")
        told = SegmentConfig(
            source=str(video), more=more, output=output, **{"weights": "fast-scnn-camvid", **options}
        )
        events = segment_many(told) if more else segment(told)
        with pytest.raises(IcnetError if words else TypeError, match=words) as caught:
            list(events)
        assert words is None or caught.value.code in (ExitCode.USAGE, ExitCode.WEIGHTS)
        assert not output.exists()


@pytest.mark.parametrize("output", ["out.mp4", "labels.mkv", "folder"])
def test_no_frame_interns_a_name(
    tmp_path: Path, video: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """Each string that is interned takes a place in a table of CPython's, which is at last made anew, larger."""
    real, seen = sys.intern, set()
    monkeypatch.setattr(sys, "intern", lambda text: (seen.add(text), real(text))[1])

    def interned(folder: str, frames: int) -> int:
        (tmp_path / folder).mkdir()
        seen.clear()
        _, report = run(segmenter, video, tmp_path / folder / output, frames=frames)
        assert report["frames"] == frames
        return len(seen)

    interned("first", 1)  # with what it imports
    assert interned("few", 3) == interned("many", 10)
    before = len(seen)
    _ = PurePath("frame_000010").parts  # which Python 3.12 takes apart only when it is asked for
    assert len(seen) == before + 1  # what a frame with a Path would do


@pytest.mark.parametrize(("features", "told"), [("flags : avx2", True), ("flags : avx512_bf16", False)])
def test_bf16_that_the_processor_has_not_is_told_before_the_first_frame(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch, features: str, told: bool
) -> None:
    monkeypatch.setattr(processor, "_features", lambda: features)
    config = SegmentConfig(
        str(video), tmp_path / "out.mp4", weights="fast-scnn-camvid", device="cpu", precision="bf16",
        backend="torch", frames=1,
    )  # fmt: skip
    first = next(segment(config))
    assert isinstance(first, Notice) == told
    assert not told or "has no bf16 of its own" in first.text
