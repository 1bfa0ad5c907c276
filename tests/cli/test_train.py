from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import icnet_cli.training.trainer as trainer
from icnet_cli.cli.progress import phrase
from icnet_cli.cli.train import Narrator
from icnet_cli.config import TrainConfig
from icnet_cli.training.events import EvalDone, Notice, StepDone
from icnet_cli.training.trainer import TrainReport
from tests.cli.conftest import Icnet

REPORT = TrainReport(Path("runs/train/icnet-1"), 0.5, 20, 61.0)


def step(number: int, loss: float = 1.0) -> StepDone:
    return StepDone(number, 1, number / 20, loss, 0.01, 8.0, number * 2.0)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    configs: list[TrainConfig] = []

    def train(config: TrainConfig) -> Iterator[Any]:
        configs.append(config)
        yield step(10)
        yield EvalDone(10, 1, 0.5, 0.9, best=True)
        yield REPORT

    monkeypatch.setattr(trainer, "train", train)
    return configs


def test_the_run_folder_on_stdout(icnet: Icnet, trained: list[TrainConfig]) -> None:
    outcome = icnet("train", "d", "--time-budget", "90m", "--progress", "plain")
    assert outcome.code == 0
    assert trained[0].time_budget_s == 5400
    assert outcome.out == "runs/train/icnet-1\n"
    assert "step 10: mIoU 0.5000, pixel accuracy 0.9000, the best so far" in outcome.err
    assert outcome.err.endswith("20 steps in 1:01, best mIoU 0.5000\n")


def test_a_resumed_run_passes_over_what_is_set_for_all_runs(
    icnet: Icnet, trained: list[TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network and recipe are as they were begun: what is typed is held against them, and reaches the run."""
    told = {"model": "icnet", "keep": "0.5", "recipe": "folder", "pretrained": "icnet-camvid"}
    for name, value in told.items():
        monkeypatch.setenv(f"ICNET_{name.upper()}", value)
    icnet("train", "d")
    icnet("train", "d", "--resume", "r", "--keep", "0.25")
    (begun, resumed) = ([getattr(config, name) for name in told] for config in trained)
    assert begun == ["icnet", 0.5, "folder", "icnet-camvid"]
    assert resumed == [None, 0.25, None, None]


def test_what_was_left_out_is_told(icnet: Icnet, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: TrainConfig) -> Iterator[Any]:
        yield Notice("2 damaged pairs are left out")
        yield step(10)
        yield replace(REPORT, damaged=2)

    monkeypatch.setattr(trainer, "train", train)
    outcome = icnet("train", "d", "--progress", "plain")
    assert outcome.err.startswith("2 damaged pairs are left out\n")  # without steps: there is none yet
    assert outcome.err.endswith("\n2 damaged pairs were left out\n")
    assert icnet("train", "d", "--json").document["images_damaged"] == 2


def test_who_follows_the_progress_is_told_of_notices_and_evaluations(
    icnet: Icnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: TrainConfig) -> Iterator[Any]:
        yield Notice("2 damaged pairs are left out")
        yield EvalDone(10, 1, 0.5, 0.9, best=True)
        yield replace(REPORT, damaged=2)

    monkeypatch.setattr(trainer, "train", train)
    lines = [json.loads(line) for line in icnet("train", "d", "--progress", "json").err.splitlines()]
    evaluation = "step 10: mIoU 0.5000, pixel accuracy 0.9000, the best so far"
    closing = ["20 steps in 1:01, best mIoU 0.5000", "2 damaged pairs were left out"]
    assert [line["news"] for line in lines] == ["2 damaged pairs are left out", evaluation, *closing]


def test_json_has_the_documented_keys(icnet: Icnet, trained: list[TrainConfig]) -> None:
    document = icnet("train", "d", "--json").document
    assert {"run_dir", "best_miou", "step", "seconds"} <= set(document)


def test_the_display_shows_what_matters() -> None:
    narrator = Narrator()
    narrator.status(EvalDone(1, 0, 0.25, 0.5, best=False))
    status = narrator.status(step(10, 0.5))
    assert status is not None
    assert phrase(status) == "10 steps (50%), 8.0 images/s, 0:20 left, epoch 1, loss 0.5, mIoU 0.25, lr 0.01"
    assert narrator.status(REPORT) is None
    notice = narrator.status(Notice("a teacher is gone"))
    assert notice is not None
    assert (notice.done, notice.share) == (10, 0.5)  # the bar stays where it is
    assert notice.news == "a teacher is gone"


def test_a_loss_that_is_not_finite_is_shown_and_forgotten() -> None:
    narrator = Narrator()
    narrator.status(step(1, 0.5))
    for bad in (math.nan, math.inf):
        status = narrator.status(step(2, bad))
        assert status is not None
        assert not math.isfinite(status.notes["loss"])
    status = narrator.status(step(3, 0.5))
    assert status is not None
    assert status.notes["loss"] == pytest.approx(0.5)


def test_an_events_namesakes_are_not_mistaken() -> None:
    assert Narrator().status(SimpleNamespace()) is None
