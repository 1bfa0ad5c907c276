"""Every layer that runs is timed in one stage, once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icnet_cli.benchmark.stages import REST, stage_names, stage_of, stage_rows, timed_stages
from icnet_cli.benchmark.subjects import Subject
from icnet_cli.benchmark.timing import Protocol
from icnet_cli.models import build
from tests.benchmark.conftest import SHORT, SIZE, SMALL, FakeClock

VARIANTS = [
    ("icnet", {}),
    ("icnet", {"branches": "sub4"}),
    ("icnet", {"branches": "sub24", "head": "published"}),
    ("icnet", {"trunk": "deeplabv3"}),
    ("fast-scnn", {}),
    ("pspnet50", {}),
    ("deeplabv3", {}),
]


@pytest.mark.parametrize(("model", "config"), VARIANTS)
def test_every_layer_that_runs_belongs_to_one_stage(model: str, config: dict) -> None:
    with torch.device("meta"):
        network = build(model, {"keep": 0.25, **config}).eval()
    ran: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network.scores(torch.empty(1, 3, *SIZE, device="meta"))
    for layer in ran:
        parts = layer.split(".")
        above = [".".join(parts[: n + 1]) for n in range(len(parts))]
        assert len([name for name in above if stage_of(model, name)]) == 1, layer


@pytest.mark.parametrize("model", ["icnet", "fast-scnn"])
def test_a_row_a_stage_whose_shares_make_the_whole(model: str) -> None:
    rows = stage_rows(Subject(model, {"keep": 0.25}), SIZE, SHORT, device="cpu")
    assert [row["stage"] for row in rows] == stage_names(model)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {row["runs"] for row in rows} == {3}
    assert set(rows[0]) >= {"model", "variant", "resolution", "stage", "ms_p50", "share", "device"}


def test_a_stage_that_does_not_run_has_no_row() -> None:
    rows = stage_rows(Subject("icnet", {"keep": 0.25, "branches": "sub4"}), SIZE, SHORT, device="cpu")
    names = {row["stage"] for row in rows}
    assert "stage 5" in names
    assert not {"high branch", "fusion 1", "fusion 2"} & names


def test_the_time_of_a_stage_is_that_of_its_layers() -> None:
    clock = FakeClock()
    segmenter = SMALL.segmenter("cpu", "auto", SIZE)
    segmenter.ready.ppm.out.register_forward_hook(lambda *_: clock.wait(0.25))  # type: ignore[union-attr, operator]
    with timed_stages(segmenter.ready, "fast-scnn", segmenter.device, clock) as spent:
        segmenter.ready.scores(torch.zeros(1, 3, *SIZE))  # type: ignore[operator]
    assert spent == {**dict.fromkeys(set(stage_names("fast-scnn")) - {REST}, 0), "pyramid": 250}


def test_nothing_stays_hooked() -> None:
    segmenter = SMALL.segmenter("cpu", "auto", SIZE)
    with timed_stages(segmenter.ready, "fast-scnn", segmenter.device, FakeClock()):
        assert any(module._forward_hooks for module in segmenter.ready.modules())
    assert not any(module._forward_hooks for module in segmenter.ready.modules())


def test_the_last_passes_count_and_not_the_warm_up() -> None:
    rows = stage_rows(SMALL, SIZE, Protocol(warmup=4, runs=2, seconds=60), device="cpu")
    assert {row["runs"] for row in rows} == {2}
