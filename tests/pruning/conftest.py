"""A tiny CamVid, a recipe of a few steps, and weights to prune; every test works in its own folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes.tables import load_table
from icnet_cli.config import PruneConfig
from icnet_cli.models import build
from icnet_cli.pruning import latency
from tests.tiny_camvid import write_camvid, write_recipe


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """runs/ is made where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latency, "LEAST_S", 0.0)  # no test looks at a time


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "camvid", 4)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def write_weights(path: Path, model: str = "fast-scnn", keep: float = 0.5, table: str = "camvid") -> Path:
    torch.manual_seed(0)
    classes = load_table(table)
    network = build(model, {"keep": keep, "num_classes": classes.num_classes})
    card = {"licence": "CC BY 4.0", "best_miou": 0.5, "metrics": {"val_seen_in_training": {"miou": 0.5}}}
    save_weights(path, network, WeightsMeta.of(network, classes, (64, 96), card=card))
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "start.safetensors")


@pytest.fixture
def config(weights: Path, camvid: Path, recipe: Path) -> PruneConfig:
    return PruneConfig(
        weights=str(weights),
        data=camvid,
        keep=0.25,
        recipe=str(recipe),
        tune_steps=3,
        workers=0,
        device="cpu",
        size=(64, 96),
    )
