from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.format import Normalisation, WeightsMeta, load_weights, save_weights
from icnet_cli.checkpoints.start import CARD_KEY
from icnet_cli.checkpoints.state import list_states, load_state
from icnet_cli.classes import load_table
from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference import processor
from icnet_cli.models import build, name_of
from icnet_cli.pixels.cv import cv2
from icnet_cli.training import trainer
from icnet_cli.training.events import EvalDone, Event, Notice, StepDone
from icnet_cli.training.loader import epoch_batches
from icnet_cli.training.prepare import prepare
from icnet_cli.training.pretrained import network_to_train
from icnet_cli.training.ranks import Ranks
from icnet_cli.training.signals import DeferredSignals
from icnet_cli.training.trainer import Trainer, TrainReport, _Seen, train
from tests.data import make
from tests.export.foreign_files import port_state
from tests.tiny_camvid import reshape_pictures, size_of_evaluations, sizes_measured, write_recipe


def run_to_end(config: TrainConfig) -> tuple[list[Event], TrainReport]:
    events: list[Event] = []
    steps = train(config)
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def terminate_after(batches: int, config: TrainConfig, number: int = signal.SIGTERM) -> None:
    """Train, with a signal once `batches` batches are done."""
    done = (e for e in Trainer(prepare(config)).events() if isinstance(e, StepDone))
    for count, _ in enumerate(done, start=1):
        if count == batches:
            os.kill(os.getpid(), number)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "last.safetensors").network.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_leaves_weights_curves_and_a_record(config: TrainConfig, camvid: Path) -> None:
    events, report = run_to_end(config)
    assert report.step == 6
    assert len([e for e in events if isinstance(e, StepDone)]) == 6
    scores = [e.miou for e in events if isinstance(e, EvalDone)]
    assert report.best_miou == max(scores)
    names = {path.name for path in report.run_dir.iterdir()}
    assert {"best.safetensors", "last.safetensors", "metrics.csv", "curves.png", "run.json"} <= names
    stored = json.loads((report.run_dir / "run.json").read_text())
    assert stored["dataset"] == str(camvid.resolve())
    loaded = load_weights(report.run_dir / "best.safetensors")
    assert loaded.meta.classes.num_classes == 11
    assert str(camvid) not in loaded.meta.to_json()  # a weights file never names the machine's paths
    assert set(report.to_dict()) == {"run_dir", "best_miou", "step", "seconds", "images_damaged"}


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"eval_size": [96, 128]}, (96, 128)),
        ({}, (64, 96)),  # the pictures' own 72x96, which is also what it is measured at
        ({"crop_size": [128, 160]}, (64, 96)),  # fill around a picture does not make its things larger
        ({"crop_size": [32, 32]}, (64, 96)),
    ],
)
def test_the_weights_name_the_scale_of_use(
    config: TrainConfig, tmp_path: Path, changes: dict[str, object], size: tuple[int, int]
) -> None:
    recipe = write_recipe(tmp_path, steps=1, evaluations=1, batch=4, **changes)
    run_to_end(replace(config, recipe=str(recipe)))
    assert load_weights(config.output / "last.safetensors").meta.train_size == size


def test_a_run_that_would_end_before_its_first_step_is_refused(config: TrainConfig) -> None:
    """Six pictures in batches of two are three a pass, and four make a step here."""
    brief = replace(config, batch=2, accumulate=4, epochs=1)
    with pytest.raises(
        IcnetError,
        match=r"before its first step: with --epochs 1 the 6 pictures make 3 of the 4 batches of 2",
    ) as caught:
        prepare(brief)
    assert caught.value.code is ExitCode.USAGE
    assert config.output is not None
    assert not config.output.exists()
    assert run_to_end(replace(brief, epochs=2))[1].step == 1


def test_pictures_that_exif_turns_are_told(config: TrainConfig, camvid: Path) -> None:
    picture = camvid / "train" / "train_00.png"
    upside_down = make.write(picture.with_suffix(".jpg"), cv2.imread(str(picture)))
    picture.unlink()
    make.turn(upside_down, 3)
    notices = prepare(config).notices()
    assert ["1 picture has an EXIF rotation" in notice for notice in notices] == [True]


@pytest.mark.parametrize("changes", [{"eval_size": [96, 96]}, {}])
def test_a_run_measures_at_the_sizes_that_an_evaluation_of_its_weights_takes(
    config: TrainConfig,
    camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    """On pictures of other shapes than the scale of use, too: none is squeezed into it."""
    reshape_pictures(camvid, "val", (72, 96), (150, 60))
    seen = sizes_measured(monkeypatch)
    recipe = write_recipe(tmp_path, evaluations=1, steps=1, **changes)
    _, report = run_to_end(replace(config, recipe=str(recipe)))
    assert seen == size_of_evaluations(report.run_dir / "best.safetensors", (72, 96), (150, 60))
    assert len({*seen.values()}) == 2


def test_a_few_steps_without_a_validation_split_are_a_run(config: TrainConfig, camvid: Path) -> None:
    """Shorter than what the record keeps a row of."""
    shutil.rmtree(camvid / "val")
    _, report = run_to_end(config)
    assert (report.step, report.best_miou) == (6, None)
    assert "Loss" in (report.run_dir / "report.html").read_text()  # the first step's row makes a page
    assert (report.run_dir / "last.safetensors").is_file()


@pytest.mark.parametrize("state", [[1], {"step": 3}, "other"])
def test_a_checkpoint_of_something_else_is_told(config: TrainConfig, state: object, tmp_path: Path) -> None:
    run_to_end(replace(config, steps=1))
    assert config.output is not None
    (newest,) = list_states(config.output)
    if state == "other":  # of a network of other channels
        run_to_end(replace(config, steps=1, keep=0.5, output=tmp_path / "other"))
        shutil.copy(list_states(tmp_path / "other")[0], newest)
    else:
        torch.save(state, newest)
    with pytest.raises(IcnetError, match="is not one of this run's") as caught:
        run_to_end(replace(config, resume=config.output, output=None))
    assert caught.value.code is ExitCode.INPUT


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    config: TrainConfig, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        list(train(replace(config, output=tmp_path / name, seed=seed)))
    assert same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))
    assert not same(tensors(tmp_path / "a"), tensors(tmp_path / "c"))


@pytest.mark.parametrize(("stop", "accumulate"), [(1, 1), (4, 1), (3, 2)])
def test_resumed_equals_uninterrupted(
    config: TrainConfig, tmp_path: Path, stop: int, accumulate: int
) -> None:
    """Stopped by a signal after `stop` batches, dropout and augmentation included."""
    config = replace(config, accumulate=accumulate, steps=4)
    list(train(replace(config, output=tmp_path / "whole")))
    part = replace(config, output=tmp_path / "part")
    with pytest.raises(IcnetError, match="--resume") as caught:
        terminate_after(stop, part)
    assert caught.value.code is ExitCode.TERMINATED
    list(train(replace(config, output=None, resume=tmp_path / "part")))
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "part"))
    whole, again = (load_state(tmp_path / name) for name in ("whole", "part"))
    assert same(whole["network"], again["network"])


def test_a_closed_terminal_saves_as_well(config: TrainConfig) -> None:
    with pytest.raises(IcnetError, match=r"hung up at step 2; saved .* go on with --resume") as caught:
        terminate_after(2, config, signal.SIGHUP)
    assert caught.value.code is ExitCode.HUNG_UP
    assert config.output is not None
    assert load_state(config.output)["step"] == 2


def test_a_hangup_that_is_ignored_does_not_end_a_run(config: TrainConfig) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        terminate_after(2, config, signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert config.output is not None
    assert (config.output / "last.safetensors").exists()


def test_a_resumed_run_that_saw_other_data_would_differ() -> None:
    assert epoch_batches(10, 3, seed=0, epoch=0) == epoch_batches(10, 3, seed=0, epoch=0)
    assert epoch_batches(10, 3, seed=0, epoch=0) != epoch_batches(10, 3, seed=0, epoch=1)
    assert epoch_batches(10, 3, seed=0, epoch=0) != epoch_batches(10, 3, seed=1, epoch=0)
    assert sorted(i for batch in epoch_batches(9, 3, 0, 0) for i in batch) == list(range(9))
    assert [len(b) for b in epoch_batches(2, 4, 0, 0)] == [4]  # a set smaller than a batch is repeated


def test_accumulation_keeps_the_recipes_effective_batch(config: TrainConfig) -> None:
    run = prepare(replace(config, batch=1, crop=(96, 96), model="icnet", keep=0.125))
    assert (run.batch, run.accumulate, run.lr) == (1, 2, pytest.approx(0.02))
    other = prepare(replace(config, batch=4, accumulate=1, output=run.folder.parent / "other"))
    assert other.lr == pytest.approx(0.04)  # the rate follows the effective batch


def test_accumulated_steps_are_counted_as_steps(config: TrainConfig) -> None:
    """An effective batch may be larger than an epoch: two epochs of three batches make a step of five and go on."""
    events, report = run_to_end(replace(config, batch=2, accumulate=5, steps=2))
    assert report.step == 2
    assert len([e for e in events if isinstance(e, StepDone)]) == 10


def test_a_batch_too_small_for_batch_norm_is_refused_before_the_first_step(config: TrainConfig) -> None:
    with pytest.raises(IcnetError, match="--batch 2") as caught:
        prepare(replace(config, batch=1))
    assert caught.value.code is ExitCode.USAGE
    assert not (config.output or Path()).exists()


def test_a_run_folder_is_not_written_over(config: TrainConfig) -> None:
    prepare(config)
    with pytest.raises(IcnetError, match="--resume") as caught:
        prepare(config)
    assert caught.value.code is ExitCode.USAGE


def test_a_folder_without_a_run_cannot_be_resumed(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"run\.json") as caught:
        prepare(replace(config, output=None, resume=tmp_path))
    assert caught.value.code is ExitCode.INPUT


def test_divergence_stops_with_the_step_and_the_rate(config: TrainConfig) -> None:
    with pytest.raises(IcnetError, match=r"diverged.*step.*rate") as caught:
        list(train(replace(config, lr=1e30)))
    assert caught.value.code is ExitCode.CHECK


def test_a_time_budget_ends_the_run_with_the_rate_at_zero(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(trainer.time, "monotonic", lambda: float(next(clock)))
    events = list(train(replace(config, steps=10**6, time_budget_s=60.0)))
    steps = [e for e in events if isinstance(e, StepDone)]
    assert 2 < len(steps) < 60
    assert [e.progress for e in steps] == sorted(e.progress for e in steps)
    assert steps[-1].lr < 0.2 * steps[0].lr


def test_starting_from_weights_takes_what_fits(config: TrainConfig, tmp_path: Path) -> None:
    list(train(config))
    start = config.output / "last.safetensors"  # type: ignore[operator]
    run = prepare(replace(config, output=tmp_path / "second", pretrained=start))
    given = load_weights(start).network.state_dict()
    assert same({k: v for k, v in run.network.state_dict().items() if "num_batches" not in k},
                {k: v for k, v in given.items() if "num_batches" not in k})  # fmt: skip
    with pytest.raises(
        IcnetError, match=r"--model deeplabv3 does not go with .* name --model fast-scnn"
    ) as caught:
        prepare(replace(config, output=tmp_path / "third", model="deeplabv3", keep=0.125, pretrained=start))
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize("where", ["option", "recipe"])
def test_a_run_that_names_no_network_takes_that_of_its_start(
    config: TrainConfig, tmp_path: Path, where: str
) -> None:
    network, start = build("fast-scnn", {"num_classes": 11, "keep": 0.25}), tmp_path / "start.safetensors"
    save_weights(start, network, WeightsMeta.of(network, load_table("camvid"), (64, 64)))
    untold = replace(config, model=None, keep=None)
    if where == "option":
        run = prepare(replace(untold, pretrained=str(start)))
    else:
        run = prepare(replace(untold, recipe=str(write_recipe(tmp_path, pretrained=str(start)))))
    assert (name_of(run.network), run.network.config_dict()["keep"]) == ("fast-scnn", 0.25)
    assert run.started_from is not None
    assert json.loads((run.folder / "run.json").read_text())["config"]["model"] == "fast-scnn"


def test_without_weights_that_are_of_a_network_it_is_icnet(tmp_path: Path) -> None:
    """A trunk alone starts ICNet, though a file that holds one would build the network it was cut from."""
    network = build("pspnet50", {"num_classes": 11, "keep": 0.125})
    meta = WeightsMeta.of(network, load_table("camvid"), (64, 64))
    whole, trunk = tmp_path / "whole.safetensors", tmp_path / "trunk.safetensors"
    save_weights(whole, network, meta)
    save_weights(trunk, network, replace(meta, card={CARD_KEY: True}))
    assert [network_to_train(start) for start in (None, trunk, whole)] == ["icnet", "icnet", "pspnet50"]


def test_other_peoples_weights_bring_their_form(config: TrainConfig, tmp_path: Path) -> None:
    """As their imported file does: the same tensors in the papers' form compute something else."""
    path = tmp_path / "port.pth"
    torch.save(port_state(), path)
    run = prepare(replace(config, keep=None, pretrained=str(path)))
    assert run.network.config_dict()["depthwise_relu"]
    assert run.started_from is not None
    assert "normalisation" not in run.started_from


def test_an_option_with_nothing_behind_it_is_left_out(config: TrainConfig, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, model={"fast-scnn": {"dropout": None, "skip": False}})
    options = prepare(replace(config, recipe=str(recipe))).network.config_dict()
    assert (options["dropout"], options["skip"]) == (0.1, False)


def test_a_start_that_knows_other_pictures_is_told(config: TrainConfig, tmp_path: Path) -> None:
    network, table = build("fast-scnn", {"num_classes": 11, "keep": 0.25}), load_table("camvid")
    bgr = Normalisation((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "BGR")
    save_weights(
        tmp_path / "bgr.safetensors", network, WeightsMeta.of(network, table, (64, 64), normalisation=bgr)
    )
    said = prepare(replace(config, pretrained=str(tmp_path / "bgr.safetensors"))).started_from
    assert said is not None
    assert "mean: [123.68, 116.779, 103.939], std: [1.0, 1.0, 1.0], order: BGR}` gives them" in said


def test_only_the_last_two_checkpoints_are_kept(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY_S", 0.0)
    list(train(config))
    assert [path.name for path in list_states(config.output)] == [  # type: ignore[arg-type]
        "checkpoint-00000005.pt",
        "checkpoint-00000006.pt",
    ]


def test_a_checkpoint_cut_short_falls_back_to_the_one_before(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY_S", 0.0)
    list(train(config))
    newest = list_states(config.output)[-1]  # type: ignore[arg-type]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert load_state(config.output)["step"] == 5  # type: ignore[arg-type]
    for path in list_states(config.output):  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(IcnetError, match="all are damaged") as caught:
        load_state(config.output)  # type: ignore[arg-type]
    assert caught.value.code is ExitCode.INPUT


@pytest.mark.parametrize(("model", "keep"), [("icnet", 0.125), ("pspnet50", 0.125), ("deeplabv3", 0.125)])
def test_every_network_trains(config: TrainConfig, model: str, keep: float) -> None:
    _, report = run_to_end(replace(config, model=model, keep=keep, steps=1))
    assert report.step == 1


def test_a_damaged_picture_ends_the_run_before_an_epoch_is_lost(config: TrainConfig, camvid: Path) -> None:
    bad = camvid / "train" / "train_03.png"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(IcnetError, match="train_03") as caught:
        prepare(config)
    assert caught.value.code is ExitCode.INPUT
    run = prepare(replace(config, skip_damaged=True))
    assert (len(run.train), run.damaged) == (5, 1)
    events, report = run_to_end(replace(config, skip_damaged=True, steps=1, output=camvid.parent / "second"))
    assert events[0] == Notice("1 damaged pair is left out")
    assert report.to_dict()["images_damaged"] == 1


def test_a_label_that_is_found_wrong_on_the_way_does_not_cost_the_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many files only some are decoded before the first step."""
    monkeypatch.setattr("icnet_cli.data.dataset._PROBES", 1)
    bad = config.dataset / "trainannot" / "train_05.png"
    good = bad.read_bytes()
    labels = cv2.imread(str(bad), cv2.IMREAD_GRAYSCALE)
    assert labels is not None
    labels[0, 0] = 77
    cv2.imwrite(str(bad), labels)
    with pytest.raises(IcnetError, match="label value 77") as caught:
        list(train(config))
    assert caught.value.code is ExitCode.INPUT
    assert caught.value.__notes__ == [f"when that is mended, go on with --resume {config.output}"]
    bad.write_bytes(good)
    _, report = run_to_end(replace(config, output=None, resume=config.output))
    assert report.step == 6


def test_what_its_user_should_know_is_told_before_the_first_step(
    config: TrainConfig, camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(config).notices() == []
    monkeypatch.setattr(processor, "_features", lambda: "flags : avx2")
    (made_up,) = prepare(replace(config, output=camvid.parent / "halved", precision="bf16")).notices()
    assert "this processor has no bf16 of its own" in made_up
    shutil.rmtree(camvid / "valannot")
    start = replace(config, output=camvid.parent / "second", pretrained="fast-scnn-camvid")
    told = prepare(
        start
    ).notices()  # quarter as wide: of the convolutions only those of the classes' biases fit
    assert re.fullmatch(r"\d+ of the network's 282 tensors start from fast-scnn-camvid", told[0])
    assert "no split 'val' to measure on (found train)" in told[1]
    assert len(told) == 2


def masks(root: Path, value: int) -> Path:
    """A folder dataset of two classes whose labels are 0 and, in the middle, `value`."""
    rng = np.random.default_rng(0)
    (root / "classes.yaml").parent.mkdir()
    (root / "classes.yaml").write_text("classes: [ground, thing]\n")
    for folder in ("images", "labels"):
        for split in ("train", "val"):
            (root / folder / split).mkdir(parents=True)
            for index in range(2):
                picture = rng.integers(0, 255, (64, 96, 3), np.uint8)
                label = np.zeros((64, 96), np.uint8)
                label[20:40, 30:60] = value
                what = picture if folder == "images" else label
                cv2.imwrite(str(root / folder / split / f"{index}.png"), what)
    return root


def test_a_mask_of_255_is_told(config: TrainConfig, tmp_path: Path) -> None:
    for value, told in ((1, 0), (255, 1)):
        run = prepare(
            replace(config, dataset=masks(tmp_path / f"of{value}", value), output=tmp_path / f"run{value}")
        )
        lacking = [text for text in run.notices() if "1 of 2 classes (thing) are nowhere" in text]
        assert len(lacking) == told
        assert not told or "icnet data check" in lacking[0]


def test_labels_that_say_nothing_are_refused(config: TrainConfig, camvid: Path) -> None:
    for path in (camvid / "trainannot").iterdir():
        cv2.imwrite(str(path), np.full((72, 96), 11, np.uint8))
    with pytest.raises(IcnetError, match=r"no pixel is labelled in \d+ label files") as caught:
        prepare(config)
    assert caught.value.code is ExitCode.INPUT


def test_a_validation_split_without_labels_is_one(
    config: TrainConfig, camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (camvid / "valannot").iterdir():
        cv2.imwrite(str(path), np.full((72, 96), 11, np.uint8))
    _, report = run_to_end(config)
    assert (report.best_miou, report.has_val) == (None, True)
    shutil.rmtree(camvid / "valannot")
    _, report = run_to_end(replace(config, output=camvid.parent / "second"))
    assert (report.best_miou, report.has_val) == (None, False)


def test_a_share_of_a_split_is_learnt_and_measured(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "thin").mkdir()
    thin = write_recipe(tmp_path / "thin", splits=["train/4"], val_split="val/2")
    run = prepare(replace(config, recipe=str(thin)))
    assert run.notices() == []
    assert run.val is not None
    assert [len(run.train), len(run.val)] == [2, 1]
    whole = prepare(replace(config, output=tmp_path / "whole"))
    assert whole.val is not None
    assert [len(whole.train), len(whole.val)] == [6, 2]


def test_an_evaluation_is_made_once(config: TrainConfig) -> None:
    """Also where the last one falls on the last step, and where a run that has ended is resumed."""
    recipe = write_recipe(config.dataset.parent, evaluations=6)
    events, report = run_to_end(replace(config, recipe=str(recipe)))
    steps = [event.step for event in events if isinstance(event, EvalDone)]
    assert steps[-1] == report.step == 6
    assert len(set(steps)) == len(steps)
    record = (report.run_dir / "metrics.csv").read_bytes()
    events, again = run_to_end(replace(config, output=None, resume=report.run_dir))
    assert (events, again.best_miou) == ([], report.best_miou)
    assert (report.run_dir / "metrics.csv").read_bytes() == record


def test_several_stop_on_what_they_agreed_on(config: TrainConfig) -> None:
    """A signal that one alone has had since the last look would have it wait for the others, who train on."""

    class Several(Ranks):
        alone, met = False, 0  # type: ignore[assignment]

        def meet(self) -> None:
            self.met += 1

        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor

        def largest(self, *values: float) -> list[float]:
            return list(values)

    one = Trainer(prepare(config))
    one.ranks = ranks = Several()
    signals = DeferredSignals()
    one.seen = [_Seen(1, 0, 0.1, torch.tensor(1.0), 0.1, 2)]
    list(one._look(signals))
    signals.code = ExitCode.TERMINATED
    one._save_if_due(signals)
    assert ranks.met == 0
    one.seen = [_Seen(2, 0, 0.2, torch.tensor(1.0), 0.1, 2)]
    list(one._look(signals))
    with pytest.raises(IcnetError, match="--resume") as caught:
        one._save_if_due(signals)
    assert (caught.value.code, ranks.met) == (ExitCode.TERMINATED, 1)


def test_a_run_is_resumed_as_the_network_it_trains(config: TrainConfig) -> None:
    run = prepare(config)
    with pytest.raises(IcnetError, match="leave --model out") as caught:
        prepare(replace(config, output=None, resume=run.folder, model="pspnet50"))
    assert caught.value.code is ExitCode.USAGE
