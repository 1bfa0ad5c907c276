from __future__ import annotations

import numpy as np
import pytest

from icnet_cli.reports.compare_page import compare_page
from tests.reports.examples import HARM, NAMES, PALETTE, compare_document, picture, versus
from tests.reports.parsed import Page


def read(shots=(), series=(), heat=None, **changes) -> Page:
    return Page(compare_page(compare_document(**changes), PALETTE, shots, series, heat)).check()


def test_the_figures_are_those_of_the_json() -> None:
    page = read()
    assert page.data["report"] == compare_document()
    assert page.texts("strong")[:4] == ["12.3 %", "0.38 x A", "20.0 ms", "8.0 ms"]
    assert page.row("road")[2:5] == ["10.0 %", "60.00 %", "50.00 %"]
    assert page.row("road")[5:] == ["1.0 %", "2.0 %"]
    assert page.row(NAMES[2])[2] == "–"
    assert page.row(f"A road, B {HARM}")[2] == "66.7 %"


def test_a_dataset_has_accuracy_and_who_is_right() -> None:
    truth = {"neither_right": 0.1, "only_a_right": 0.15, "only_b_right": 0.05, "both_right": 0.7}
    sides = {
        key: {**compare_document()[key], "miou": miou, "per_class": dict.fromkeys(NAMES, miou)}
        for key, miou in (("a", 0.61), ("b", 0.52))
    }
    page = read([versus(with_truth=True)], kind="dataset", split="val", truth=truth, **sides)
    assert "0.6100" in page.texts("strong")
    assert page.row("Only A right")[2] == "15.00 %"
    assert page.texts("figcaption").count("Truth") == 1


def test_frames_series_and_heat() -> None:
    share = np.zeros((12, 16), np.float32)
    share[3, 4] = 0.5
    page = read([versus(), versus(seed=3)], [0.1, 0.3, 0.2], (share, picture(0)))
    alts = [one.attributes["alt"] or "" for one in page.all("img")]
    assert "at most in 50.0 % of the pictures" in alts[0]
    assert len(alts) == 1 + 2 * 4
    assert alts[4].startswith("They differ on 12.3 % of the pixels. A road")
    (chart,) = page.all("svg", role="img")
    assert "the largest 1 frames after the first of 3" in (chart.attributes["aria-label"] or "")
    assert "When and where in the picture" in page.texts("h2")


def test_a_dataset_has_no_when() -> None:
    page = read(
        series=[0.1, 0.3], heat=(np.full((12, 16), 0.5, np.float32), picture(0)), kind="dataset", split="val"
    )
    assert "Where in the picture" in page.texts("h2")
    assert not page.all("svg")


@pytest.mark.parametrize("series", [[], [0.5]])
def test_one_frame_makes_no_curve(series) -> None:
    assert not read(series=series).all("svg")


@pytest.mark.parametrize(
    ("a", "b", "title"),
    [
        ("icnet-camvid", "/home/me/pruned.onnx", "A icnet-camvid, B pruned.onnx"),
        ("runs/a/best.safetensors", "runs/b/best.safetensors", "A a/best.safetensors, B b/best.safetensors"),
        ("best.safetensors", "b/best.safetensors", "A best.safetensors, B b/best.safetensors"),
        ("x\\a\\n\\w.onnx", "x\\b\\n\\w.onnx", "A a/n/w.onnx, B b/n/w.onnx"),
        ("a/w.onnx", "a/w.onnx", "A a/w.onnx, B a/w.onnx"),
    ],
)
def test_weights_of_one_name_are_told_apart(a: str, b: str, title: str) -> None:
    sides = {key: {**compare_document()[key], "weights": name} for key, name in (("a", a), ("b", b))}
    assert read(**sides).texts("h1") == [title]
