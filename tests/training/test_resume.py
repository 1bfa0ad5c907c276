"""A run that was stopped and resumed is the run that never stopped, byte for byte on a CPU."""

from __future__ import annotations

import csv
import filecmp
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_cli.checkpoints.format import load_weights, save_weights
from icnet_cli.checkpoints.state import load_state
from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training.prepare import prepare
from icnet_cli.training.resumed import find_run
from icnet_cli.training.trainer import StepDone, Trainer, train
from tests.data import make
from tests.tiny_camvid import write_recipe

# Four epochs of three batches. The stage changes inside the second, and an epoch that is begun is finished as it began.
RECIPE: dict[str, Any] = {
    "model": {"fast-scnn": {"dropout": 0.2}},
    "steps": None,
    "epochs": 4,
    "crop_size": [32, 32],
    "optimizer": {"name": "adamw", "lr": 0.02, "clip_norm": 1.0},
    "schedule": {"name": "cosine", "warmup": 0.2},
    "loss": {"main_stride": 4, "class_weights": "log"},
    "augment": {"flip": True, "rotation_deg": 5, "brightness": 0.2, "contrast": 0.2},
    "stages": [
        {"until": 0.4, "crop_size": [32, 32], "scale_range": [0.6, 1.2]},
        {"until": 1.0, "crop_size": [48, 32], "scale_range": [0.8, 1.6]},
    ],
    "evaluations": 3,
}
BATCHES = 12
TIMING = ("images_per_s", "seconds")


@pytest.fixture
def tiny(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr("icnet_cli.training.metrics.EVERY", 1)
    return replace(config, recipe=str(write_recipe(tmp_path, **RECIPE)), keep=0.125)


def stop_after(batches: int, config: TrainConfig) -> None:
    """Train until a SIGTERM that comes once `batches` batches are done."""
    done = (event for event in Trainer(prepare(config)).events() if isinstance(event, StepDone))

    def to_the_end() -> None:
        for number, _ in enumerate(done, start=1):
            if number == batches:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(IcnetError, match="--resume") as caught:
        to_the_end()
    assert caught.value.code is ExitCode.TERMINATED


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, whatever they are made of."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_equal(whole: Path, part: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        assert filecmp.cmp(whole / name, part / name, shallow=False), name
    assert rows(whole) == rows(part)
    states = [load_state(folder) for folder in (whole, part)]
    for state in states:
        state.pop("seconds")
    assert same(*states)


@pytest.mark.parametrize(("workers", "accumulate"), [(0, 1), (2, 2)])
def test_stopped_at_any_step_and_resumed(
    tiny: TrainConfig, tmp_path: Path, workers: int, accumulate: int
) -> None:
    """Ten places, the last batch of an epoch and the middle of an accumulated step among them."""
    config = replace(tiny, workers=workers, accumulate=accumulate)
    list(train(replace(config, output=tmp_path / "whole")))
    assert len(rows(tmp_path / "whole")) > BATCHES / accumulate
    for stop in range(1, 11):
        part = tmp_path / f"part-{stop}"
        stop_after(stop, replace(config, output=part))
        list(train(replace(tiny, output=None, resume=part, workers=workers)))
        assert_equal(tmp_path / "whole", part)


def test_stopped_before_its_first_checkpoint_it_begins_again(tiny: TrainConfig, tmp_path: Path) -> None:
    """From the weights that it was begun with; memory that runs out in the first step is such a stop."""
    list(train(replace(tiny, output=tmp_path / "first", epochs=1)))
    start = replace(tiny, pretrained=str(tmp_path / "first" / "last.safetensors"))
    list(train(replace(start, output=tmp_path / "whole")))
    part = tmp_path / "part"
    prepare(replace(start, output=part))
    (part / "metrics.csv").write_text("step,epoch,loss\n1,0,5.0\n")  # of steps that no checkpoint holds
    list(train(replace(tiny, output=None, resume=part)))
    assert_equal(tmp_path / "whole", part)
    scratch = tmp_path / "scratch"
    list(train(replace(tiny, output=scratch)))
    assert (scratch / "last.safetensors").read_bytes() != (part / "last.safetensors").read_bytes()


@pytest.mark.parametrize("evaluation", [0, 2])
def test_a_signal_breaks_an_evaluation_off(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: int
) -> None:
    """It is made when the run goes on, at the step where it was due; the last of all too."""
    list(train(replace(tiny, output=tmp_path / "whole")))
    part = tmp_path / "part"
    trainer = Trainer(prepare(replace(tiny, output=part)))
    assert trainer.run.val is not None
    val, reads = trainer.run.val, []
    read = val.read

    def stopping(index: int) -> Any:
        if len(reads) == evaluation * len(val):
            os.kill(os.getpid(), signal.SIGTERM)
        reads.append(index)
        return read(index)

    monkeypatch.setattr(val, "read", stopping)
    trainer.journal = None  # which reads, too
    with pytest.raises(IcnetError, match="terminated at step") as caught:
        list(trainer.events())
    assert caught.value.code is ExitCode.TERMINATED
    assert len(reads) == evaluation * len(val) + 1  # not the rest of them
    list(train(replace(tiny, output=None, resume=part)))
    assert_equal(tmp_path / "whole", part)


def test_another_draw_would_be_seen(tiny: TrainConfig, tmp_path: Path) -> None:
    """The failing twin: one that goes on as another seed would differs in weights and record."""
    list(train(replace(tiny, output=tmp_path / "whole")))
    part = tmp_path / "part"
    stop_after(5, replace(tiny, output=part))
    list(train(replace(tiny, output=None, resume=part, seed=1)))
    with pytest.raises(AssertionError):
        assert_equal(tmp_path / "whole", part)


def test_stopped_twice(tiny: TrainConfig, tmp_path: Path) -> None:
    list(train(replace(tiny, output=tmp_path / "whole")))
    part = tmp_path / "part"
    stop_after(4, replace(tiny, output=part))
    stop_after(3, replace(tiny, output=None, resume=part))
    list(train(replace(tiny, output=None, resume=part)))
    assert_equal(tmp_path / "whole", part)


@pytest.mark.parametrize(("measured", "kept"), [(0.99, True), (0.0, False)])
def test_better_weights_than_the_checkpoint_knows_of_are_kept(
    tiny: TrainConfig, tmp_path: Path, measured: float, kept: bool
) -> None:
    """They were written after it, and the run died; told other options, it may not come to them again."""
    stop_after(9, replace(tiny, output=tmp_path / "part"))
    best = tmp_path / "part" / "best.safetensors"
    loaded = load_weights(best)
    save_weights(best, loaded.network, replace(loaded.meta, card=loaded.meta.card | {"best_miou": measured}))
    before = best.read_bytes()
    list(train(replace(tiny, output=None, resume=tmp_path / "part", lr=0.03)))
    assert (best.read_bytes() == before) == kept
    assert (load_weights(best).meta.card["best_miou"] == measured) == kept


def test_on_the_device_too(tiny: TrainConfig, tmp_path: Path) -> None:
    config = replace(tiny, cache="device")
    list(train(replace(config, output=tmp_path / "whole")))
    stop_after(5, replace(config, output=tmp_path / "part"))
    list(train(replace(config, output=None, resume=tmp_path / "part")))
    assert_equal(tmp_path / "whole", tmp_path / "part")


def test_a_resumed_run_keeps_what_its_command_said(tiny: TrainConfig, tmp_path: Path) -> None:
    part = tmp_path / "part"
    prepare(replace(tiny, output=part, seed=7, lr=0.005, batch=3, accumulate=2, time_budget_s=50.0))
    again = prepare(replace(tiny, output=None, resume=part))
    assert (again.config.seed, again.lr, again.batch, again.accumulate) == (7, 0.005, 3, 2)
    assert again.config.time_budget_s == 50
    # What is said anew holds: how a run goes on after it ran out of memory.
    halved = prepare(replace(tiny, output=None, resume=part, batch=2, accumulate=3, time_budget_s=90.0))
    assert (halved.batch, halved.accumulate, halved.config.time_budget_s) == (2, 3, 90)
    # Until it is told otherwise: else the next would run out of memory again, or take its time to be up.
    longer = prepare(replace(tiny, output=None, resume=part, epochs=9))
    assert (longer.batch, longer.config.time_budget_s, longer.recipe.epochs) == (2, 90, 9)
    last = prepare(replace(tiny, output=None, resume=part))
    assert (last.batch, last.config.seed, last.config.time_budget_s, last.recipe.epochs) == (2, 7, 90, 9)


def test_it_keeps_what_changes_its_arithmetic(tiny: TrainConfig, tmp_path: Path) -> None:
    part = tmp_path / "part"
    prepare(replace(tiny, output=part, precision="bf16", cache="device"))
    again = prepare(replace(tiny, output=None, resume=part))
    assert (again.config.precision, again.config.cache) == ("bf16", "device")
    told = prepare(replace(tiny, output=None, resume=part, precision="fp32", cache="memory"))
    assert (told.config.precision, told.config.cache) == ("fp32", "memory")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "icnet"}, "with --model fast-scnn; leave --model out"),
        ({"keep": 0.25}, "with --keep 0.125; leave --keep out"),
        ({"pretrained": "fast-scnn-camvid"}, "without --pretrained; leave --pretrained out"),
        ({"recipe": "camvid-icnet"}, "with --recipe tiny; leave --recipe out"),
        ({"output": Path("elsewhere")}, "goes on where it is, not in elsewhere; leave -o out"),
    ],
)
def test_what_it_would_not_heed_is_refused(
    tiny: TrainConfig, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    part = tmp_path / "part"
    prepare(replace(tiny, output=part))
    with pytest.raises(IcnetError, match=words) as caught:
        prepare(replace(tiny, **({"output": None, "resume": part} | change)))
    assert caught.value.code is ExitCode.USAGE
    prepare(replace(tiny, output=part, resume=part, keep=0.125, recipe="tiny"))  # the same again is fine


@pytest.mark.parametrize("older", [False, True])
def test_another_dataset_is_refused(tiny: TrainConfig, tmp_path: Path, older: bool) -> None:
    """Its classes would be taken for the run's own; a record of an older version has only their number."""
    part = tmp_path / "part"
    prepare(replace(tiny, output=part))
    if older:
        document = json.loads((part / "run.json").read_text())
        del document["classes"]
        (part / "run.json").write_text(json.dumps(document))
    other = make.folder(tmp_path / "other")
    with pytest.raises(IcnetError, match=r"but .*other has road, car, person; name the dataset") as caught:
        prepare(replace(tiny, output=None, resume=part, dataset=other))
    assert caught.value.code is ExitCode.USAGE
    moved = tiny.dataset.rename(tmp_path / "moved")
    assert prepare(replace(tiny, output=None, resume=part, dataset=moved)).resumed


def test_resumed_with_half_the_batch_it_is_as_far(tiny: TrainConfig, tmp_path: Path) -> None:
    """The part of the epoch that is done stays done, to a batch, though its batches are others now."""
    part = tmp_path / "part"
    stop_after(3, replace(tiny, output=part, batch=4, accumulate=1))
    trainer = Trainer(prepare(replace(tiny, output=None, resume=part, batch=2, accumulate=2)))
    assert (trainer.epoch, trainer.batch_in_epoch, trainer.epoch_batches) == (1, 1, 3)
    assert trainer.stepper.accumulated == 0
    assert trainer.run.lr == pytest.approx(0.04)  # the effective batch is what it was


def test_resumed_with_fewer_batches_a_step_it_goes_on_stepping(tiny: TrainConfig, tmp_path: Path) -> None:
    """What was half of a step is more than a whole one now."""
    part = tmp_path / "part"
    stop_after(3, replace(tiny, output=part, accumulate=2))
    trainer = Trainer(prepare(replace(tiny, output=None, resume=part, accumulate=1)))
    assert trainer.stepper.accumulated == 1
    before = trainer.step
    batch = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.zeros(2, 64, 64, dtype=torch.uint8)
    for _ in range(2):
        trainer._train_batch(*batch, 0.01)
    assert trainer.step == before + 2


def test_resume_finds_the_run(tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("fast-scnn-1", "fast-scnn-2", "fast-scnn-3")):
        run = prepare(replace(tiny, output=None))
        assert run.folder == Path("runs/train") / name
        os.utime(run.folder / "run.json", (number, number))
    (Path("runs/train/fast-scnn-2") / "metrics.csv").write_text("")  # trained last, though not begun last
    assert find_run(Path("newest")) == Path("runs/train/fast-scnn-2")
    assert find_run(Path("runs/train")) == Path("runs/train/fast-scnn-2")
    assert find_run(Path("runs/train/fast-scnn-1")) == Path("runs/train/fast-scnn-1")
    with pytest.raises(IcnetError, match=r"no run\.json") as caught:
        find_run(tmp_path / "camvid")
    assert caught.value.code is ExitCode.INPUT


def test_unfinished_files_of_a_killed_save_go(tiny: TrainConfig, tmp_path: Path) -> None:
    part = tmp_path / "part"
    stop_after(2, replace(tiny, output=part))
    left = part / ".checkpoint-00000003.pt.abcd.part"
    left.write_bytes(b"half")
    prepare(replace(tiny, output=None, resume=part))
    assert not left.exists()


@pytest.mark.parametrize("config_of", ["[]", '{"batch": "two"}', '{"lr": -1}'])
def test_a_damaged_record_is_refused_in_a_line(tiny: TrainConfig, tmp_path: Path, config_of: str) -> None:
    part = tmp_path / "part"
    prepare(replace(tiny, output=part))
    document = json.loads((part / "run.json").read_text())
    document["config"] = json.loads(config_of)
    (part / "run.json").write_text(json.dumps(document))
    with pytest.raises(IcnetError):
        prepare(replace(tiny, output=None, resume=part))
