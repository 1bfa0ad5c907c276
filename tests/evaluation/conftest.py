from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.models import build
from icnet_cli.pixels.files import write_labels_png, write_picture
from tests.inference.tiny import enlivened


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A dataset of the SegNet tutorial's layout: three pictures of 48x64 in val."""
    root, rng = tmp_path / "camvid", np.random.default_rng(0)
    for i in range(3):
        blocks = rng.integers(0, 12, (6, 8), np.uint8).repeat(8, 0).repeat(8, 1)
        write_labels_png(root / "valannot" / f"frame_{i}.png", blocks)
        write_picture(root / "val" / f"frame_{i}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
    return root


@pytest.fixture
def make_weights(tmp_path: Path) -> Callable[..., Path]:
    """Writes a weights file of a small network that was never trained."""

    def make(
        model: str = "fast-scnn", table: str = "camvid", card: dict | None = None, size=(48, 64), **config
    ) -> Path:
        classes = load_table(table)
        torch.manual_seed(0)
        keep = {"keep": 0.25 if model == "fast-scnn" else 0.03, "num_classes": classes.num_classes}
        network = enlivened(build(model, keep | config))
        path = tmp_path / f"{model}.safetensors"
        save_weights(path, network, WeightsMeta.of(network, classes, size, card=card or {}))
        return path

    return make
