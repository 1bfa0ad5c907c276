"""Teachers: what several networks say of a picture, and that a student learns it without keeping any of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from icnet_cli.checkpoints.format import Normalisation, WeightsMeta, load_weights, save_weights
from icnet_cli.checkpoints.state import load_state
from icnet_cli.classes.tables import load_table
from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.models import build
from icnet_cli.training.distil import Teachers, find_teachers
from icnet_cli.training.prepare import prepare
from icnet_cli.training.step import Stepper
from icnet_cli.training.trainer import Trainer, train
from tests.training.test_resume import assert_equal, stop_after

CAMVID = load_table("camvid")
BGR = Normalisation((104.0, 117.0, 124.0), (1.0, 1.0, 1.0), "BGR")


def teacher(path: Path, model: str, seed: int, classes: Any = CAMVID, **meta: Any) -> Path:
    """Weights of an untrained network that is quite sure of itself."""
    torch.manual_seed(seed)
    network = build(model, {"num_classes": classes.num_classes, "keep": 0.25})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    save_weights(path, network, WeightsMeta.of(network, classes, (64, 96), **meta))
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """One of each network, of different normalisation."""
    paths = [tmp_path / "wide.safetensors", tmp_path / "quick.safetensors"]
    return [teacher(paths[0], "icnet", 0), teacher(paths[1], "fast-scnn", 1, normalisation=BGR)]


def test_their_probabilities_are_averaged(two: list[Path]) -> None:
    pictures = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    loaded = find_teachers([str(path) for path in two], CAMVID)
    found = Teachers(loaded, torch.device("cpu")).probabilities(pictures, (32, 48))
    alone = []
    for one in loaded:
        one.network.eval()
        with torch.no_grad():
            scores = one.network.scores(one.meta.normalisation.apply(pictures))
        alone.append(torch.nn.functional.interpolate(scores, (32, 48), mode="bilinear").softmax(dim=1))
    assert torch.allclose(found, (alone[0] + alone[1]) / 2, atol=1e-4)
    assert torch.allclose(found.sum(dim=1), torch.ones(2, 32, 48), atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=0.05)  # the failing twin: one of them is not both


@pytest.mark.parametrize("students", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_teachers_are_asked_where_the_students_pixels_lie(two: list[Path], own: bool, students: bool) -> None:
    """A teacher whose scores say how far right a place is, on a map of its own size and alignment."""
    (loaded, _) = find_teachers([str(path) for path in two], CAMVID)
    teachers = Teachers([loaded], torch.device("cpu"), students)
    teachers.align_corners = [own]
    wide, its, students_wide = 256, 32, 16

    def places(count: int, aligned: bool) -> torch.Tensor:
        steps = torch.arange(count, dtype=torch.float32)
        return steps * (wide - 1) / (count - 1) if aligned else (steps + 0.5) * wide / count - 0.5

    ramp = (places(its, own) / 100).expand(1, 1, 8, its)
    teachers.networks[0].scores = lambda x: torch.cat([ramp, torch.zeros_like(ramp)], dim=1)
    found = teachers.probabilities(torch.zeros(1, 3, 64, wide, dtype=torch.uint8), (4, students_wide))
    said = 100 * (found[0, 0] / found[0, 1]).log()
    reached = places(students_wide, students).clamp(places(its, own)[0], places(its, own)[-1])
    assert (said - reached).abs().max() < 0.1


def test_a_student_comes_closer_to_them(config: TrainConfig, two: list[Path]) -> None:
    """On one batch again and again; without teachers it goes where the labels are."""
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = torch.randint(0, 11, (2, 64, 64), dtype=torch.uint8)
    apart = {}
    for told in ((), tuple(map(str, two))):
        run = prepare(replace(config, teachers=told or None, output=config.output / str(len(told))))  # type: ignore[operator]
        stepper = Stepper(run)
        judge = Teachers(find_teachers([str(path) for path in two], CAMVID), torch.device("cpu"))
        taught = judge.probabilities(pictures, stepper.loss.main_size(labels))
        for _ in range(25):
            stepper.batch(pictures, labels, 0.02)
        scores = stepper.network.eval().scores(stepper.normalise(pictures))
        scores = torch.nn.functional.interpolate(scores, tuple(taught.shape[2:]), mode="bilinear")
        apart[bool(told)] = stepper.loss.apart(scores, labels, taught).item()
    assert apart[True] < 0.7 * apart[False]


def test_nothing_of_them_is_kept(config: TrainConfig, two: list[Path], tmp_path: Path) -> None:
    """The student's checkpoint, weights and card are as without them; only the figures differ."""
    list(train(replace(config, output=tmp_path / "alone")))
    list(train(replace(config, output=tmp_path / "taught", teachers=tuple(map(str, two)))))
    alone, taught = (load_state(tmp_path / name) for name in ("alone", "taught"))
    assert alone.keys() == taught.keys()
    shapes = [{k: v.shape for k, v in state["network"].items()} for state in (alone, taught)]
    assert shapes[0] == shapes[1]
    weights = [load_weights(tmp_path / name / "last.safetensors") for name in ("alone", "taught")]
    assert str(tmp_path) not in weights[1].meta.to_json()  # a weights file never names the machine's paths
    assert weights[1].meta.card["teachers"] == ["wide.safetensors", "quick.safetensors"]
    assert "teachers" not in weights[0].meta.card
    states = [one.network.state_dict() for one in weights]
    name = next(name for name, tensor in states[0].items() if tensor.dim() == 4)
    assert not torch.equal(states[0][name], states[1][name])


def test_stopped_and_resumed_with_them(config: TrainConfig, two: list[Path], tmp_path: Path) -> None:
    taught = replace(config, teachers=tuple(map(str, two)))
    list(train(replace(taught, output=tmp_path / "whole")))
    stop_after(3, replace(taught, output=tmp_path / "part"))
    shutil.copytree(tmp_path / "part", tmp_path / "later")
    list(train(replace(config, output=None, resume=tmp_path / "part")))
    assert_equal(tmp_path / "whole", tmp_path / "part")
    (tmp_path / "elsewhere").mkdir()
    moved = [path.rename(tmp_path / "elsewhere" / path.name) for path in two]
    later = replace(config, output=None, resume=tmp_path / "later")
    with pytest.raises(IcnetError, match="no weights") as caught:
        list(train(later))
    assert caught.value.code is ExitCode.WEIGHTS
    list(train(replace(later, teachers=tuple(map(str, moved)))))
    assert_equal(tmp_path / "whole", tmp_path / "later")


def test_resumed_from_another_folder_it_finds_what_it_was_told_by_name(
    config: TrainConfig, two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files by names that hold in the folder of the first command alone; a bundled name stays what it is."""
    monkeypatch.chdir(tmp_path)
    names = tuple(path.name for path in two)
    told = {"teachers": (*names, "icnet-camvid"), "pretrained": names[1]}
    prepare(
        replace(config, **told)
    ).release()  # before its first checkpoint, so that it starts from them again
    assert config.output is not None
    document = json.loads((config.output / "run.json").read_text())
    whole = [str(tmp_path / name) for name in names]
    assert document["recipe"]["teachers"] == document["config"]["teachers"] == [*whole, "icnet-camvid"]
    assert document["config"]["pretrained"] == whole[1]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = replace(config, output=None, resume=Path("../run"), pretrained=f"../{names[1]}")  # the same file
    run = prepare(again)
    assert run.recipe.teachers == (*whole, "icnet-camvid")
    run.release()
    with pytest.raises(IcnetError, match="leave --pretrained out"):
        prepare(replace(again, pretrained=whole[0]))


def test_its_user_is_told(config: TrainConfig, two: list[Path]) -> None:
    run = prepare(replace(config, teachers=tuple(map(str, two))))
    assert run.notices() == [f"it learns from {two[0]}, {two[1]} too"]
    assert run.recipe.teachers == tuple(map(str, two))  # so a resumed run has them again


def test_with_no_weight_they_are_not_asked(config: TrainConfig, two: list[Path]) -> None:
    run = prepare(replace(config, teachers=tuple(map(str, two))))
    assert Trainer(run).stepper.teachers is not None
    silent = replace(run.recipe, loss=replace(run.recipe.loss, distil=0.0))
    assert Stepper(replace(run, recipe=silent)).teachers is None


@pytest.mark.parametrize(
    ("classes", "code", "word"),
    [
        ("cityscapes", ExitCode.USAGE, "knows 19 classes that are not the dataset's 11"),
        (None, ExitCode.WEIGHTS, "no"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_the_first_step(
    config: TrainConfig, tmp_path: Path, classes: str | None, code: ExitCode, word: str
) -> None:
    path = tmp_path / "other.safetensors"
    if classes:
        teacher(path, "fast-scnn", 0, load_table(classes))
    with pytest.raises(IcnetError, match=word) as caught:
        prepare(replace(config, teachers=(str(path),)))
    assert caught.value.code is code
    assert str(path) in str(caught.value)
    assert not (config.output / "run.json").exists()  # type: ignore[operator]
