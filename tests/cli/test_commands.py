"""The commands for real, on pictures of a few thousand pixels and an untrained network."""

from __future__ import annotations

import json
from pathlib import Path

from icnet_cli.pixels.cv import cv2
from tests.cli.conftest import Icnet


def test_segment(icnet: Icnet, weights: Path, camvid: Path, tmp_path: Path, refused) -> None:
    source, output = camvid / "val" / "val_0.png", tmp_path / "out.png"
    line = ["segment", source, "-o", output, "--weights", weights, "--device", "cpu"]
    outcome = icnet(*line, "--json")
    assert outcome.code == 0, outcome.err
    assert {
        "input", "output", "frames", "frames_damaged", "seconds", "duration_s", "end_to_end_fps", "device",
        "precision", "backend", "model", "size", "output_size", "stages_ms", "class_share",
    } <= set(outcome.document)  # fmt: skip
    assert set(outcome.document["stages_ms"]) == {
        "decode", "prepare", "forward", "postprocess", "render", "encode",
    }  # fmt: skip
    assert cv2.imread(str(output)).shape == (64, 96, 3)
    assert "1 frame in" in outcome.err

    assert "-y" in refused(2, *line)
    outcome = icnet(*line, "-y", "--progress", "none")  # a slow machine would tell of its progress
    assert outcome.code == 0
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    assert "%" in outcome.err

    outcome = icnet(*line, "--resume", "--json")
    assert (outcome.code, outcome.document["finished_before"]) == (0, True)
    assert "nothing to resume (its options are not checked; -y makes it anew)" in outcome.err
    output.write_text("hello")
    assert "out.png is not what this run would give: it is not a picture" in refused(2, *line, "--resume")


def test_who_follows_the_progress_is_told_what_was_lost(
    icnet: Icnet, weights: Path, camvid: Path, tmp_path: Path
) -> None:
    """All that a program reads is JSON but for the error it ends with; the rest of the pictures is written."""
    damaged = camvid / "val" / "val_0.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    words = ("-o", tmp_path / "out", "--weights", weights, "--device", "cpu", "--progress", "json")
    outcome = icnet("segment", camvid / "val", *words)
    *lines, error = outcome.err.splitlines()
    news = [line["news"] for line in map(json.loads, lines) if line["news"]]
    assert (outcome.code, len(news)) == (3, 2)
    assert "val_0.png" in news[0]
    assert news[1].startswith(f"{tmp_path / 'out'}: ")  # the closing line
    assert error.startswith("icnet: ")


def test_eval(icnet: Icnet, weights: Path, camvid: Path) -> None:
    outcome = icnet("eval", camvid, "--weights", weights, "--json", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert {
        "miou", "pixel_accuracy", "mean_accuracy", "per_class", "images", "model_ms", "confusion", "protocol",
    } <= set(outcome.document)  # fmt: skip
    assert {"dataset", "split", "size", "scales", "flip", "ignore_index"} <= set(outcome.document["protocol"])
    assert outcome.document["images"] == 2
    assert "2 images of camvid val" in outcome.err


def test_a_split_that_is_not_there(refused, weights: Path, camvid: Path) -> None:
    assert "test" in refused(3, "eval", camvid, "--weights", weights, "--split", "test")


def test_a_device_that_is_not_there(refused, weights: Path, camvid: Path) -> None:
    refused(6, "eval", camvid, "--weights", weights, "--device", "cuda:99")


def test_weights_that_are_none(refused, camvid: Path) -> None:
    refused(4, "eval", camvid, "--weights", camvid / "val" / "val_0.png")


def test_show_and_path(icnet: Icnet, weights: Path) -> None:
    assert icnet("weights", "show", weights, "--json").document["model"] == "fast-scnn"
    assert "train_size: 64, 96" in icnet("weights", "show", weights).out
    assert icnet("weights", "path", weights) == (0, f"{weights}\n", "")


def test_data_check(icnet: Icnet, camvid: Path) -> None:
    outcome = icnet("data", "check", camvid)
    assert outcome.code == 0, outcome.out
    assert "train 2, val 2" in outcome.out
    assert outcome.err == ""

    (camvid / "valannot" / "val_1.png").unlink()
    outcome = icnet("data", "check", camvid)
    assert outcome.code == 7
    assert "error: val: " in outcome.out
    assert "fix: " in outcome.out
    assert len(outcome.err.splitlines()) == 1
    outcome = icnet("data", "check", camvid, "--json")
    assert outcome.code == 7
    assert outcome.document["errors"] == 1


def test_train(icnet: Icnet, camvid: Path, tmp_path: Path, refused) -> None:
    line = ["train", camvid, "--model", "fast-scnn", "--steps", "1", "--batch", "2", "--accumulate", "1",
            "--crop", "64x96", "--device", "cpu", "-o", tmp_path / "run"]  # fmt: skip
    outcome = icnet(*line, "--json")
    assert outcome.code == 0, outcome.err
    assert {"run_dir", "best_miou", "step", "seconds"} <= set(outcome.document)
    assert outcome.document["step"] == 1
    assert "--resume" in refused(2, *line)
