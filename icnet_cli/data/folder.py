"""A user's own data: images/SPLIT/, labels/SPLIT/ and classes.yaml."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.classes import read_table
from icnet_cli.data.layout import Layout, folders_in, in_order, pictures_in

CLASSES_FILE = "classes.yaml"


class PlainFolder(Layout):
    """images/SPLIT/NAME.jpg, labels/SPLIT/NAME.png (values: `id` in classes.yaml), in sub-folders or not."""

    name = "folder"

    @classmethod
    def recognise(cls, root: Path) -> Layout | None:
        if not (root / CLASSES_FILE).is_file() or not {"images", "labels"} <= folders_in(root):
            return None
        return cls(root, read_table(root / CLASSES_FILE))

    def splits(self) -> tuple[str, ...]:
        return in_order(folders_in(self.root / "images") & folders_in(self.root / "labels"))

    def image_splits(self) -> tuple[str, ...]:
        return in_order(folders_in(self.root / "images"))

    def images(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / "images" / split)

    def label_files(self, split: str) -> dict[str, Path]:
        return pictures_in(self.root / "labels" / split)

    def label_path(self, split: str, name: str) -> Path:
        return self.root / "labels" / split / f"{name}.png"
