"""`icnet eval --report`, from a dataset on the disk to the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icnet_cli.config import EvalConfig
from icnet_cli.errors import ExitCode, IcnetError, output_error
from icnet_cli.evaluation.evaluate import evaluate
from icnet_cli.evaluation.page import PageNotWrittenError
from icnet_cli.evaluation.report import EvalReport
from tests.reports.parsed import Page


def measure(config: EvalConfig) -> EvalReport:
    events = evaluate(config)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            return stop.value


@pytest.fixture
def config(camvid: Path, make_weights, tmp_path: Path) -> EvalConfig:
    return EvalConfig(camvid, weights=str(make_weights()), device="cpu", report=tmp_path / "page")


def test_the_page_holds_the_reports_own_figures(config: EvalConfig) -> None:
    document = measure(config).to_dict()
    assert os.listdir(config.report) == ["index.html"]
    assert document["report"] == str(config.report / "index.html")
    page = Page(Path(document["report"]).read_text("utf-8")).check()
    assert page.data["report"] == document
    assert page.texts("strong")[0] == f"{document['miou']:.4f}"
    for name, iou in document["per_class"].items():
        assert page.row(name)[2] == ("–" if iou is None else f"{iou:.4f}")
    assert sum(row["regions"] for row in document["regions"]["rows"]) == document["regions"]["regions"] > 0


def test_the_worst_frames_are_in_the_report_and_on_the_page_in_order(config: EvalConfig) -> None:
    document = measure(config).to_dict()
    worst = document["worst_frames"]
    assert sorted(row["name"] for row in worst) == ["frame_0", "frame_1", "frame_2"]
    assert [row["wrong"] for row in worst] == sorted((row["wrong"] for row in worst), reverse=True)
    page = Page(Path(document["report"]).read_text("utf-8"))
    assert [text for text in page.texts("h3") if "frame_" in text] == [
        f"{number}. {row['name']}" for number, row in enumerate(worst, start=1)
    ]


def test_a_file_named_like_a_script_is_text(config: EvalConfig, camvid: Path) -> None:
    harm = "<script>alert(1)<∕script>"  # a name cannot hold a plain slash
    for folder in ("val", "valannot"):
        (camvid / folder / "frame_1.png").rename(camvid / folder / f"{harm}.png")
    page = Page(Path(measure(config).to_dict()["report"]).read_text("utf-8")).check()
    assert any(harm in text for text in page.texts("h3"))
    assert "<script>alert" not in page.source


def test_a_folder_with_something_in_it_is_refused_before_any_work(config: EvalConfig) -> None:
    config.report.mkdir()
    (config.report / "mine.txt").write_text("x")
    with pytest.raises(IcnetError, match=r"--report .* is not empty.*-y") as refused:
        next(evaluate(config))
    assert refused.value.code == ExitCode.USAGE
    assert os.listdir(config.report) == ["mine.txt"]


def test_with_overwrite_the_page_is_put_in_and_the_rest_stays(config: EvalConfig) -> None:
    config.report.mkdir()
    (config.report / "mine.txt").write_text("x")
    (config.report / "index.html").write_text("old")
    measure(EvalConfig(**{**vars(config), "overwrite": True}))
    assert sorted(os.listdir(config.report)) == ["index.html", "mine.txt"]
    assert (config.report / "index.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_an_evaluation_that_fails_leaves_no_half_page(config: EvalConfig, camvid: Path) -> None:
    config.report.mkdir()
    events = evaluate(config)
    next(events)
    (camvid / "val" / "frame_2.png").unlink()
    with pytest.raises(IcnetError):
        list(events)
    assert os.listdir(config.report) == []


def test_a_page_that_cannot_be_written_does_not_take_the_figures_with_it(
    config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise output_error(f"cannot write {path}: no space left on device")

    monkeypatch.setattr("icnet_cli.evaluation.page.write_atomically", full)
    with pytest.raises(PageNotWrittenError, match="no space left") as failed:
        measure(config)
    assert failed.value.code == ExitCode.OUTPUT
    assert failed.value.report["miou"] is not None
    assert "report" not in failed.value.report


def test_without_the_option_nothing_is_added(camvid: Path, make_weights) -> None:
    document = measure(EvalConfig(camvid, weights=str(make_weights()), device="cpu")).to_dict()
    assert not {"report", "worst_frames", "regions"} & set(document)
