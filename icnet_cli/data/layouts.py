"""Which layout a dataset folder has, told from its structure alone."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.data.camvid import CamVid, CamVidOriginal
from icnet_cli.data.cityscapes import Cityscapes
from icnet_cli.data.coco_stuff import CocoStuff
from icnet_cli.data.folder import CLASSES_FILE, PlainFolder
from icnet_cli.data.layout import Layout, Sample
from icnet_cli.errors import input_error

__all__ = ["LAYOUTS", "Layout", "Sample", "recognise"]

# A classes.yaml is a user's own word, so it is asked first.
LAYOUTS: tuple[type[Layout], ...] = (PlainFolder, Cityscapes, CamVid, CocoStuff, CamVidOriginal)

_EXPECTED = (
    "leftImg8bit/ and gtFine/ (Cityscapes), train/ and trainannot/ (CamVid of the SegNet tutorial), "
    "701_StillsRaw_full/ and LabeledApproved_full/ (original CamVid), images/train2017/ and "
    "stuffthingmaps/train2017/ (COCO-Stuff), or images/SPLIT/, labels/SPLIT/ and classes.yaml"
)
_NAMES_SHOWN = 8


def recognise(root: Path) -> Layout:
    """The layout of the dataset folder `root`.

    Raises an input error where it is none that is known: what was found and what was expected.
    """
    if not root.is_dir():
        raise input_error(f"{root} is {'a file' if root.exists() else 'missing'}; a dataset is a folder")
    for kind in LAYOUTS:
        layout = kind.recognise(root)
        if layout:
            return layout
    if (root / "images").is_dir() and (root / "labels").is_dir() and not (root / CLASSES_FILE).is_file():
        raise input_error(
            f"{root} has images/ and labels/ but no {CLASSES_FILE}; expected one that lists the classes in "
            "the order of their label values: `classes: [road, car, person]`"
        )
    raise input_error(f"{root} has no known dataset layout: found {_contents(root)}; expected {_EXPECTED}")


def _contents(root: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more if names else "an empty folder"
