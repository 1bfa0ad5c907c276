"""Every recipe that comes with the tool, from its name to weights, on a few pictures in its dataset's layout."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.config import TrainConfig
from icnet_cli.data.layouts import recognise
from icnet_cli.training import prepare as runs
from icnet_cli.training.recipe import Recipe, load_recipe, recipe_names
from icnet_cli.training.trainer import train
from tests.data import make

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "cityscapes": make.cityscapes,
    "camvid": make.camvid,
    "coco": make.coco_stuff,
    "folder": make.folder,
}
SMALL = (64, 96)


def _small(recipe: Recipe) -> Recipe:
    """The same at sizes that take a moment; all else is left as it is."""
    stages = tuple(replace(stage, crop_size=SMALL, batch=stage.batch and 2) for stage in recipe.stages)
    return replace(recipe, crop_size=SMALL, eval_size=recipe.eval_size and SMALL, stages=stages, batch=2)


@pytest.fixture(params=recipe_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def dataset(name: str, tmp_path: Path) -> Path:
    return LAYOUTS[name.split("-")[0]](tmp_path / "data")


def test_it_names_splits_that_its_dataset_has(name: str, dataset: Path) -> None:
    """A validation split that is not there would be taken for one that the user does not have."""
    layout, recipe = recognise(dataset), load_recipe(name)
    assert recipe.val_split in layout.splits()
    assert all(layout.samples(split) for split in recipe.splits)


def test_it_trains_and_is_measured(
    name: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(runs, "load_recipe", lambda told: _small(load_recipe(told)))
    model = "fast-scnn" if "fast-scnn" in name else "icnet"
    config = TrainConfig(
        dataset=dataset, model=model, keep=0.125, recipe=name, steps=3, workers=0, device="cpu",
        output=tmp_path / "run",
    )  # fmt: skip
    if name in ("camvid-tune", "camvid-enlarged"):  # which go on from finished weights
        list(train(replace(config, recipe="camvid-icnet", steps=1, output=tmp_path / "first")))
        config = replace(config, pretrained=str(tmp_path / "first" / "last.safetensors"))
    list(train(config))
    weights = load_weights(tmp_path / "run" / "best.safetensors")
    assert weights.meta.classes == recognise(dataset).classes
    assert all(torch.isfinite(tensor).all() for tensor in weights.network.state_dict().values())
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert any(row["miou"] for row in csv.DictReader(file))
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert (stored["name"], stored["loss"]) == (
        name,
        load_recipe(name).to_dict()["loss"] | {"weights": list(load_recipe(name).loss.weights)},
    )
