"""Small datasets in every layout, made by the tests that use them: a few frames of 48x64 pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import load_table
from icnet_cli.pixels.cv import cv2

SIZE = (48, 64)
COUNTS = {"train": 3, "val": 2}


def write(path: Path, picture: NDArray[Any]) -> Path:
    """Grey or RGB to a file, folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)
    return path


def turn(path: Path, orientation: int) -> None:
    """The JPEG `path` with an EXIF block that says how it is to be shown."""
    data = path.read_bytes()
    field = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + field + bytes(4)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])


def image(name: str, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A blotchy RGB picture; another name gives another picture."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blotches = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(blotches, size[::-1], interpolation=cv2.INTER_CUBIC)


def labels(values: list[int], size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Every value in `values` somewhere, in stripes."""
    columns = np.arange(size[1]) * len(values) // size[1]
    return np.tile(np.array(values, np.uint8)[columns], (size[0], 1))


def camvid(root: Path, counts: Mapping[str, int] = COUNTS) -> Path:
    """The SegNet tutorial's layout."""
    for split, count in counts.items():
        for index in range(count):
            name = f"{split}_frame{index}.png"
            write(root / split / name, image(name))
            write(root / f"{split}annot" / name, labels(list(range(12))))
    return root


def folder(
    root: Path, values: list[int] | None = None, classes: str = "classes: [road, car, person]"
) -> Path:
    """A plain folder with three classes."""
    for split, count in COUNTS.items():
        for index in range(count):
            name = f"{split}_frame{index}"
            write(root / "images" / split / "drive" / f"{name}.jpg", image(name))
            write(root / "labels" / split / "drive" / f"{name}.png", labels(values or [0, 1, 2, 255]))
    (root / "classes.yaml").write_text(classes)
    return root


def cityscapes(root: Path, kind: str = "labelIds", values: list[int] | None = None) -> Path:
    """Two cities, fine labels, and a coarse frame of train_extra."""
    every = values or list(range(34))
    for split, city in (("train", "aachen"), ("val", "bonn"), ("train_extra", "ulm")):
        truth = "gtCoarse" if split == "train_extra" else "gtFine"
        for index in range(2):
            name = f"{city}_00000{index}_000019"
            write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image(name))
            write(root / truth / split / city / f"{name}_{truth}_{kind}.png", labels(every))
    return root


def coco_stuff(root: Path, labels_folder: str = "stuffthingmaps") -> Path:
    """Two splits, each value that COCO-Stuff may hold."""
    size = (8, 182)
    every = [*range(182), 255]
    for split in COUNTS:
        name = f"{split}_frame"
        write(root / "images" / f"{split}2017" / f"{name}.jpg", image(name, size))
        write(root / labels_folder / f"{split}2017" / f"{name}.png", labels(every[:182], size))
    return root


def camvid_original(
    root: Path, images: str = "701_StillsRaw_full", truth: str = "LabeledApproved_full"
) -> Path:
    """A frame of each drive and each part of the usual split, labels with all 32 colours."""
    colors = np.array([color for color, _, _ in load_table("camvid").colors], np.uint8)
    for name in ORIGINAL_FRAMES:
        write(root / images / f"{name}.png", image(name))
        write(root / truth / f"{name}_L.png", colors[labels(list(range(32)))])
    return root


ORIGINAL_FRAMES = {
    "0001TP_008520": "train",
    "0001TP_008550": "test",
    "0006R0_f00930": "train",
    "0016E5_07920": "train",
    "0016E5_07959": "val",
    "0016E5_08159": "val",
    "0016E5_08190": "train",
    "Seq05VD_f00000": "test",
}
