"""Documents as tables of words, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icnet_cli.benchmark.plot import CARD, HERE, MIXED, PAPERS, plot_rows, points
from icnet_cli.benchmark.published import find_table
from icnet_cli.benchmark.text import Sheet, sheet_of
from icnet_cli.cli.bench import parts
from icnet_cli.pixels.cv import cv2

ENVIRONMENT = {"threads": 2, "cpu": "Abacus", "torch": "2", "system": "Linux", "gpu": None, "cuda": None}
ROW: dict[str, Any] = {
    "model": "icnet", "variant": "keep 0.5", "resolution": [1024, 2048], "device": "cpu", "precision": "fp32",
    "backend": "torch", "batch": 1, "runs": 3, "warmup": 1, "ms_p50": 400.0, "ms_p95": 410.0, "ms_p99": 420.0,
    "model_fps": 2.5, "params_m": 6.7, "gflops": 46.7, "peak_memory_mb": None, "accuracy": None,
    "published": {"miou": 67.7, "ms": 33.0, "fps": 30.3, "hardware": "TitanX"},
}  # fmt: skip


def networks(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "networks", "rows": list(rows), "environment": ENVIRONMENT}


def cells(sheet: Sheet, row: int = 0) -> dict[str, str]:
    return dict(zip(sheet.columns, sheet.rows[row], strict=True))


def test_ours_and_the_papers_stand_in_one_row() -> None:
    shown = cells(sheet_of(networks(ROW)))
    assert shown["size"] == "1024x2048"
    assert shown["runs"] == "3 after 1"
    assert (shown["ms p50"], shown["p95"], shown["p99"], shown["model fps"]) == (
        "400.00",
        "410.00",
        "420.00",
        "2.5",
    )
    assert (shown["params M"], shown["GFLOPs"]) == ("6.70", "46.7")
    assert (shown["paper mIoU"], shown["paper ms"], shown["paper fps"]) == ("67.7", "33", "30.3")
    assert shown["paper's card"] == "TitanX"


def test_what_nobody_knows_is_left_out_and_what_some_know_is_a_dash() -> None:
    sheet = sheet_of(networks(ROW, ROW | {"published": None, "batch": 4}))
    assert "memory MB" not in sheet.columns
    assert cells(sheet, 1)["paper fps"] == "-"
    assert [cells(sheet, row)["batch"] for row in (0, 1)] == ["-", "4"]


def test_figures_that_were_worked_out_are_in_brackets() -> None:
    published = {"miou": 68.0, "fps": 123.5, "ms": 8.097, "hardware": "Xp", "derived": ["ms"]}
    sheet = sheet_of(networks(ROW | {"published": published}))
    assert cells(sheet)["paper ms"] == "(8.097)"
    assert cells(sheet)["paper fps"] == "123.5"
    assert any("brackets" in note for note in sheet.notes)
    assert not any("brackets" in note for note in sheet_of(networks(ROW)).notes)


def test_no_time_is_written_with_an_exponent() -> None:
    """The supplement has a method of 26.7 seconds."""
    slow = {**ROW, "published": {"miou": 81.2, "ms": 26700.0, "fps": 0.04, "hardware": "TitanX"}}
    shown = cells(sheet_of(networks(slow)))
    assert (shown["paper ms"], shown["paper fps"]) == ("26700", "0.04")


def test_the_machine_is_named() -> None:
    assert sheet_of(networks(ROW)).notes[0] == "Measured on 2 threads of Abacus, torch 2, Linux."


def test_markdown() -> None:
    text = Sheet(("a", "b"), (("x|y", "1"),), "T", ("note",)).markdown()
    assert text.splitlines() == ["**T**", "", "| a | b |", "| --- | ---: |", "| x\\|y | 1 |", "", "note"]


def test_a_papers_table_has_both_speedups() -> None:
    table = find_table("icnet-ablation")
    about = {name: getattr(table, name) for name in ("name", "title", "source", "where", "dataset", "note")}
    ours = {"name": "sub4", "speedup": 8.0, "speedup_published": 9.4, "miou": 0.59, **ROW}
    other = {"name": "other", "published": {"miou": 50.0}}
    sheet = sheet_of({"kind": "table", "table": about, "rows": [ours, other], "environment": ENVIRONMENT})
    assert "tables 3 and 4" in sheet.title
    assert (cells(sheet)["paper's speed-up"], cells(sheet)["speed-up here"]) == ("9.4", "8.0")
    assert cells(sheet)["mIoU"] == "59.0"
    assert cells(sheet, 1)["ms"] == "-"


def test_a_table_of_others_says_nothing_of_this_machine() -> None:
    document = {"kind": "table", "table": dict.fromkeys(("title", "source", "where", "dataset", "note")),
                "rows": [{"name": "other", "published": {"miou": 50.0}}], "environment": ENVIRONMENT}  # fmt: skip
    sheet = sheet_of(document)
    assert sheet.columns == ("row", "paper mIoU")
    assert sheet.notes == ()


def test_stages_stand_down_and_sizes_across() -> None:
    one = {"model": "icnet", "variant": "v", "runs": 3, "share": 0.5}
    rows = [one | {"stage": s, "resolution": r, "ms_p50": ms}
            for s, r, ms in (("a", [64, 64], 4.0), ("b", [64, 64], 4.0), ("a", [32, 32], 1.0))]  # fmt: skip
    sheet = sheet_of({"kind": "stages", "rows": rows, "environment": ENVIRONMENT})
    assert sheet.columns == ("stage", "ms at 64x64", "share %", "ms at 32x32", "share %")
    assert sheet.rows == (
        ("icnet: a", "4.00", "50.0", "1.00", "50.0"),
        ("icnet: b", "4.00", "50.0", "-", "-"),
    )


def test_a_wide_table_is_cut_into_parts_that_fit() -> None:
    sheet = Sheet(("name", "aaaaaaaa", "bbbbbbbb", "cccccccc"), (("row", "1", "2", "3"),), "T")
    found = parts(sheet, 30)
    assert [part.columns for part in found] == [("name", "aaaaaaaa", "bbbbbbbb"), ("name", "cccccccc")]
    assert [part.rows for part in found] == [(("row", "1", "2"),), (("row", "3"),)]
    assert [part.title for part in found] == ["T", ""]
    assert parts(sheet, 300) == [sheet]
    assert len(parts(sheet, 1)) == 3


def test_a_cards_accuracy_is_told_as_the_cards() -> None:
    accuracy = {"miou": 0.6, "dataset": "camvid", "split": "val", "size": [544, 736]}
    sheet = sheet_of(networks(ROW | {"accuracy": accuracy}, ROW | {"accuracy": accuracy}, ROW))
    assert cells(sheet)["card's mIoU"] == "60.0"
    words = "The card's mIoU is of camvid val at 544x736, and was not measured here."
    assert sheet.notes.count(words) == 1
    assert not any("card's" in note for note in sheet_of(networks(ROW)).notes)


def test_points_of_a_plot() -> None:
    known = ROW | {"accuracy": {"miou": 0.6}}
    measured = known | {"miou": 0.5}
    nobody = ROW | {"model": "x", "published": None}
    found = points(networks(ROW, known, measured, nobody))
    ours = [(point.name, point.x, point.y, point.group) for point in found if point.group != PAPERS]
    assert ours == [("icnet", 2.5, 67.7, MIXED), ("icnet", 2.5, 60.0, CARD), ("icnet", 2.5, 50.0, HERE)]
    assert ("ICNet", 30.3, 69.5, PAPERS) in found
    assert ("Fast-SCNN cls, Xp", 123.5, 68.0, PAPERS) in found


def test_the_plot_is_written_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    assert plot_rows(networks(ROW, ROW | {"model": "x", "published": None}), path) == ["x"]
    assert cv2.imread(str(path)).shape[1] > 400


@pytest.mark.parametrize("kind", ["video", "compare"])
def test_the_other_kinds(kind: str) -> None:
    about = {"only_a": ["gone"], "only_b": [], "environment_a": ENVIRONMENT, "environment_b": None}
    video = {"frames": 3, "size": [32, 64], "model": "icnet", "variant": "random weights", "end_to_end_fps": 5.0,
             "model_fps": 9.0, "sequential_fps": 4.0, "overlap": 1.25, "advice": "Do."}  # fmt: skip
    row = {"stage": "decode", "ms_p50": 1.0, "ms_a": 2.0, "ms_b": 1.0, "speedup": 2.0}
    sheet = sheet_of({"kind": kind, "rows": [row], "environment": ENVIRONMENT, **about, **video})
    said = " ".join(sheet.notes)
    assert sheet.rows[0][0] == "decode"
    for word in {"video": ("overlap 1.25", "Do.", "noise"), "compare": ("Only in A: gone", "Abacus")}[kind]:
        assert word in said
