"""Dataset layouts: which files of a folder belong together, and how its label files are to be read.

A layout is recognised from the folder's structure alone. It lists the files by name and reads labels as
train ids; whether the files are whole and fit together is asked by `data.dataset` and `data.check`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable, load_table
from icnet_cli.classes.table import UNKNOWN
from icnet_cli.data.files import read_raw_labels
from icnet_cli.errors import input_error

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
SPLIT_ORDER = ("train", "val", "test")  # others follow by name


class Sample(NamedTuple):
    """One image and its labels. `name` is the stem with its sub-folder, unique within the split."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class Layout:
    """A dataset folder that was recognised. The sub-classes say where the files of a split are."""

    root: Path
    classes: ClassTable
    name: ClassVar[str]
    color_labels: ClassVar[bool] = False

    def splits(self) -> tuple[str, ...]:
        """The splits that have labels: train, val, test first, where they exist."""
        raise NotImplementedError

    def images(self, split: str) -> dict[str, Path]:
        """Every image of the split by sample name."""
        raise NotImplementedError

    def label_files(self, split: str) -> dict[str, Path]:
        """Every label file of the split by sample name, also those without an image."""
        raise NotImplementedError

    def label_path(self, split: str, name: str) -> Path:
        """Where the labels of a sample belong, whether they are there or not."""
        raise NotImplementedError

    def samples(self, split: str) -> list[Sample]:
        """Every image of the split with the place of its labels, sorted by name.

        Raises an input error for a split that does not exist or is empty.
        """
        if split not in self.splits():
            found = ", ".join(self.splits()) or "none"
            raise input_error(f"{self.root} ({self.name}) has no split {split!r}; found {found}")
        labels = self.label_files(split)
        samples = [
            Sample(name, image, labels.get(name) or self.label_path(split, name))
            for name, image in sorted(self.images(split).items())
        ]
        if not samples:
            raise input_error(f"the split {split!r} of {self.root} ({self.name}) is empty: found no image")
        return samples

    def lookup(self) -> NDArray[np.uint8]:
        """uint8 (256,): train id of each label-file value, 255 ignored, 254 not in the class table."""
        return self.classes.train_ids_of_ids()

    def read_labels(self, sample: Sample) -> NDArray[np.uint8]:
        """The labels as uint8 (H, W) train ids, 255 ignored.

        Raises an input error naming the file when it is damaged or holds a value outside the class table.
        """
        values = read_raw_labels(sample.labels)
        labels = self.lookup()[values]
        unknown = labels == UNKNOWN
        if unknown.any():
            raise self.misfit(sample.labels, np.unique(values[unknown]).tolist())
        return labels

    def misfit(self, path: Path, values: list[int]) -> Exception:
        """The error for label values outside the class table: what was found and what was expected."""
        found = ", ".join(str(value) for value in values[:8]) + (", ..." if len(values) > 8 else "")
        expected = as_ranges(self.classes.known_ids())
        return input_error(
            f"{path} holds the label value{'s' if len(values) > 1 else ''} {found}, which the class table "
            f"{self.classes.name!r} does not list (expected {expected}); `icnet data check` says more"
        )


def as_ranges(values: frozenset[int] | set[int]) -> str:
    """Whole numbers as a person writes them: `0-11, 255`."""
    ordered, parts = sorted(values), []
    start = 0
    for index in range(1, len(ordered) + 1):
        if index == len(ordered) or ordered[index] != ordered[index - 1] + 1:
            first, last = ordered[start], ordered[index - 1]
            parts.append(str(first) if first == last else f"{first}-{last}")
            start = index
    return ", ".join(parts)


def pictures_in(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The picture files in `folder` and below by name (stem with sub-folder); none where it is missing."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise input_error(f"{found[name]} and {path} are two pictures of one name; keep one of them")
            found[name] = path
    return found


def _in_order(splits: set[str]) -> tuple[str, ...]:
    return (*(name for name in SPLIT_ORDER if name in splits), *sorted(splits - set(SPLIT_ORDER)))


def _folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()


class CamVid(Layout):
    """CamVid as the SegNet tutorial lays it out: SPLIT/NAME.png and SPLITannot/NAME.png, values 0 to 11."""

    name = "camvid"

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        folders = _folders(root)
        return cls(root, load_table("camvid")) if any(f"{name}annot" in folders for name in folders) else None

    def splits(self) -> tuple[str, ...]:
        folders = _folders(self.root)
        return _in_order({name for name in folders if f"{name}annot" in folders})

    def images(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / split)

    def label_files(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / f"{split}annot", (".png",))

    def label_path(self, split: str, name: str) -> Path:
        return self.root / f"{split}annot" / f"{name}.png"


_LAYOUTS: tuple[Callable[[Path], Layout | None], ...] = (CamVid.recognise,)


def recognise(root: Path) -> Layout:
    """The layout of the dataset folder `root`, from its structure.

    Raises an input error saying what was found and what was expected.
    """
    if not root.is_dir():
        raise input_error(f"{root} is {'a file' if root.exists() else 'missing'}; a dataset is a folder")
    for attempt in _LAYOUTS:
        layout = attempt(root)
        if layout:
            return layout
    raise input_error(f"{root} has no known dataset layout: found {_contents(root)}; expected {_EXPECTED}")


_EXPECTED = (
    "leftImg8bit/ and gtFine/ (Cityscapes), train/ and trainannot/ (CamVid of the SegNet tutorial), "
    "701_StillsRaw_full/ and LabeledApproved_full/ (original CamVid), images/ and annotations/ with "
    "train2017/ and val2017/ (COCO-Stuff), or images/SPLIT/, labels/SPLIT/ and classes.yaml"
)


def _contents(root: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) if names else "an empty folder"
