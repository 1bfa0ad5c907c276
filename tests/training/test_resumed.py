"""What a run folder says of itself, whatever stands in it, and what has changed since."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training.journal import Journal
from icnet_cli.training.prepare import prepare
from icnet_cli.training.resumed import find_run
from tests.data import make


@pytest.fixture
def begun(config: TrainConfig) -> TrainConfig:
    """What resumes a run that was stopped at once."""
    prepare(config).release()
    return replace(config, output=None, resume=config.output, keep=None)


def rewrite(config: TrainConfig, change: Callable[[dict[str, Any]], object]) -> None:
    assert config.resume is not None
    path = config.resume / "run.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def told(config: TrainConfig) -> list[str]:
    run = prepare(config)
    run.release()
    return run.notices()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_config", {"num_classes": -3}),
        ("model_config", {"num_classes": 5}),
        ("model_config", {"num_classes": 11, "channels": {"x": "many"}}),
        ("model_config", {"num_classes": 11, "channels": 5}),
        ("model_config", {"num_classes": 11, "tea": 1}),
        ("model_config", {"num_classes": 11, "keep": "half"}),
        ("model_config", {"num_classes": 11, "keep": 9000}),
        ("classes", 5),
        ("classes", [1, 2]),
        ("classes", {"road": 1}),
        ("config", {"pretrained": 5}),
        ("config", {"seed": None}),
    ],
)
def test_an_impossible_record_is_refused_in_a_line(begun: TrainConfig, key: str, value: object) -> None:
    rewrite(begun, lambda document: document.update({key: value}))
    with pytest.raises(IcnetError, match=r"run\.json is missing or damaged") as caught:
        prepare(begun)
    assert caught.value.code is ExitCode.INPUT


@pytest.mark.parametrize("text", ["5", "null", '"here"', '[3, {"step": "two"}, {"step": null}]', "{", "[]"])
def test_an_environment_that_is_none_is_begun_anew(begun: TrainConfig, text: str) -> None:
    assert begun.resume is not None
    (begun.resume / "environment.json").write_text(text)
    run = prepare(begun)
    Journal(run).begin(4)
    run.release()
    assert [one["step"] for one in json.loads((begun.resume / "environment.json").read_text())] == [4]


def test_links_to_nothing_do_not_hide_a_run(begun: TrainConfig) -> None:
    """As a file does that is renamed between the listing and the look at it."""
    assert begun.resume is not None
    (begun.resume / ".checkpoint.part").symlink_to("gone")
    (begun.resume / "data").symlink_to("gone")
    assert find_run(begun.resume.parent) == begun.resume
    (begun.resume / ".folder.part").mkdir()
    prepare(replace(begun, resume=begun.resume.parent)).release()


def test_pictures_that_went_are_told(begun: TrainConfig) -> None:
    assert told(begun) == []
    (begun.dataset / "train" / "train_02.png").unlink()
    (line,) = told(begun)
    assert "has changed since this run was stopped: 6 pictures to learn from then, 5 now" in line
    assert told(begun) == []  # it was told, and the record is of what is there now


def test_other_names_and_what_it_is_measured_on_too(begun: TrainConfig, tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (begun.dataset / folder / "train_02.png").rename(begun.dataset / folder / "train_99.png")
    (begun.dataset / "val" / "val_01.png").unlink()
    first, second = told(begun)
    assert "6 pictures to learn from then, 6 now, of other names" in first
    assert "2 pictures to measure on then, 1 now" in second


def test_what_is_the_same_data_is_not_told(begun: TrainConfig, tmp_path: Path) -> None:
    """A folder that was moved; splits that its user names anew; a record of before there was any."""
    moved = begun.dataset.rename(tmp_path / "moved")
    begun = replace(begun, dataset=moved)
    assert told(begun) == []
    assert told(replace(begun, splits=("train/2",))) == []
    assert told(begun) == []
    for odd in (None, 5, {}, {"train": 5, "val": []}):
        rewrite(begun, lambda document, odd=odd: document.update(samples=odd))
        assert told(begun) == []
    rewrite(begun, lambda document: document.pop("samples"))
    assert told(begun) == []


@pytest.mark.parametrize(
    ("splits", "val_split", "shared"),
    [
        ("train,val", "val", "2 of the 2"),
        ("train,val/2", "val", "1 of the 2"),
        ("val", "val/2", "1 of the 1"),
    ],
)
def test_pictures_that_are_learnt_and_measured_on_are_told(
    config: TrainConfig, splits: str, val_split: str, shared: str
) -> None:
    recipe = Path(config.recipe or "")
    recipe.write_text(recipe.read_text().replace("val_split: val", f"val_split: {val_split}"))
    run = prepare(replace(config, splits=tuple(splits.split(","))))
    run.release()
    (line,) = run.notices()
    assert line.startswith(
        f"{shared} pictures that it is measured on are trained on too (splits {splits.replace(',', ', ')}"
    )


def test_a_split_may_be_measured_on_by_the_name_of_its_folder(config: TrainConfig, tmp_path: Path) -> None:
    recipe = Path(config.recipe or "")
    recipe.write_text(recipe.read_text().replace("val_split: val", "val_split: val2017"))
    run = prepare(replace(config, dataset=make.coco_stuff(tmp_path / "coco")))
    run.release()
    assert (run.notices(), len(run.val or ())) == ([], 1)


@pytest.mark.parametrize("splits", [("train", "train"), ("val", "train", "val/3"), ("val/2", "val/3")])
@pytest.mark.parametrize("where", ["option", "recipe", "resumed"])
def test_a_split_that_is_named_twice_is_refused(
    config: TrainConfig, splits: tuple[str, ...], where: str
) -> None:
    if where == "recipe":
        recipe = Path(config.recipe or "")
        recipe.write_text(recipe.read_text().replace("- train\n", "".join(f"- {name}\n" for name in splits)))
    if where == "resumed":
        prepare(config).release()
        config = replace(config, output=None, resume=config.output)
    with pytest.raises(IcnetError, match=r"are samples of one split, .*; name it once") as caught:
        prepare(config if where == "recipe" else replace(config, splits=splits))
    assert caught.value.code is ExitCode.USAGE
