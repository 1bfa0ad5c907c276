from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import icnet_cli.pruning.prune as pruning
from icnet_cli.cli.progress import phrase
from icnet_cli.cli.prune import PruneNarrator, closing_lines
from icnet_cli.config import PruneConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pruning.events import Tuning, Working
from icnet_cli.pruning.state import PruneReport, Row
from icnet_cli.training.trainer import EvalDone, StepDone
from tests.cli.conftest import Icnet


def report(rolled_back: bool) -> PruneReport:
    rows = [
        Row(0.75, 15.1, 25.0, 90.5, 0.70, 0.41, 0.69),
        Row(0.5, 6.7, 11.7, 52.0, 0.69, 0.35, 0.66, held=not rolled_back),
    ]
    start = Row(1.0, 26.7, 44.0, 150.0, miou_before=0.70)
    folder = Path("runs/prune/icnet-1")
    return PruneReport(
        start, rows, folder / "pruned.safetensors", folder, "icnet", (544, 736), "cpu", "fp32", rolled_back
    )


@pytest.fixture
def pruned(monkeypatch: pytest.MonkeyPatch) -> list[PruneConfig]:
    configs: list[PruneConfig] = []

    def prune(config: PruneConfig) -> Iterator[Any]:
        configs.append(config)
        yield Working("step 1", 1, 1, news="step 1: cut to 0.75")
        yield Tuning(1, 2, EvalDone(10, 1, 0.69, 0.9, best=True))
        return report(rolled_back=config.max_drop is not None)

    monkeypatch.setattr(pruning, "prune", prune)
    return configs


def test_the_table_is_the_result(icnet: Icnet, pruned: list[PruneConfig]) -> None:
    outcome = icnet("prune", "w", "--data", "d", "--keep", "0.5", "--progressive", "--progress", "plain")
    assert outcome.code == 0
    assert (pruned[0].weights, pruned[0].data, pruned[0].keep) == ("w", Path("d"), 0.5)
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["0.5", "6.70", "11.7", "52.00", "0.6900", "0.3500", "0.6600"] in rows
    assert ["1", "26.70", "44.0", "150.00", "0.7000", "parent"] in rows
    assert "step 1: cut to 0.75" in outcome.err
    assert "cut 1/2, step 10: mIoU 0.6900" in outcome.err
    assert "runs/prune/icnet-1/pruned.safetensors" in outcome.err


@pytest.mark.parametrize(("measured", "words"), [(True, "table and plot in"), (False, "; table in")])
def test_a_plot_is_told_of_where_there_is_one(measured: bool, words: str) -> None:
    document = report(rolled_back=False).to_dict()
    if not measured:
        nothing = dict.fromkeys(("miou_before", "miou_pruned", "miou_tuned"))
        document |= {
            "start": document["start"] | nothing,
            "steps": [row | nothing for row in document["steps"]],
        }
    assert words in closing_lines(document, None)[-1]


def test_a_step_that_was_taken_back_is_told(icnet: Icnet, pruned: list[PruneConfig]) -> None:
    outcome = icnet("prune", "--keep", "0.5", "--max-drop", "1")
    assert pruned[0].weights is None
    assert "taken back" in outcome.out
    assert "more than --max-drop 1 points" in outcome.err


def test_json_has_the_documented_keys(icnet: Icnet, pruned: list[PruneConfig]) -> None:
    document = icnet("prune", "w", "--keep", "0.5", "--json").document
    assert {"steps", "output"} <= set(document)
    keys = {"keep", "params_m", "gflops", "miou_before", "miou_pruned", "miou_tuned"}
    assert all(keys <= set(row) for row in document["steps"])


@pytest.mark.parametrize(
    "line",
    [
        "prune w --keep 0",
        "prune w --keep 1.5",
        "prune w",
        "prune w --keep 0.5 --target-ms 8",
        "prune w --keep 0.5 --one-shot --steps 3",
        "prune --keep 0.5 --resume r",
    ],
)
def test_what_is_wrong_is_seen_before_work_begins(
    refused: Callable[..., str], line: str, pruned: list[PruneConfig]
) -> None:
    refused(2, *line.split())
    assert not pruned


def test_what_is_set_for_all_runs_is_passed_over_by_one_that_goes_on(
    icnet: Icnet, pruned: list[PruneConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LR", "0.1"), ("KEEP", "0.5"), ("STEPS", "3"), ("DEVICE", "cpu")):
        monkeypatch.setenv(f"ICNET_{name}", value)
    assert icnet("prune", "--resume", "r").code == 0
    assert pruned == [PruneConfig(resume=Path("r"), device="cpu")]


@pytest.mark.parametrize(("error", "told"), [
    (KeyboardInterrupt(), True), (OSError(errno.ENOSPC, "No space left on device", "x"), True),
    (IcnetError("x could not be written", ExitCode.OUTPUT), True),
    (IcnetError("interrupted in step 1", ExitCode.INTERRUPTED), False),  # says so itself
])  # fmt: skip
def test_whatever_stops_a_run_its_last_line_says_how_to_go_on(
    icnet: Icnet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, told: bool
) -> None:
    def prune(config: PruneConfig) -> Iterator[Any]:
        yield Working("the parent", 0, 1, run_dir=tmp_path)
        yield Working("recalibrating", 1, 9, "batches")
        raise error

    monkeypatch.setattr(pruning, "prune", prune)
    last = icnet("prune", "w", "--keep", "0.5", "--progress", "none").err.splitlines()[-1]
    assert last.endswith(f"; go on with icnet prune --resume {tmp_path}") is told


def test_an_option_that_cannot_be_read_is_not_called_missing(
    refused: Callable[..., str], pruned: list[PruneConfig]
) -> None:
    assert "give --keep" not in refused(2, "prune", "w", "--keep", "half")
    both = refused(2, "prune", "w", "--keep", "half", "--max-drop", "-1")
    assert "--keep must be a number" in both
    assert "--max-drop must be at least 0" in both
    assert "give --keep" in refused(2, "prune", "w", "--max-drop", "1")


def test_the_display_names_the_step() -> None:
    narrator = PruneNarrator()
    status = narrator.status(Working("recalibrating", 3, 9, "batches"))
    assert status is not None
    assert phrase(status) == "3/9 batches, now recalibrating"
    status = narrator.status(Tuning(2, 3, StepDone(10, 1, 0.5, 0.5, 0.01, 8.0, 20.0)))
    assert status is not None
    assert phrase(status).endswith("cut 2/3, epoch 1, loss 0.5, lr 0.01")
    assert narrator.status(report(rolled_back=False)) is None
