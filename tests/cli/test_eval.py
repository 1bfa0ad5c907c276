from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import icnet_cli.evaluation.evaluate as evaluation
from icnet_cli.config import EvalConfig
from tests.cli.conftest import Icnet

DOCUMENT: dict[str, Any] = {
    "miou": 0.5,
    "pixel_accuracy": 0.75,
    "mean_accuracy": 0.625,
    "per_class": {"road": 0.5, "sky": None},
    "images": 3,
    "model_ms": 12.345,
    "confusion": [[3, 1], [0, 0]],
    "protocol": {"dataset": "camvid", "split": "val", "size": [352, 480], "scales": [1.0], "flip": False},
    "device": "cpu",
    "precision": "fp32",
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[EvalConfig]]:
    """`evaluate` that reports DOCUMENT with changes; returns the configs it was called with."""

    def put(**changes: Any) -> list[EvalConfig]:
        configs: list[EvalConfig] = []

        def evaluate(config: EvalConfig) -> Iterator[Any]:
            configs.append(config)
            yield SimpleNamespace(done=1, total=3, miou=0.4)
            return SimpleNamespace(to_dict=lambda: DOCUMENT | changes)

        monkeypatch.setattr(evaluation, "evaluate", evaluate)
        return configs

    return put


def test_a_table_on_stdout_and_the_rest_on_stderr(icnet: Icnet, measured) -> None:
    configs = measured()
    outcome = icnet("eval", "d", "--scales", "0.5,1", "--flip", "--progress", "none")
    assert outcome.code == 0
    assert configs[0].scales == (0.5, 1.0)
    assert configs[0].flip
    words = [line.split() for line in outcome.out.splitlines()]
    for row in (["road", "0.5000"], ["sky", "-"], ["mIoU", "0.5000"], ["pixel", "accuracy", "0.7500"]):
        assert row in words
    assert outcome.err == "3 images of camvid val, at 352x480, network 12.3 ms an image on cpu fp32\n"


def test_json_is_the_whole_report(icnet: Icnet, measured) -> None:
    measured()
    outcome = icnet("eval", "d", "--json")
    assert outcome.document == DOCUMENT


def test_it_says_where_the_predictions_are(icnet: Icnet, measured) -> None:
    measured(predictions={"folder": "out", "ids": "dataset"})
    assert "the labels that were found, as PNGs of dataset ids, are in out\n" in icnet("eval", "d").err
    measured()
    assert "PNGs" not in icnet("eval", "d").err


def test_it_says_which_figure_of_the_card_this_is(icnet: Icnet, measured) -> None:
    measured(
        reproduces={"field": "val_of_train_only_run", "card_value": 0.5, "difference": 0.0001},
        images_damaged=2,
        category_miou=0.8,
    )
    outcome = icnet("eval", "d", "--progress", "none")
    assert "val_of_train_only_run" in outcome.err
    assert "2 damaged" in outcome.err
    assert "category mIoU" in outcome.out


def test_branches_and_regions_are_tables_of_their_own(icnet: Icnet, measured) -> None:
    figures = {"miou": 0.25, "pixel_accuracy": None, "model_ms": 7.25, "per_class": {}}
    row = {
        "from": 1,
        "to": 3000,
        "regions": 7,
        "accuracy": {"sub4": 0.25, "sub24": 0.5},
        "change": {"sub24-sub4": 0.25},
    }
    measured(
        branches={"sub4": figures},
        regions={"rows": [row], "larger": 2, "folder": "runs/eval/w-1"},
        differences="maps",
        protocol=DOCUMENT["protocol"] | {"scales": [0.5], "ablation": "skip"},
    )
    outcome = icnet("eval", "d", "--regions", "--branches", "all", "--diff", "maps", "--progress", "none")
    words = [line.split() for line in outcome.out.splitlines()]
    assert ["sub4", "0.2500", "-", "7.2"] in words
    assert ["1", "to", "3000", "7", "0.2500", "0.5000", "+0.2500"] in words
    assert "at 352x480 times 0.5, without skip" in outcome.err
    assert "regions.png in runs/eval/w-1; 2 larger regions are not counted" in outcome.err
    assert "between them in maps" in outcome.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eval d --diff maps", "--diff compares the branches; add --branches all"),
        ("eval d -o out", "-o is for --regions"),
        ("eval d --input-scale 0.3", "--input-scale must be one of 0.25, 0.5, 1, not 0.3"),
        ("eval d --input-scale 2", "--input-scale must be one of 0.25, 0.5, 1, not 2"),
        ("eval d --ablation pyramid", "--ablation must be one of skip"),
    ],
)
def test_what_contradicts_itself_is_refused(
    refused: Callable[..., str], measured, line: str, said: str
) -> None:
    configs = measured()
    assert said in refused(2, *line.split())
    assert not configs
