"""Exported files through the pipeline of `segment` and of `eval`'s predictor, whatever they were exported with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.cli.app import run
from icnet_cli.evaluation.predict import Predictor
from icnet_cli.export.agreement import street_frame
from icnet_cli.inference.segmenter import load
from icnet_cli.pixels.cv import cv2
from tests.tiny_camvid import write_camvid

from .test_export import SIZE, exported, weights_of

FORMS = [
    ("onnx", {"with_argmax": True}, 0.999),
    *(
        pytest.param(*form, marks=pytest.mark.slow)
        for form in (
            ("onnx", {"dynamic": True}, 0.999),
            ("onnx", {"raw": True, "dynamic": True, "with_argmax": True}, 0.999),
            ("onnx", {"raw": True}, 0.999),
            # A random network's classes are all but tied everywhere.
            ("onnx", {"fp16": True, "min_agreement": 0.9}, 0.9),
            ("openvino", {"dynamic": True, "with_argmax": True}, 0.999),
            ("openvino", {"raw": True}, 0.999),
            ("openvino", {"fp16": True, "min_agreement": 0.9}, 0.9),
        )
    ),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of(tmp_path_factory.mktemp("weights"), "fast-scnn")


@pytest.mark.parametrize(("to", "options", "least"), FORMS)
def test_its_labels_are_the_networks(
    tmp_path: Path, weights: Path, to: str, options: dict[str, Any], least: float
) -> None:
    _, output = exported(weights, to, tmp_path, **options)
    other = load(output, "cpu")
    plain = load(weights, "cpu", size=SIZE)
    frame = street_frame(*SIZE, seed=5)
    assert (other.labels(frame) == plain.labels(frame)).mean() >= least
    assert (Predictor(other).labels(frame) == plain.labels(frame)).mean() >= least
    assert other.labels(street_frame(200, 300)).shape == (200, 300)


@pytest.mark.slow
def test_int8(tmp_path: Path, weights: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), street_frame(*SIZE, seed=seed))
    _, output = exported(weights, "onnx", tmp_path, int8=True, calibrate=folder)
    segmenter = load(output, "cpu")
    assert segmenter.precision == "int8"
    assert segmenter.labels(street_frame(*SIZE)).shape == SIZE


def test_the_command_takes_one(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, output = exported(weights, "onnx", tmp_path, with_argmax=True)
    cv2.imwrite("in.png", street_frame(120, 200))
    command = ["segment", "in.png", "-o", "out.png", "--view", "labels", "--weights", str(output), "--json"]
    assert run(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["backend"], report["precision"], report["size"]) == ("onnx", "fp32", list(SIZE))
    assert np.asarray(cv2.imread("out.png", cv2.IMREAD_UNCHANGED)).shape == (120, 200)
    assert run([*command, "--size", "64x64", "-y"]) == 2
    assert run([*command, "--backend", "openvino", "-y"]) == 2
    assert "run by onnx" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"dynamic": True, "raw": True}, {"with_argmax": True}])
def test_eval_and_compare_take_one(
    tmp_path: Path,
    weights: Path,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The figures are the network's own, by whichever the file gives: scores, or labels."""
    monkeypatch.chdir(tmp_path)
    _, output = exported(weights, "onnx", tmp_path, **options)
    dataset = str(write_camvid(tmp_path / "camvid", 1))

    def told(*arguments: object) -> dict[str, Any]:
        assert run([*map(str, arguments), "--json", "--progress", "none", "--device", "cpu"]) == 0
        return json.loads(capsys.readouterr().out)

    size = "{}x{}".format(*SIZE)
    page = ("--report", "page", "--predictions", "labels")
    measured = told("eval", dataset, "--weights", output, *page)
    plain = told("eval", dataset, "--weights", weights, "--size", size)
    assert (measured["backend"], measured["images"]) == ("onnx", 2)
    found = (
        measured if not options.get("dynamic") else told("eval", dataset, "--weights", output, "--size", size)
    )
    if "with_argmax" not in options:  # those labels are picked at the picture's size, not interpolated scores
        assert np.abs(np.subtract(found["confusion"], plain["confusion"])).sum() < 0.01 * np.sum(
            plain["confusion"]
        )
    assert (tmp_path / "page" / "index.html").is_file()
    assert len(list((tmp_path / "labels").rglob("*.png"))) == 2
    document = told("compare", weights, output, dataset, "--size", size)
    assert [document[side]["backend"] for side in "ab"] == ["torch", "onnx"]
    assert document["disagreement"] < (0.5 if "with_argmax" in options else 0.01)
    for wrong in (["--branches", "sub4"], ["--backend", "openvino"], ["--size", "64x64"]):
        if wrong[0] != "--size" or not options.get("dynamic"):
            assert run(["eval", dataset, "--weights", str(output), *wrong]) == 2
