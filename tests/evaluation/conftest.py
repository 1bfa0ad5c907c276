from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.models import build
from icnet_cli.pixels.files import write_labels_png, write_picture


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """A dataset of the SegNet tutorial's layout: three pictures of 48x64 in val."""
    root, rng = tmp_path / "camvid", np.random.default_rng(0)
    for i in range(3):
        blocks = rng.integers(0, 12, (6, 8), np.uint8).repeat(8, 0).repeat(8, 1)
        write_labels_png(root / "valannot" / f"frame_{i}.png", blocks)
        write_picture(root / "val" / f"frame_{i}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
    return root


def enlivened(network: nn.Module) -> nn.Module:
    """Gives an untrained network statistics and strong classifiers, so that it does not say one class everywhere."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it sees
        if isinstance(module, nn.Conv2d) and module.out_channels == network.num_classes:
            nn.init.normal_(module.weight, std=1.0)
    with torch.no_grad():
        network.train().scores(torch.randn(4, 3, 12, 12).repeat_interleave(8, 2).repeat_interleave(8, 3))
    return network.eval()


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
