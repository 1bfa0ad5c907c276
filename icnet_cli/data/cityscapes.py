"""Cityscapes: leftImg8bit/SPLIT/CITY/, gtFine/SPLIT/CITY/ and gtCoarse/train_extra/CITY/."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.classes import load_table
from icnet_cli.data.layout import TRAIN_IDS_SUFFIX, Layout, folders_in, in_order, pictures_in

_IMAGES = "leftImg8bit"
_FINE, _COARSE = "gtFine", "gtCoarse"


class Cityscapes(Layout):
    """Label files are the `labelIds` that Cityscapes ships; `labelTrainIds` are read where those are absent.

    `train`, `val` and `test` have fine labels, `train_extra` (20,000 frames) coarse ones. The coarse labels of
    `train` and `val` are of frames that have fine ones, and are left alone.
    """

    name = "cityscapes"

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        folders = folders_in(root)
        if _IMAGES not in folders or folders.isdisjoint((_FINE, _COARSE)):
            return None
        return cls(root, load_table("cityscapes"))

    def splits(self) -> tuple[str, ...]:
        labelled = folders_in(self.root / _FINE) | folders_in(self.root / _COARSE)
        return in_order(labelled & folders_in(self.root / _IMAGES))

    def images(self, split: str) -> dict[str, Path]:
        endings = tuple(f"_{_IMAGES}{suffix}" for suffix in (".png", ".jpg"))
        return pictures_in(self.root / _IMAGES / split, endings)

    def label_files(self, split: str) -> dict[str, Path]:
        kind, folder = self._kind(split), self.root / self._kind(split) / split
        train_ids = pictures_in(folder, f"_{kind}{TRAIN_IDS_SUFFIX}")
        return train_ids | pictures_in(folder, f"_{kind}_labelIds.png")

    def label_path(self, split: str, name: str) -> Path:
        kind = self._kind(split)
        return self.root / kind / split / f"{name}_{kind}_labelIds.png"

    def _kind(self, split: str) -> str:
        return _FINE if (self.root / _FINE / split).is_dir() else _COARSE
