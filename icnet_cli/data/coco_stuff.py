"""COCO-Stuff 164k: COCO's images of 2017 and a PNG of stuff and things for each."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.classes import load_table
from icnet_cli.data.layout import TRAIN_IDS_SUFFIX, Layout, Sample, folders_in, in_order, pictures_in

_YEAR = "2017"
_LABEL_FOLDERS = ("stuffthingmaps", "annotations/stuffthingmaps", "annotations", "labels")


class CocoStuff(Layout):
    """images/SPLIT2017/NAME.jpg and stuffthingmaps/SPLIT2017/NAME.png.

    images/ may be left out, and annotations/ may stand for stuffthingmaps/. The label values are COCO's category
    ids less one, 255 unlabelled; files NAME_labelTrainIds.png hold train ids and are read where the others are
    absent. The splits are `train` and `val`; train2017 and val2017 are understood too.
    """

    name = "coco-stuff"

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        layout = cls(root, load_table("coco-stuff"))
        return layout if layout.splits() else None

    def splits(self) -> tuple[str, ...]:
        both = folders_in(self._images()) & folders_in(self._labels())
        return in_order({name.removesuffix(_YEAR) for name in both if name.endswith(_YEAR)})

    def has_split(self, split: str) -> bool:
        return super().has_split(split.removesuffix(_YEAR))

    def samples(self, split: str) -> list[Sample]:
        return super().samples(split.removesuffix(_YEAR))

    def images(self, split: str) -> dict[str, Path]:
        return pictures_in(self._images() / f"{split}{_YEAR}")

    def label_files(self, split: str) -> dict[str, Path]:
        folder = self._labels() / f"{split}{_YEAR}"
        train_ids, ids = pictures_in(folder, TRAIN_IDS_SUFFIX), pictures_in(folder, ".png")
        known = set(train_ids.values())  # 118,000 of them, which end in .png as well
        return train_ids | {name: path for name, path in ids.items() if path not in known}

    def label_path(self, split: str, name: str) -> Path:
        return self._labels() / f"{split}{_YEAR}" / f"{name}.png"

    def _images(self) -> Path:
        return self.root / "images" if (self.root / "images").is_dir() else self.root

    def _labels(self) -> Path:
        """The first of the usual label folders that holds a folder of a split."""
        for name in _LABEL_FOLDERS:
            if any(split.endswith(_YEAR) for split in folders_in(self.root / name)):
                return self.root / name
        return self.root / _LABEL_FOLDERS[0]
