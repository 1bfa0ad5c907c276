"""What every dataset layout has: splits, samples, and label files read as train ids.

A layout lists files by name; whether they are whole and fit is asked by `data.dataset` and `data.check`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.classes.table import UNKNOWN
from icnet_cli.data.files import read_raw_labels
from icnet_cli.errors import IcnetError, input_error
from icnet_cli.pixels.files import PICTURE_SUFFIXES, files_below

Labels = NDArray[np.uint8]

SPLIT_ORDER = ("train", "val", "test")  # others follow by name
TRAIN_IDS_SUFFIX = "_labelTrainIds.png"  # label files that hold train ids, wherever they are found


class Sample(NamedTuple):
    """One image and its labels. `name` is the stem with its sub-folder, unique within the split."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class Layout(ABC):
    """A dataset folder that was recognised. The sub-classes say where the files of a split are."""

    root: Path
    classes: ClassTable
    name: ClassVar[str]
    color_labels: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def recognise(cls, root: Path) -> Layout | None:
        """The layout, where the structure of the folder `root` is this one."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits that have labels: train, val, test first, where they exist."""

    def has_split(self, split: str) -> bool:
        """Whether `samples` knows the split, by any of its names."""
        return split in self.splits()

    def image_splits(self) -> tuple[str, ...]:
        """The splits that have images, with labels or without."""
        return self.splits()

    @abstractmethod
    def images(self, split: str) -> dict[str, Path]:
        """Every image of the split by sample name."""

    @abstractmethod
    def label_files(self, split: str) -> dict[str, Path]:
        """Every label file of the split by sample name, also those without an image."""

    @abstractmethod
    def label_path(self, split: str, name: str) -> Path:
        """Where the labels of a sample belong, whether they are there or not."""

    def samples(self, split: str) -> list[Sample]:
        """Every image of the split with the place of its labels, sorted by name.

        Raises an input error for a split that does not exist or is empty.
        """
        if not self.has_split(split):
            raise input_error(self.without_split(split))
        labels = self.label_files(split)
        samples = [
            Sample(name, image, labels.get(name) or self.label_path(split, name))
            for name, image in sorted(self.images(split).items())
        ]
        if not samples:
            raise input_error(
                f"the split {split!r} of {self.root} ({self.name}) is empty: found no image, expected one or more"
            )
        return samples

    def without_split(self, split: str) -> str:
        """What to say where the split does not exist: which ones do."""
        found = ", ".join(self.splits()) or "none with images and labels"
        return f"{self.root} ({self.name}) has no split {split!r}; found {found}"

    def lookup(self, labels: Path) -> Labels:
        """uint8 (256,): train id of each value in this label file, 255 ignored, 254 not in the table."""
        if labels.name.endswith(TRAIN_IDS_SUFFIX):
            return self.classes.train_ids_of_train_ids()
        return self.classes.train_ids_of_ids()

    def read_labels(self, sample: Sample) -> Labels:
        """The labels as uint8 (H, W) train ids, 255 ignored.

        Raises an input error naming the file when it is damaged or holds a value outside the class table.
        """
        values = read_raw_labels(sample.labels)
        lookup = self.lookup(sample.labels)
        labels = lookup[values]
        unknown = labels == UNKNOWN
        if unknown.any():
            raise self._misfit(sample.labels, np.unique(values[unknown]).tolist(), lookup)
        return labels

    def _misfit(self, path: Path, values: list[int], lookup: Labels) -> IcnetError:
        plural = "s" if len(values) > 1 else ""
        expected = as_ranges(np.flatnonzero(lookup != UNKNOWN).tolist())
        return input_error(
            f"{path} holds the label value{plural} {as_ranges(values)}, which the class table "
            f"{self.classes.name!r} does not list; expected {expected} (`icnet data check` says more)"
        )


def as_ranges(values: list[int]) -> str:
    """Ascending whole numbers as a person writes them: `0-11, 255`."""
    breaks = [index for index in range(1, len(values)) if values[index] != values[index - 1] + 1]
    runs = [values[a:b] for a, b in zip([0, *breaks], [*breaks, len(values)], strict=True)]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def pictures_in(
    folder: Path, ending: str | tuple[str, ...] = PICTURE_SUFFIXES, flat: bool = False
) -> dict[str, Path]:
    """The files in `folder` and below that end so, by name: without the ending, with their sub-folder.

    `flat` leaves the sub-folder out of the name. A folder that is missing holds none. Raises an input error
    for two files of one name.
    """
    found: dict[str, Path] = {}
    endings = (ending,) if isinstance(ending, str) else ending
    for path in sorted(files_below(folder)):
        match = next((end for end in endings if path.name.lower().endswith(end.lower())), None)
        if match is None or not path.is_file():
            continue
        stem = path.name[: -len(match)]
        name = stem if flat else (path.relative_to(folder).parent / stem).as_posix()
        if name in found:
            raise input_error(f"{found[name]} and {path} are two pictures of one name; keep one of them")
        found[name] = path
    return found


def in_order(splits: set[str]) -> tuple[str, ...]:
    """Splits in the order a person expects."""
    return (*(name for name in SPLIT_ORDER if name in splits), *sorted(splits - set(SPLIT_ORDER)))


def folders_in(root: Path) -> set[str]:
    """The names of the folders in `root`; none where it is missing."""
    if not root.is_dir():
        return set()
    return {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
