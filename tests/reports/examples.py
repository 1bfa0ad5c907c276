"""Reports as the commands make them, small, with names that mean harm."""

from __future__ import annotations

from typing import Any

import numpy as np

from icnet_cli.reports.eval_page import ClassCropSet
from icnet_cli.reports.shots import Crop, Shot, Versus

HARM = "<script>document.title='run'</script>"
NAMES = ("road", HARM, 'a"b&c')
PALETTE = np.array([(128, 64, 128), (220, 20, 60), (0, 0, 142)], np.uint8)


def eval_document(**changes: Any) -> dict[str, Any]:
    confusion = [[900, 50, 50], [100, 300, 0], [25, 25, 0]]
    return {
        "miou": 0.4321,
        "pixel_accuracy": 0.8276,
        "mean_accuracy": 0.55,
        "per_class": {NAMES[0]: 0.8, NAMES[1]: 0.6316, NAMES[2]: None},
        "images": 4,
        "images_damaged": 1,
        "model_ms": 12.345,
        "seconds": 7.0,
        "confusion": confusion,
        "protocol": {
            "dataset": "folder",
            "split": "val",
            "size": [48, 64],
            "scales": [1.0],
            "flip": False,
            "ignore_index": 255,
            "branches": "sub124",
        },
        "reproduces": {"field": "val_of_train_only_run", "card_value": 0.43, "difference": 0.0021},
        "weights": f"weights/{HARM}.safetensors",
        "model": "icnet",
        "device": "cpu",
        "precision": "fp32",
        "regions": {
            "bin_pixels": 100,
            "bins": 40,
            "regions": 9,
            "larger": 1,
            "rows": [
                {"from": 1, "to": 100, "regions": 7, "accuracy": {"sub4": 0.25, "sub124": 0.5}, "change": {}},
                {
                    "from": 101,
                    "to": 200,
                    "regions": 2,
                    "accuracy": {"sub4": 0.7, "sub124": 0.8},
                    "change": {},
                },
            ],
        },
    } | changes


def picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def labels(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, size, np.uint8)


def shot(name: str = HARM, seed: int = 0) -> Shot:
    truth = labels(seed)
    truth[:8] = 255
    return Shot(name, picture(seed), truth, labels(seed + 1), 0.1234, 0.5678, ((0, 1, 0.05), (1, 2, 0.02)))


def crop_sets() -> list[ClassCropSet]:
    one = Crop(HARM, picture(3, (32, 32)), labels(3, (32, 32)) == 1, labels(4, (32, 32)) == 1, 0.25)
    return [ClassCropSet((one,), (one,)), ClassCropSet((one,), ()), ClassCropSet((), ())]


def compare_document(**changes: Any) -> dict[str, Any]:
    def side(name: str, ms: float, road: float, flicker: float) -> dict[str, Any]:
        return {
            "weights": name,
            "model": "icnet",
            "size": [48, 64],
            "device": "cpu",
            "precision": "fp32",
            "backend": "torch",
            "ms_p50": ms,
            "ms_p95": ms * 1.5,
            "fps": 1000 / ms,
            "class_share": dict(zip(NAMES, (road, 1 - road, 0.0), strict=True)),
            "flicker": flicker,
            "flicker_per_class": dict(zip(NAMES, (flicker, flicker, None), strict=True)),
        }

    return {
        "source": f"{HARM}.mp4",
        "kind": "video",
        "split": None,
        "frames": 3,
        "disagreement": 0.123,
        "per_class": dict(zip(NAMES, (0.1, 0.9, None), strict=True)),
        "between": [[900, 60, 0], [30, 100, 0], [0, 0, 0]],
        "time_ratio": 0.38,
        "a": side("icnet-camvid", 20.0, 0.6, 0.01),
        "b": side(f"{HARM}.safetensors", 8.0, 0.5, 0.02),
        "worst_frames": [],
        "problem": None,
        "seconds": 1.0,
    } | changes


def versus(seed: int = 0, with_truth: bool = False) -> Versus:
    truth = labels(seed + 2) if with_truth else None
    return Versus(HARM, picture(seed), labels(seed), labels(seed + 1), 0.123, ((0, 1, 0.05),), truth)
