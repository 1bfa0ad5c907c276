"""Networks small enough to be timed in milliseconds, a clock that tests turn, and no bundled weights."""

from __future__ import annotations

from pathlib import Path

import pytest

import icnet_cli.checkpoints.bundled as bundled
from icnet_cli.benchmark.subjects import Subject
from icnet_cli.benchmark.timing import Protocol
from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.classes import load_table
from icnet_cli.models import build

SIZE = (32, 64)
SHORT = Protocol(warmup=1, runs=3, seconds=60.0)
SMALL = Subject("fast-scnn", {"keep": 0.25})
PUBLISHED_CARD = {
    "metrics": {"val_of_train_only_run": {"miou": 0.5, "protocol": {"dataset": "camvid", "split": "val"}}}
}


class FakeClock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the bundled weights, empty."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr(bundled, "bundled_folder", lambda: folder)
    return folder


def save(folder: Path, name: str, model: str, **config: object) -> Path:
    """A weights file of an untrained network with a card."""
    network = build(model, {"num_classes": 11, **config})
    meta = WeightsMeta.of(network, load_table("camvid"), (64, 96), card=PUBLISHED_CARD)
    path = folder / f"{name}.safetensors"
    save_weights(path, network, meta)
    return path
