"""A CamVid of a few pictures that a network can learn, and a recipe of a few steps: for the tests that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.evaluation import network
from icnet_cli.evaluation.predict import network_input
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.cv import cv2

RECIPE: dict[str, Any] = {
    "splits": ["train"],
    "val_split": "val",
    "batch": 2,
    "steps": 6,
    "crop_size": [64, 64],
    "optimizer": {"name": "sgd", "lr": 0.02},
    "loss": {"main_stride": 4},
    "augment": {"scale_range": [0.8, 1.2], "flip": True, "brightness": 0.2},
    "ema": 0.9,
    "evaluations": 2,
}


def write_split(root: Path, split: str, count: int, seed: int) -> None:
    """Pictures in which the class can be seen: sky above, road below, a car somewhere."""
    rng = np.random.default_rng(seed)
    for folder in (split, f"{split}annot"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        labels = np.full((72, 96), 3, np.uint8)
        labels[: rng.integers(20, 40)] = 0
        x, y = rng.integers(0, 60), rng.integers(40, 55)
        labels[y : y + 14, x : x + 30] = 8
        labels[0, :3] = 11  # unlabelled
        colors = np.zeros((12, 3), np.uint8)
        colors[[0, 3, 8]] = (200, 180, 160), (90, 90, 90), (30, 20, 160)
        image = colors[labels] + rng.integers(0, 30, (72, 96, 1), dtype=np.uint8)
        cv2.imwrite(str(root / split / f"{split}_{index:02d}.png"), image)
        cv2.imwrite(str(root / f"{split}annot" / f"{split}_{index:02d}.png"), labels)


def write_camvid(root: Path, train: int) -> Path:
    """`train` pictures to learn from and two to measure on; returns `root`."""
    write_split(root, "train", train, 0)
    write_split(root, "val", 2, 1)
    return root


def write_recipe(folder: Path, **changes: Any) -> Path:
    """`RECIPE` with these changes as a file; None leaves a key out."""
    recipe = {key: value for key, value in (RECIPE | changes).items() if value is not None}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def reshape_pictures(root: Path, split: str, *sizes: tuple[int, int]) -> None:
    """Give the pictures of a split these sizes (height, width), in turn."""
    for folder in (split, f"{split}annot"):
        for index, path in enumerate(sorted((root / folder).iterdir())):
            height, width = sizes[index % len(sizes)]
            picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(path), cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))


def sizes_measured(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, ...], tuple[int, int]]:
    """Filled while networks are measured: at what size they see a picture of which size."""
    seen: dict[tuple[int, ...], tuple[int, int]] = {}

    def noted(image: np.ndarray, size: tuple[int, int], *rest: Any) -> Any:
        seen[image.shape[:2]] = size
        return network_input(image, size, *rest)

    monkeypatch.setattr(network, "network_input", noted)
    return seen


def size_of_evaluations(weights: Path, *pictures: tuple[int, int]) -> dict[tuple[int, int], tuple[int, int]]:
    """At what size `icnet eval` has weights see pictures of these sizes."""
    loaded = load_weights(weights)
    segmenter = Segmenter(loaded.network, loaded.meta, "cpu", at_training_size=True)
    return {size: segmenter.input_size(*size) for size in pictures}
