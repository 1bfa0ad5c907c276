"""CamVid in its two forms: the SegNet tutorial's (values 0 to 11) and the original (32 colours).

Brostow, Fauqueur and Cipolla, "Semantic object classes in video", 2009.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from icnet_cli.classes import IGNORE_INDEX, ClassTable, load_table
from icnet_cli.classes.table import UNKNOWN, Color
from icnet_cli.data.files import read_raw_labels
from icnet_cli.data.layout import SPLIT_ORDER, Labels, Layout, Sample, folders_in, in_order, pictures_in
from icnet_cli.errors import input_error

_IMAGE_FOLDERS = ("701_StillsRaw_full", "701_StillsRaw", "CamVid_RGB", "images")
_LABEL_FOLDERS = ("LabeledApproved_full", "LabeledApproved", "CamVid_Label", "labels")
_LABEL_ENDING = "_L.png"
# A few stray pixels of another colour in a hand-painted picture are ignored; more are another dataset.
_STRAY_SHARE = 1e-3


class CamVid(Layout):
    """As the SegNet tutorial lays it out: SPLIT/NAME.png and SPLITannot/NAME.png."""

    name = "camvid"

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        layout = cls(root, load_table("camvid"))
        return layout if layout.splits() else None

    def splits(self) -> tuple[str, ...]:
        folders = folders_in(self.root)
        return in_order({name for name in folders if f"{name}annot" in folders})

    def images(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / split)

    def label_files(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / f"{split}annot")

    def label_path(self, split: str, name: str) -> Path:
        return self.root / f"{split}annot" / f"{name}.png"


class CamVidOriginal(Layout):
    """The original: all frames in one folder, their 32-colour labels (NAME_L.png) in another.

    The split is that of train.txt, val.txt and test.txt where they lie beside the folders, else the usual one
    (367, 101 and 233 frames), which goes by drive and frame number. A copy that is cut into SPLIT/ and
    SPLIT_labels/ is known too.
    """

    name = "camvid-original"
    color_labels: ClassVar[bool] = True

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        layout = cls(root, load_table("camvid"))
        labels = next((layout._labels_folder(split) for split in layout._all_splits()), None)
        return layout if labels and pictures_in(labels, _LABEL_ENDING) else None

    def splits(self) -> tuple[str, ...]:
        if self._is_cut():
            return self._all_splits()
        return tuple(split for split in SPLIT_ORDER if self.images(split))

    def images(self, split: str) -> dict[str, Path]:
        folder = self._images_folder(split)
        images = pictures_in(folder, flat=True)
        if self._is_cut():
            return images
        if self._has_lists():
            return {name: images.get(name, folder / f"{name}.png") for name in self._listed(split)}
        return {name: path for name, path in images.items() if usual_split(path) == split}

    def label_files(self, split: str) -> dict[str, Path]:
        labels = pictures_in(self._labels_folder(split), _LABEL_ENDING, flat=True)
        if self._is_cut():
            return labels
        names = self._listed(split) if self._has_lists() else None
        return {
            name: path
            for name, path in labels.items()
            if (usual_split(Path(name)) == split if names is None else name in names)
        }

    def label_path(self, split: str, name: str) -> Path:
        return self._labels_folder(split) / f"{name}{_LABEL_ENDING}"

    def read_labels(self, sample: Sample) -> Labels:
        colors = read_raw_labels(sample.labels, color=True)
        labels = labels_of_colors(colors, self.classes)
        unknown = labels == UNKNOWN
        if unknown.any():
            if unknown.mean() > _STRAY_SHARE:
                raise input_error(
                    f"{sample.labels} holds colors like {colors[unknown][0].tolist()} in {unknown.mean():.1%} of "
                    f"it; expected the {len(self.classes.colors)} colors of CamVid's label pictures"
                )
            labels[unknown] = IGNORE_INDEX
        return labels

    def _is_cut(self) -> bool:
        return any(f"{name}_labels" in folders_in(self.root) for name in SPLIT_ORDER)

    def _all_splits(self) -> tuple[str, ...]:
        if self._is_cut():
            folders = folders_in(self.root)
            return in_order({name for name in folders if f"{name}_labels" in folders})
        folders = folders_in(self.root)
        both = not folders.isdisjoint(_IMAGE_FOLDERS) and not folders.isdisjoint(_LABEL_FOLDERS)
        return SPLIT_ORDER if both else ()

    def _images_folder(self, split: str) -> Path:
        return self.root / (split if self._is_cut() else self._first(_IMAGE_FOLDERS))

    def _labels_folder(self, split: str) -> Path:
        return self.root / (f"{split}_labels" if self._is_cut() else self._first(_LABEL_FOLDERS))

    def _first(self, names: tuple[str, ...]) -> str:
        folders = folders_in(self.root)
        return next(name for name in names if name in folders)

    def _has_lists(self) -> bool:
        return any((self.root / f"{split}.txt").is_file() for split in SPLIT_ORDER)

    def _listed(self, split: str) -> frozenset[str]:
        return _names_in(self.root / f"{split}.txt")


def _names_in(path: Path) -> frozenset[str]:
    """The frames of a list file: a name or a path a line, with the path of its labels after it or without."""
    if not path.is_file():
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(f"the list {path} could not be read: {error}") from None
    return frozenset(Path(line.split()[0]).stem for line in lines if line.split())


_FRAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")


def usual_split(path: Path) -> str:
    """The split of an original CamVid frame as in Sturgess et al. 2009 and in the SegNet tutorial.

    Two drives are for training but for the densely labelled stretch of one, which is `val`; the dusk
    drive is cut in two halves; the last drive is for testing. Raises an input error for another name.
    """
    match = _FRAME.match(path.stem)
    if not match:
        raise input_error(
            f"{path} is no frame of CamVid's four drives; list the frames of each split in train.txt, val.txt "
            "and test.txt"
        )
    drive, frame = match[1], int(match[2])
    if drive == "Seq05VD":
        return "test"
    if drive == "0001TP":
        return "train" if frame <= 8520 else "test"
    return "val" if drive == "0016E5" and 7959 <= frame <= 8159 else "train"


@cache
def _color_lookup(colors: tuple[tuple[Color, int, str], ...]) -> Labels:
    """uint8 (2^24,): the train id of each colour 0xRRGGBB, 254 for a colour not in the table."""
    lookup = np.full(1 << 24, UNKNOWN, np.uint8)
    for (red, green, blue), train_id, _ in colors:
        lookup[red << 16 | green << 8 | blue] = train_id
    return lookup


def labels_of_colors(colors: Labels, table: ClassTable) -> Labels:
    """RGB (H, W, 3) to train ids uint8 (H, W); 255 ignored, 254 for a colour not in the table."""
    red, green, blue = (colors[..., channel].astype(np.int32) for channel in range(3))
    return _color_lookup(table.colors)[red << 16 | green << 8 | blue]
