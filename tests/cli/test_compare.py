"""`icnet compare`, from the command line to the video, the page and the report."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.errors import output_error
from icnet_cli.pixels.files import write_picture
from icnet_cli.pixels.wipe import Wipe
from icnet_cli.video import open_video
from tests.cli.conftest import Icnet
from tests.pipeline.conftest import TIMES, frames, write_video
from tests.reports.parsed import Page


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mp4", frames(size=(64, 96)))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the same classes and another network."""
    return _weights(tmp_path_factory, "camvid", 1)


@pytest.fixture(scope="session")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _weights(tmp_path_factory, "cityscapes", 0)


def _weights(factory: pytest.TempPathFactory, table: str, seed: int) -> Path:
    import torch

    from icnet_cli.checkpoints.format import WeightsMeta, save_weights
    from icnet_cli.classes import load_table
    from icnet_cli.models import build

    classes = load_table(table)
    torch.manual_seed(seed)
    network = build("fast-scnn", {"num_classes": classes.num_classes, "keep": 0.25})
    path = factory.mktemp("weights") / f"{table}.safetensors"
    save_weights(path, network, WeightsMeta.of(network, classes, (64, 96)))
    return path


def test_a_video_without_an_output_gives_the_figures(icnet: Icnet, weights, other, video) -> None:
    outcome = icnet("compare", weights, other, video, "--json", "--progress", "none", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["kind"] == "video"
    assert document["frames"] == len(TIMES)
    assert 0 <= document["disagreement"] <= 1
    assert {"ms_p50", "flicker", "class_share", "weights", "model", "size"} <= set(document["a"])
    assert document["time_ratio"] > 0
    assert np.sum(document["between"]) == len(TIMES) * 64 * 96
    assert "output" not in document
    table = icnet("compare", weights, other, video, "--frames", "2", "--progress", "none")
    assert "flicker A" in table.out
    assert "2 frames: A" in table.err


def test_the_wipe_video_keeps_size_and_times(icnet: Icnet, weights, other, video, tmp_path) -> None:
    out = tmp_path / "wipe.mp4"
    outcome = icnet("compare", weights, other, video, "-o", out, "--progress", "none")
    assert outcome.code == 0, outcome.err
    with open_video(video) as source, open_video(out) as made:
        assert (made.info.height, made.info.width) == (64, 96)
        wanted = [float(frame.pts * frame.time_base) for frame in source]
        assert [float(frame.pts * frame.time_base) for frame in made] == pytest.approx(wanted)
    again = icnet("compare", weights, other, video, "-o", out)
    assert again.code == 2
    assert icnet("compare", weights, other, video, "-o", out, "-y", "--frames", "1").code == 0


def test_the_page_holds_the_reports_own_figures(icnet: Icnet, weights, other, video, tmp_path) -> None:
    for out, file in ((tmp_path / "page", tmp_path / "page" / "index.html"), (tmp_path / "p.html",) * 2):
        outcome = icnet("compare", weights, other, video, "-o", out, "--json", "--progress", "none")
        assert outcome.code == 0, outcome.err
        page = Page(file.read_text("utf-8")).check()
        assert page.data["report"] == outcome.document
        assert outcome.document["output"] == str(file)
        assert icnet("compare", weights, other, video, "-o", out).code == 2


def test_a_dataset_tells_who_is_right_as_eval_does(icnet: Icnet, weights, other, camvid, tmp_path) -> None:
    outcome = icnet("compare", weights, other, camvid, "--json", "--progress", "none", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["kind"] == "dataset"
    assert document["split"] == "val"
    assert sum(document["truth"].values()) == pytest.approx(1)
    for side, file in (("a", weights), ("b", other)):
        measured = icnet("eval", camvid, "--weights", file, "--json", "--progress", "none", "--device", "cpu")
        for key in ("miou", "pixel_accuracy", "per_class"):
            assert document[side][key] == measured.document[key]
    out = tmp_path / "page.html"
    assert (
        icnet("compare", weights, other, camvid, "-o", out, "--frames", "1", "--progress", "none").code == 0
    )
    page = Page(out.read_text("utf-8")).check()
    assert "Who is right" in "".join(page.texts("p"))
    assert "Truth" in page.texts("figcaption")


def test_both_are_run_by_what_is_told(icnet: Icnet, refused, weights, other, camvid, monkeypatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    told = ("compare", weights, other, camvid, "--frames", "1", "--backend", "onnx")
    outcome = icnet(*told, "--json", "--progress", "none")
    assert outcome.code == 0, outcome.err
    assert [outcome.document[side]["backend"] for side in "ab"] == ["onnx", "onnx"]
    assert "leave --device out" in refused(2, *told, "--device", "cuda")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "onnx" in refused(2, *told)


def test_a_folder_of_pictures_has_no_flicker(icnet: Icnet, weights, other, tmp_path) -> None:
    for index, picture in enumerate(frames(2, (64, 96))):
        write_picture(tmp_path / "many" / f"{index}.png", picture)
    outcome = icnet("compare", weights, other, tmp_path / "many", "--json", "--progress", "none")
    assert outcome.code == 0, outcome.err
    assert outcome.document["kind"] == "pictures"
    assert "flicker" not in outcome.document["a"]


def test_names_from_outside_are_text_on_the_page(icnet: Icnet, weights, other, video, tmp_path) -> None:
    harm = tmp_path / "<script>x<.safetensors"
    shutil.copy(other, harm)
    out = tmp_path / "p.html"
    assert icnet("compare", weights, harm, video, "-o", out, "--progress", "none").code == 0
    page = Page(out.read_text("utf-8")).check()
    assert "<script>x<" in page.texts("h1")[0]


def test_runs_are_told_apart_though_their_files_have_one_name(
    icnet: Icnet, weights, other, video, tmp_path, monkeypatch
) -> None:
    files = [tmp_path / run / "best.safetensors" for run in ("one", "two")]
    for file, source in zip(files, (weights, other), strict=True):
        file.parent.mkdir()
        shutil.copy(source, file)
    out = tmp_path / "p.html"
    outcome = icnet("compare", *files, video, "-o", out, "--frames", "1", "--progress", "none")
    assert outcome.code == 0, outcome.err
    assert Page(out.read_text("utf-8")).check().texts("h1") == [
        "A one/best.safetensors, B two/best.safetensors"
    ]
    assert all(str(file) in outcome.err for file in files)
    drawn: list[tuple[str, str]] = []

    class Noted(Wipe):
        def __init__(self, painter, names, size) -> None:
            drawn.append(names)
            super().__init__(painter, names, size)

    monkeypatch.setattr("icnet_cli.pipeline.compare.Wipe", Noted)
    icnet("compare", *files, video, "-o", tmp_path / "w.mp4", "--frames", "1", "--progress", "none")
    assert drawn == [("A one/best", "B two/best")]


def test_unlike_classes_are_refused_in_one_line(refused, weights, unlike, video) -> None:
    line = refused(2, "compare", weights, unlike, video)
    assert "11 classes of camvid" in line
    assert "19 classes of cityscapes" in line


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "x.avi"], 2, "neither a video"),
        (["-o", "x.png"], 2, "neither a video"),
        (["-o", "-"], 2, "not -"),
        (["--split", "val"], 2, "--split is for a dataset"),
        (["--start", "3", "--end", "2"], 2, "not after"),
        (["--frames", "0"], 2, "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(refused, weights, other, video, arguments, code, words) -> None:
    assert words in refused(code, "compare", weights, other, video, *arguments)


def test_a_camera_is_refused(refused, weights, other) -> None:
    assert "no end" in refused(2, "compare", weights, other, "rtsp://127.0.0.1/x")


def test_what_does_not_fit_a_dataset_is_refused(refused, weights, other, unlike, camvid, tmp_path) -> None:
    assert "--start is for a video" in refused(2, "compare", weights, other, camvid, "--start", "1")
    assert "name a folder" in refused(2, "compare", weights, other, camvid, "-o", tmp_path / "x.mp4")
    assert "camvid" in refused(2, "compare", unlike, unlike, camvid)
    assert refused(3, "compare", weights, other, tmp_path / "none.mp4")
    assert refused(4, "compare", weights, tmp_path / "none.safetensors", camvid)


def test_the_input_cannot_be_the_output_and_a_failure_leaves_nothing(
    refused, weights, other, video, tmp_path
) -> None:
    before = video.read_bytes()
    assert "input itself" in refused(2, "compare", weights, other, video, "-o", video, "-y")
    assert video.read_bytes() == before
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "mine").write_text("x")
    assert "not empty" in refused(2, "compare", weights, other, video, "-o", folder)
    assert os.listdir(folder) == ["mine"]


def test_figures_are_told_where_the_page_cannot_be_written(
    icnet: Icnet, weights, other, video, tmp_path, monkeypatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise output_error(f"cannot write {path}: no space left on device")

    monkeypatch.setattr("icnet_cli.evaluation.page.write_atomically", full)
    outcome = icnet(
        "compare", weights, other, video, "-o", tmp_path / "p.html", "--json", "--progress", "none"
    )
    assert outcome.code == 5
    assert outcome.document["frames"] == len(TIMES)
    assert "no space left" in outcome.err


def test_a_damaged_video_is_compared_on_what_there_is(icnet: Icnet, weights, other, video, tmp_path) -> None:
    cut = tmp_path / "cut.mkv"
    write_video(tmp_path / "whole.mkv", frames(size=(64, 96)))
    data = (tmp_path / "whole.mkv").read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    out = tmp_path / "p.html"
    outcome = icnet("compare", weights, other, cut, "-o", out, "--progress", "none", "--json")
    assert outcome.code == 3
    assert 0 < outcome.document["frames"] < len(TIMES)
    assert outcome.document["problem"]
    assert out.exists()
