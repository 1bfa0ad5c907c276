"""Training learns: on rendered streets, whose truth is exact, from nothing to 0.6 mIoU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.config import TrainConfig
from icnet_cli.pixels.cv import cv2
from tests.examples.test_render_street import street
from tests.tiny_camvid import write_recipe

from .test_trainer import run_to_end

RECIPE: dict[str, Any] = {
    "batch": 8,
    "steps": 600,
    "crop_size": [176, 240],
    "optimizer": {"name": "adamw", "lr": 0.004, "weight_decay": 0.01, "no_decay": ["norm", "depthwise"]},
    "schedule": {"name": "cosine", "warmup": 0.05},
    "loss": {"main_stride": 2, "class_weights": "log"},
    "augment": {"scale_range": [0.8, 1.4], "flip": True, "brightness": 0.2},
    "ema": 0.98,
}


def drive(root: Path, seeds: tuple[int, ...], frames: int, size: tuple[int, int]) -> Path:
    """Frames of a few streets; each fourth is for measuring. None is the street of examples/street.mp4."""
    for seed in seeds:
        settings = replace(street.random_settings(seed, size), frames=100, greenery=0.5, density=1.5)
        for number in range(frames):
            image, labels = street.render_frame(settings, number * 100 // frames)
            split = "val" if number % 4 == 2 else "train"
            for part, picture in ((split, image[..., ::-1]), (f"{split}annot", labels)):
                (root / part).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / part / f"street_{seed}_{number:03d}.png"), picture)
    return root


@pytest.mark.slow
def test_a_small_network_learns_the_street(tmp_path: Path) -> None:
    data = drive(tmp_path / "streets", (11, 12, 13, 14), 40, (240, 320))
    config = TrainConfig(
        dataset=data,
        model="fast-scnn",
        recipe=str(write_recipe(tmp_path, **RECIPE)),
        output=tmp_path / "run",
        cache="memory",
        device="cpu",
    )
    _, report = run_to_end(config)
    assert report.best_miou is not None
    print(f"mIoU {report.best_miou:.3f} after {report.step} steps")
    assert report.best_miou >= 0.6
