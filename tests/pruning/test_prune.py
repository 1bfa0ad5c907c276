from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import icnet_cli
from icnet_cli.checkpoints.format import load_weights
from icnet_cli.checkpoints.state import list_states
from icnet_cli.config import EvalConfig, PruneConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.evaluation.evaluate import evaluate
from icnet_cli.models import Network, build
from icnet_cli.models.count import parameters_m
from icnet_cli.pixels.cv import cv2
from icnet_cli.pruning import measuring
from icnet_cli.pruning import prune as pruning
from icnet_cli.pruning.events import Tuning, Working
from icnet_cli.pruning.prune import prune
from icnet_cli.pruning.state import PruneReport
from icnet_cli.pruning.surgery import prune_network
from icnet_cli.pruning.widths import counts_at
from icnet_cli.training.pretrained import start_from
from icnet_cli.training.trainer import StepDone, TrainReport
from tests.pruning.conftest import write_weights
from tests.tiny_camvid import reshape_pictures, size_of_evaluations, sizes_measured, write_recipe
from tests.training.test_held import another


def run_to_end(config: PruneConfig) -> tuple[list[Any], PruneReport]:
    events: list[Any] = []
    steps = prune(config)
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def refusal(config: PruneConfig) -> str:
    with pytest.raises(IcnetError) as caught:
        list(prune(config))
    assert caught.value.code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def terminate_in_step(step: int, config: PruneConfig) -> None:
    """Prune, with a SIGTERM after the first batch of a step's tuning."""
    for event in prune(config):
        if isinstance(event, Tuning) and isinstance(event.event, StepDone) and event.step == step:
            os.kill(os.getpid(), signal.SIGTERM)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path).network.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    names = {name for name in a if not name.endswith("num_batches_tracked")}
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in names)


class ScriptedTrainer:
    """A trainer that takes no time: it reaches the next mIoU of its script."""

    script: Iterator[float]

    def __init__(self, run: Any) -> None:
        self.run = run

    def events(self) -> Iterator[StepDone]:
        yield StepDone(1, 0, 0.5, 1.0, 0.1, 1.0, 1.0)
        meta = load_weights(self.run.folder.parent / "step-0.safetensors").meta
        meta = replace(meta, config=self.run.network.config_dict())
        pruning.save_weights(self.run.folder / "best.safetensors", self.run.network, meta)
        return TrainReport(self.run.folder, next(self.script), 1, 1.0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[ScriptedTrainer]:
    monkeypatch.setattr(pruning, "Trainer", ScriptedTrainer)
    monkeypatch.setattr(pruning, "recalibrate", lambda run: iter(()))
    monkeypatch.setattr(measuring.Gauge, "miou_on", lambda *_: 0.5)
    monkeypatch.setattr(measuring, "measure_ms", lambda *_: 1.0)
    return ScriptedTrainer


def test_progressive_pruning_leaves_weights_a_table_and_a_record(config: PruneConfig, camvid: Path) -> None:
    """From 0.5 to 0.25 by way of 0.375, each step fine-tuned before the next."""
    events, report = run_to_end(replace(config, output=Path("quarter.safetensors")))
    assert [row.keep for row in report.steps] == [0.375, 0.25]
    assert [(e.step, e.event.step) for e in events if isinstance(e, Tuning) and isinstance(e.event, StepDone)] \
        == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]  # fmt: skip
    first, second = report.steps
    assert first.miou_before == report.start.miou_before
    assert second.miou_before == first.miou_tuned
    assert report.start.params_m > first.params_m > second.params_m
    document = report.to_dict()
    keys = {"keep", "params_m", "gflops", "miou_before", "miou_pruned", "miou_tuned"}
    assert all(keys <= set(row) and None not in row.values() for row in document["steps"])
    assert {"steps", "output"} <= set(document)
    with (report.run_dir / "steps.csv").open() as file:
        assert [float(row["keep"]) for row in csv.DictReader(file)] == [0.5, 0.375, 0.25]
    assert (report.run_dir / "miou-ms.png").stat().st_size > 1000
    assert report.run_dir == Path("runs/prune/start-1")

    loaded = load_weights(Path("quarter.safetensors"))
    assert loaded.meta.config["channels"] == counts_at(loaded.network.config, 0.25)
    assert [entry["keep"] for entry in loaded.meta.history] == [0.375, 0.25]
    assert [entry["miou_tuned"] for entry in loaded.meta.history] == [first.miou_tuned, second.miou_tuned]
    assert loaded.meta.card == {"licence": "CC BY 4.0"}  # its parent's accuracy is not its own
    assert str(camvid.parent) not in loaded.meta.to_json()  # never a path of the machine
    assert parameters_m(loaded.network) == pytest.approx(second.params_m, abs=1e-4)


def test_a_recipe_with_teachers_has_them_teach_each_step(
    config: PruneConfig, weights: Path, tmp_path: Path
) -> None:
    """The network that is cut teaches what is left of it; with no weight on what it says, it does not."""
    for weight in (0.0, 5.0):
        recipe = write_recipe(tmp_path, teachers=[str(weights)], loss={"main_stride": 4, "distil": weight})
        list(prune(replace(config, recipe=str(recipe), output=Path(f"{weight}.safetensors"))))
    assert not same(tensors(Path("0.0.safetensors")), tensors(Path("5.0.safetensors")))


def write_run(folder: Path, weights: Path, camvid: Path, teachers: list[str]) -> Path:
    """`weights` in a run folder whose record says who taught them."""
    folder.mkdir()
    recipe = yaml.safe_load(write_recipe(folder, teachers=teachers).read_text()) | {"name": "tiny"}
    (folder / "run.json").write_text(json.dumps({"recipe": recipe, "dataset": str(camvid)}))
    return weights.rename(folder / "best.safetensors")


def test_teachers_of_the_weights_run_that_are_gone_are_done_without(
    config: PruneConfig, weights: Path, camvid: Path, tmp_path: Path, scripted: type[ScriptedTrainer]
) -> None:
    """Said in a line; those that are there still teach. Teachers of one's own --recipe have to be there."""
    scripted.script = iter([0.5, 0.5])
    kept = str(write_weights(tmp_path / "kept.safetensors"))
    run = write_run(tmp_path / "run", weights, camvid, ["gone/wide.safetensors", kept])
    told = replace(config, weights=str(run), data=None)
    events, report = run_to_end(replace(told, recipe=None))
    said = [e.news for e in events if isinstance(e, Working) and e.news and "taught" in e.news]
    assert said == [
        "fine-tuning does without gone/wide.safetensors, which taught the weights' run and is not there; "
        "--recipe FILE can name others"
    ]
    assert json.loads((report.run_dir / "prune.json").read_text())["recipe"]["teachers"] == [kept]
    own = write_recipe(tmp_path, teachers=["gone/wide.safetensors"])
    with pytest.raises(IcnetError, match="no weights 'gone/wide") as caught:
        list(prune(replace(told, recipe=str(own))))
    assert caught.value.code is ExitCode.WEIGHTS


def test_a_run_is_gone_on_with_from_another_folder(
    config: PruneConfig, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the teachers that its recipe names from the folder of the first command."""
    recipe = write_recipe(tmp_path, teachers=[weights.name])
    with pytest.raises(IcnetError) as caught:
        terminate_in_step(1, replace(config, recipe=str(recipe)))
    assert caught.value.code is ExitCode.TERMINATED
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    _, report = run_to_end(PruneConfig(resume=tmp_path / "runs/prune/start-1", device="cpu", workers=0))
    document = json.loads((report.run_dir / "step-1" / "run.json").read_text())
    assert document["recipe"]["teachers"] == [str(weights)]


def test_a_pruned_file_is_used_as_its_parent_is(weights: Path, config: PruneConfig, camvid: Path) -> None:
    """It is pruned again, segments, is measured and trained on; its history tells of both cuts."""
    once = replace(config, data=None, no_tune=True, recipe=None, tune_steps=None)
    list(prune(replace(once, keep=0.375, output=Path("a.safetensors"))))
    list(prune(replace(once, weights="a.safetensors", keep=0.25, output=Path("b.safetensors"))))
    assert [(e["from"], e["keep"]) for e in load_weights(Path("b.safetensors")).meta.history] \
        == [(0.5, 0.375), (0.375, 0.25)]  # fmt: skip
    picture = torch.zeros(64, 96, 3, dtype=torch.uint8).numpy()
    assert icnet_cli.load("b.safetensors", device="cpu").labels(picture).shape == (64, 96)
    measured = list(
        evaluate(EvalConfig(dataset=camvid, weights="b.safetensors", device="cpu", size=(64, 96)))
    )
    assert measured[-1].done == 2
    fresh = build("fast-scnn", {"keep": 0.25, "num_classes": 11})
    assert start_from(fresh, "b.safetensors") == len(fresh.state_dict())


@pytest.mark.parametrize("portrait", ["val_00", "val_01"])
def test_pictures_of_mixed_shapes_are_measured_as_eval_measures_them(
    weights: Path, camvid: Path, portrait: str
) -> None:
    """One upright and one not, each at its own shape, whichever comes first: none is squeezed into the other's."""
    seen = np.arange(256, dtype=np.uint8)
    seen[[0, 3, 8]] = 4, 10, 9  # classes that these weights see: of others mIoU is 0 at any size
    for path in (*camvid.glob("val/*.png"), *camvid.glob("valannot/*.png")):
        size = (128, 192) if path.stem == portrait else (192, 128)
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        picture = picture if path.parent.name == "val" else seen[picture]
        cv2.imwrite(str(path), cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST))
    told = PruneConfig(weights=str(weights), data=camvid, keep=0.25, no_tune=True, device="cpu")
    _, report = run_to_end(replace(told, output=Path("quarter.safetensors")))
    for name, miou in (
        (weights, report.start.miou_before),
        ("quarter.safetensors", report.steps[0].miou_pruned),
    ):
        measured = list(evaluate(EvalConfig(dataset=camvid, weights=str(name), device="cpu")))[-1]
        assert miou == pytest.approx(measured.miou, abs=1e-4)
        assert measured.miou > 0.01
    assert load_weights(Path("quarter.safetensors")).meta.history[-1]["protocol"]["size"] is None


def test_it_measures_at_the_sizes_that_an_evaluation_takes(
    config: PruneConfig, weights: Path, camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of several shapes each at their own aspect; all at --size where there is one."""
    shapes = (72, 96), (200, 50)
    reshape_pictures(camvid, "val", *shapes)
    seen = sizes_measured(monkeypatch)
    run_to_end(replace(config, size=None, tune_steps=1))
    assert seen == size_of_evaluations(weights, *shapes)
    assert seen == size_of_evaluations(Path("runs/prune/start-1/pruned.safetensors"), *shapes)
    run_to_end(replace(config, size=(96, 64), tune_steps=1))
    assert seen == dict.fromkeys(shapes, (96, 64))


def test_no_tune_cuts_only_and_equals_its_parents_channels(weights: Path) -> None:
    """Without data: what is written is the parent's largest filters, weight for weight, BatchNorm and all."""
    _, report = run_to_end(
        PruneConfig(weights=str(weights), keep=0.25, no_tune=True, device="cpu", size=(64, 96))
    )
    parent = load_weights(weights).network
    expected = prune_network(parent, counts_at(parent.config, 0.25)).state_dict()
    assert same(tensors(report.output), expected)
    assert not same(tensors(report.run_dir / "step-0.safetensors"), expected)
    assert [(row.keep, row.miou_pruned, row.miou_tuned) for row in report.steps] == [(0.25, None, None)]


def test_one_shot_and_finer_schedules(config: PruneConfig, scripted: type[ScriptedTrainer]) -> None:
    scripted.script = iter([0.5] * 9)
    wide = replace(config, weights=str(write_weights(Path("full.safetensors"), keep=1.0)))
    assert [row.keep for row in run_to_end(replace(wide, keep=0.5))[1].steps] == [0.75, 0.5]
    assert [row.keep for row in run_to_end(replace(wide, keep=0.5, one_shot=True))[1].steps] == [0.5]
    finer = run_to_end(replace(wide, keep=0.25, steps=3))[1].steps
    assert [row.keep for row in finer] == [0.75, 0.5, 0.25]


def test_a_time_budget_is_shared_by_the_steps(
    config: PruneConfig, scripted: type[ScriptedTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.script = iter([0.5] * 3)
    given: list[float | None] = []
    monkeypatch.setattr(
        pruning, "Trainer", lambda run: given.append(run.config.time_budget_s) or ScriptedTrainer(run)
    )
    list(prune(replace(config, time_budget_s=90.0, steps=3)))
    assert given == [30.0, 30.0, 30.0]


def test_a_total_of_steps_is_shared_by_the_cuts(
    config: PruneConfig, scripted: type[ScriptedTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So progressive and one-shot pruning are compared at one budget; crops are of the size asked for."""
    scripted.script = iter([0.5] * 3)
    given: list[tuple[Any, ...]] = []

    def trainer(run: Any) -> ScriptedTrainer:
        given.append((run.recipe.epochs, run.recipe.steps, run.recipe.stage_at(0.5).crop_size))
        return ScriptedTrainer(run)

    monkeypatch.setattr(pruning, "Trainer", trainer)
    total = replace(config, tune_steps=None, tune_total=40, crop=(96, 64))
    list(prune(total))
    list(prune(replace(total, one_shot=True)))
    assert given == [(None, 20, (96, 64))] * 2 + [(None, 40, (96, 64))]


def test_batchnorm_is_measured_anew_before_tuning(
    config: PruneConfig, scripted: type[ScriptedTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics are the mean over the batches, of the pruned network, and the momentum is put back."""
    monkeypatch.undo()
    seen: list[Network] = []
    monkeypatch.chdir(Path(config.data).parent)  # type: ignore[arg-type]
    monkeypatch.setattr(pruning, "Trainer", lambda run: seen.append(run.network) or ScriptedTrainer(run))
    scripted.script = iter([0.5])
    events, _ = run_to_end(replace(config, one_shot=True))
    batches = [e for e in events if isinstance(e, Working) and e.unit == "batches"]
    assert (batches[-1].done, batches[-1].total) == (4, 4)  # two epochs of two batches: the set is small
    parent = load_weights(Path(config.weights)).network  # type: ignore[arg-type]
    cut = prune_network(parent, counts_at(parent.config, 0.25))
    (tuned,) = seen
    assert same(dict(cut.named_parameters()), dict(tuned.named_parameters()))
    norm = tuned.ltd1.bn
    assert not torch.allclose(norm.running_mean, cut.ltd1.bn.running_mean)  # type: ignore[union-attr, arg-type]
    assert (norm.momentum, int(norm.num_batches_tracked)) == (0.1, 4)  # type: ignore[union-attr, arg-type]


def test_an_interrupted_run_goes_on_in_the_step_it_was_in(config: PruneConfig, tmp_path: Path) -> None:
    """Terminated in the second step's tuning, resumed, and no different from a run that was left alone."""
    config = replace(config, tune_steps=None, tune_total=6, crop=(64, 96))
    _, whole = run_to_end(config)
    going_on = "step 2 of 2; go on with icnet prune --resume runs/prune/start-2"
    with pytest.raises(IcnetError, match=going_on) as caught:
        terminate_in_step(2, config)
    assert caught.value.code is ExitCode.TERMINATED
    events, resumed = run_to_end(PruneConfig(resume=Path("runs/prune/start-2")))
    tuned = [
        (e.step, e.event.step) for e in events if isinstance(e, Tuning) and isinstance(e.event, StepDone)
    ]
    assert tuned == [(2, 2), (2, 3)]  # nothing is done twice
    assert same(tensors(whole.output), tensors(resumed.output))
    assert [row.miou_tuned for row in whole.steps] == [row.miou_tuned for row in resumed.steps]
    assert [row.miou_pruned for row in whole.steps] == [row.miou_pruned for row in resumed.steps]


def test_a_run_killed_before_its_first_checkpoint_takes_that_step_again(config: PruneConfig) -> None:
    config = replace(config, one_shot=True)
    events = prune(config)
    for event in events:
        if isinstance(event, Tuning):
            events.close()
            break
    assert not list_states(Path("runs/prune/start-1/step-1"))
    _, resumed = run_to_end(PruneConfig(resume=Path("runs/prune/start-1")))
    _, whole = run_to_end(config)
    assert same(tensors(whole.output), tensors(resumed.output))


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"prune\.json") as caught:
        list(prune(PruneConfig(resume=tmp_path)))
    assert caught.value.code is ExitCode.INPUT


def test_max_drop_goes_back_to_the_last_step_that_holds(
    config: PruneConfig, scripted: type[ScriptedTrainer]
) -> None:
    """The parent reaches 0.5; at most 1 point may be lost: 0.4901 holds, 0.4899 does not."""
    scripted.script = iter([0.4901, 0.4899, 0.5])
    _, report = run_to_end(replace(config, steps=3, max_drop=1.0))
    assert [row.held for row in report.steps] == [True, False]  # the third is not tried
    assert report.rolled_back
    assert same(tensors(report.output), tensors(report.run_dir / "step-1.safetensors"))
    scripted.script = iter([0.4901, 0.4901])
    _, report = run_to_end(replace(config, max_drop=1.0))
    assert not report.rolled_back
    assert len(report.steps) == 2


def test_max_drop_that_nothing_holds_fails_its_check(
    config: PruneConfig, scripted: type[ScriptedTrainer]
) -> None:
    scripted.script = iter([0.3])
    with pytest.raises(IcnetError, match="first step already loses more") as caught:
        list(prune(replace(config, max_drop=1.0)))
    assert caught.value.code is ExitCode.CHECK


def test_a_target_in_milliseconds_is_reached(
    config: PruneConfig, scripted: type[ScriptedTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that gives ten milliseconds a million parameters; sensitive layers keep more."""
    scripted.script = iter([0.5] * 2)

    def accuracy(job: Any, network: Network, pictures: Any) -> float:
        return 0.5 - (0.2 if network.config.channels["ffm"] < 64 else 0.01)

    monkeypatch.setattr(measuring.Gauge, "miou_on", accuracy)
    monkeypatch.setattr(measuring, "measure_ms", lambda network, *_: 10 * parameters_m(network))
    aim = replace(config, keep=None, target_ms=1.5)
    _, report = run_to_end(aim)
    assert report.start.ms > 1.5 >= report.steps[-1].ms > 0.75
    there = load_weights(report.run_dir / "step-0.safetensors").network.config.channels
    left = load_weights(report.output).network.config.channels
    assert left["ffm"] / there["ffm"] > left["cls1"] / there["cls1"]
    stored = json.loads((report.run_dir / "prune.json").read_text())
    assert stored["sensitivity"]["ffm"] > stored["sensitivity"]["cls1"]
    assert "already" in refusal(replace(aim, target_ms=1000.0))
    assert "no width reaches" in refusal(replace(aim, target_ms=0.001))
    assert len(list(Path("runs/prune").iterdir())) == 1  # a refused run leaves no folder


def test_without_weights_the_newest_run_is_pruned_with_its_data_and_recipe(
    config: PruneConfig, camvid: Path, scripted: type[ScriptedTrainer]
) -> None:
    scripted.script = iter([0.5] * 2)
    for age, (name, keep) in enumerate((("new", 0.5), ("old", 0.25))):
        folder = Path("runs/train") / name
        folder.mkdir(parents=True)
        write_weights(folder / "best.safetensors", keep=keep)
        recipe = {"name": name, "steps": 50, "batch": 2, "crop_size": [64, 64]}
        (folder / "run.json").write_text(json.dumps({"dataset": str(camvid), "recipe": recipe}))
        os.utime(folder / "run.json", (1e9 - age, 1e9 - age))
    _, report = run_to_end(replace(config, weights=None, data=None, recipe=None, tune_steps=None))
    assert report.run_dir == Path("runs/prune/new-1")
    stored = json.loads((report.run_dir / "prune.json").read_text())
    assert stored["dataset"] == str(camvid)
    assert (stored["recipe"]["name"], stored["recipe"]["steps"]) == ("new", 5)  # a tenth of the length


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keep": 0.0}, "--keep must be above 0"),
        ({"keep": 1.5}, "--keep must be at most 1"),
        ({"keep": 0.5}, "not below what"),
        ({"keep": 0.9}, "not below what"),
        ({"keep": 0.499}, "0.499 cuts nothing .* multiples of --round-to 8"),
        ({"round_to": 512}, "0.25 cuts nothing .* multiples of --round-to 512"),
        ({"data": None}, "add --data DIR, or --no-tune"),
        ({"keep": None}, "give --keep"),
        ({"target_ms": 3.0}, "one of the two"),
        ({"one_shot": True, "progressive": True}, "--one-shot cuts once"),
        ({"no_tune": True, "max_drop": 1.0}, "leave out --no-tune"),
        ({"tune_total": 9}, "--tune-steps and --tune-total each set the length"),
        ({"tune_steps": None, "steps": 4, "tune_total": 3}, "one step for each of --steps 4"),
        ({"tune_steps": None, "tune_total": 1}, "one step for each of --steps 2"),
        ({"no_tune": True}, "--no-tune has no fine-tuning; leave out --tune-steps"),
        ({"no_tune": True, "tune_steps": None, "time_budget_s": 9.0}, "leave out --time-budget"),
        ({"output": Path("half.onnx")}, r"-o half.onnx must end in \.safetensors"),
        ({"output": Path("-")}, r"must end in \.safetensors"),
        ({"weights": None}, "icnet prune icnet-camvid --data .* --keep 0.25$"),
        ({"resume": Path("runs/prune/x")}, "leave out WEIGHTS, --data, --keep"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    config: PruneConfig, change: dict[str, Any], said: str
) -> None:
    line = refusal(replace(config, **change))
    assert re.search(said, line), line
    assert not Path("runs").exists()


def test_a_dataset_of_other_classes_is_refused(config: PruneConfig) -> None:
    other = write_weights(Path("city.safetensors"), table="cityscapes")
    assert "19 classes of cityscapes" in refusal(replace(config, weights=str(other)))


def test_an_output_is_not_written_over(config: PruneConfig, weights: Path) -> None:
    Path("there.safetensors").write_text("mine")
    assert "-y" in refusal(replace(config, output=Path("there.safetensors")))
    Path("folder.safetensors").mkdir()
    assert "is a folder" in refusal(replace(config, output=Path("folder.safetensors"), overwrite=True))
    Path("link.safetensors").symlink_to(weights)
    for name in (weights, Path("link.safetensors")):
        assert "is the input itself" in refusal(replace(config, output=name, overwrite=True))


def test_an_output_that_cannot_be_written_is_told_before_the_first_cut(config: PruneConfig) -> None:
    Path("file").write_text("not a folder")
    with pytest.raises(IcnetError, match=r"cannot write .*folder does not exist") as caught:
        list(prune(replace(config, output=Path("file/half.safetensors"))))
    assert caught.value.code is ExitCode.OUTPUT
    assert not Path("runs").exists()


def test_other_kinds_of_weights_are_told_what_to_do(config: PruneConfig) -> None:
    torch.save({"a": torch.zeros(1)}, "theirs.pth")
    Path("net.onnx").write_bytes(b"onnx")
    for name, cure in (("theirs.pth", "icnet weights import theirs.pth"), ("net.onnx", "it was made from")):
        with pytest.raises(IcnetError, match=cure) as caught:
            list(prune(replace(config, weights=name)))
        assert caught.value.code is ExitCode.WEIGHTS


def test_a_finished_run_tells_its_table_again(config: PruneConfig) -> None:
    """Nothing is tuned or measured again, so no data is needed; its output is written again where it is gone."""
    once = replace(config, one_shot=True, output=Path("quarter.safetensors"))
    _, first = run_to_end(once)
    before = Path("quarter.safetensors").read_bytes()
    assert config.data is not None
    shutil.rmtree(config.data)
    events, again = run_to_end(PruneConfig(resume=first.run_dir))
    news = f"{first.run_dir} is complete already; this is its table again"
    assert [event.news for event in events if isinstance(event, Working)] == [news]
    assert not [e for e in events if isinstance(e, Tuning)]
    assert again.steps == first.steps
    Path("quarter.safetensors").unlink()
    list(prune(PruneConfig(resume=first.run_dir)))
    assert Path("quarter.safetensors").read_bytes() == before


def test_a_run_that_goes_on_writes_over_nothing_that_came_meanwhile(
    config: PruneConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(IcnetError, match="go on with"):
        terminate_in_step(1, replace(config, one_shot=True, output=Path("quarter.safetensors")))
    Path("quarter.safetensors").write_text("mine")
    assert "exists now" in refusal(PruneConfig(resume=Path("runs/prune/start-1")))
    Path("quarter.safetensors").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # the output is where it was first told to be
    list(prune(PruneConfig(resume=tmp_path / "runs/prune/start-1")))
    assert (tmp_path / "quarter.safetensors").is_file()


def test_a_resumed_run_takes_what_it_is_told_of_the_machine(
    config: PruneConfig, scripted: type[ScriptedTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A smaller batch after memory ran out: more of them make the same step."""
    given: list[tuple[int, int]] = []

    class Trainer(ScriptedTrainer):
        def events(self) -> Iterator[StepDone]:
            given.append((self.run.batch, self.run.accumulate))
            if len(given) == 1:
                raise IcnetError(
                    "out of memory; --batch 2 --accumulate 2; go on with --resume x/step-1", ExitCode.DEVICE
                )
            return (yield from super().events())

    scripted.script = iter([0.5] * 2)
    monkeypatch.setattr(pruning, "Trainer", Trainer)
    with pytest.raises(IcnetError, match=r"--resume runs/prune/start-1 --batch 2$") as caught:
        list(prune(replace(config, recipe=str(write_recipe(tmp_path, batch=4)))))
    assert caught.value.code is ExitCode.DEVICE
    list(prune(PruneConfig(resume=Path("runs/prune/start-1"), batch=2)))
    assert given == [(4, 1), (2, 2), (2, 2)]


def test_what_another_process_prunes_is_not_resumed(config: PruneConfig) -> None:
    list(prune(replace(config, data=None, recipe=None, tune_steps=None, no_tune=True)))
    again = PruneConfig(resume=Path("runs/prune/start-1"))
    with another(Path("runs/prune/start-1")):
        assert "another process is training in it" in refusal(again)
    list(prune(again))


@pytest.mark.parametrize("change", [{"keep": -1}, {"keep": "half"}, {"size": [1]}, {"round_to": 0}])
def test_a_damaged_record_is_not_believed(config: PruneConfig, change: dict[str, Any]) -> None:
    list(prune(replace(config, data=None, recipe=None, tune_steps=None, no_tune=True)))
    file = Path("runs/prune/start-1/prune.json")
    stored = json.loads(file.read_text())
    stored["config"] |= change
    file.write_text(json.dumps(stored))
    with pytest.raises(IcnetError, match=r"prune\.json is missing or damaged") as caught:
        list(prune(PruneConfig(resume=file.parent)))
    assert caught.value.code is ExitCode.INPUT
