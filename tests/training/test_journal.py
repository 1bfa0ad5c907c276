"""What a run leaves to be looked at, and that looking changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.config import TrainConfig
from icnet_cli.errors import output_error
from icnet_cli.pixels.files import read_picture
from icnet_cli.training.journal import PICTURES, SIDE, Journal
from icnet_cli.training.prepare import prepare
from icnet_cli.training.trainer import EvalDone, train
from tests.reports.parsed import Page


def test_a_run_has_its_page_at_each_evaluation_and_at_its_end(config: TrainConfig) -> None:
    steps, folder = [], config.output
    assert folder is not None
    for event in train(config):
        if isinstance(event, EvalDone):
            steps.append(event.step)
            page = Page((folder / "report.html").read_text("utf-8")).check()
            assert page.data["report"]["evaluations"][-1]["step"] == event.step
            assert page.data["report"]["best_miou"] >= round(event.miou, 6)
    found = sorted({int(path.name.split("-")[0]) for path in (folder / "samples").glob("[0-9]*.png")})
    assert found == steps
    assert len(steps) >= 2
    page = Page((folder / "report.html").read_text("utf-8")).check()
    numbers = len({path.name.split("-")[1] for path in (folder / "samples").glob("truth-*.png")})
    assert 1 <= numbers <= PICTURES
    assert len(page.all("img")) == numbers * (2 + len(steps))
    environment = json.loads((folder / "environment.json").read_text())
    assert [one["step"] for one in environment] == [0]
    assert environment[0]["torch"] == str(torch.__version__)
    assert max(read_picture(folder / "samples" / "truth-0.png").shape) <= SIDE


def test_looking_changes_nothing(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(replace(config, output=tmp_path / "looked")))
    monkeypatch.setattr(Journal, "sample", lambda *_: None)
    list(train(replace(config, output=tmp_path / "not")))
    a, b = (
        load_weights(tmp_path / name / "last.safetensors").network.state_dict() for name in ("looked", "not")
    )
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_that_goes_back_forgets_what_came_after(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(config))
    folder = config.output
    assert folder is not None
    journal = Journal(prepare(replace(config, output=None, resume=folder)))
    first = min(int(path.name.split("-")[0]) for path in (folder / "samples").glob("[0-9]*.png"))
    monkeypatch.setattr("icnet_cli.training.journal.describe", lambda _: {"cpu": "another"})
    journal.begin(first)
    assert {path.name.split("-")[0] for path in (folder / "samples").glob("*-*.png")} == {"truth", str(first)}
    environment = json.loads((folder / "environment.json").read_text())
    assert [one["step"] for one in environment] == [0, first]
    journal.begin(first)  # the same machine again is no news
    assert len(json.loads((folder / "environment.json").read_text())) == 2
    (folder / "environment.json").write_text("[{")
    journal.begin(first)
    assert json.loads((folder / "environment.json").read_text()) == [{"step": first, "cpu": "another"}]


def test_a_picture_or_page_that_cannot_be_written_ends_no_training(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise output_error(f"cannot write {path}: no space left on device")

    monkeypatch.setattr("icnet_cli.training.journal.write_labels_png", full)
    monkeypatch.setattr("icnet_cli.training.journal.train_page", lambda _: full(Path("report.html")))
    list(train(config))
    assert config.output is not None
    assert (config.output / "last.safetensors").exists()
    assert not (config.output / "report.html").exists()
