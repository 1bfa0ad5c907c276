"""Cityscapes: leftImg8bit/SPLIT/CITY/, gtFine/SPLIT/CITY/ and gtCoarse/train_extra/CITY/."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.classes import load_table
from icnet_cli.data.layout import TRAIN_IDS_SUFFIX, Layout, folders_in, in_order, pictures_in

_IMAGES = "leftImg8bit"
_FINE, _COARSE = "gtFine", "gtCoarse"
_COARSE_SPLIT = "train_extra"  # the one that has no fine labels
_ARCHIVES = {
    "train": "gtFine_trainvaltest.zip",
    "val": "gtFine_trainvaltest.zip",
    _COARSE_SPLIT: "gtCoarse.zip",
}
_HELP = {split: f"unpack {archive} there" for split, archive in _ARCHIVES.items()} | {
    # The true ones are kept by the benchmark's server.
    "test": "for test those of gtFine_trainvaltest.zip will do, blank as they are (every pixel is ignored)"
}


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

    def without_split(self, split: str) -> str:
        """Also which labels to add, where the pictures are there: they come in another archive."""
        if split not in folders_in(self.root / _IMAGES):
            return super().without_split(split)
        labels = f"{_COARSE if split == _COARSE_SPLIT else _FINE}/{split}"
        return (
            f"{self.root} ({self.name}) has the pictures of {split!r} ({_IMAGES}/{split}) but not their labels "
            f"({labels}), which are needed; {_HELP.get(split, 'put them there')}"
        )

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
