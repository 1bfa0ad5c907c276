from __future__ import annotations

from pathlib import Path

import pytest

from icnet_cli.config import TrainConfig
from tests.tiny_camvid import write_camvid, write_recipe


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "camvid", 6)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


@pytest.fixture
def config(camvid: Path, recipe: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        dataset=camvid,
        model="fast-scnn",
        keep=0.25,
        recipe=str(recipe),
        output=tmp_path / "run",
        workers=0,
        device="cpu",
    )
