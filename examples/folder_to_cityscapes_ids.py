"""Label every picture of a folder and write Cityscapes' own ids (road 7, person 24, ...), as its server wants them.

    python examples/folder_to_cityscapes_ids.py pictures/ labels/ --weights my-cityscapes.safetensors

Other weights' classes are matched by name; what Cityscapes does not know becomes 0, its "unlabeled".
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import icnet_cli
from icnet_cli.classes import ClassTable, load_table
from icnet_cli.pixels.files import read_picture, write_labels_png

SAME = {"pavement": "sidewalk", "tree": "vegetation", "sign symbol": "traffic sign", "pedestrian": "person",
        "bicyclist": "rider"}  # fmt: skip


def cityscapes_ids(classes: ClassTable) -> np.ndarray:
    """uint8 (256,): train id of these classes -> Cityscapes id."""
    cityscapes = load_table("cityscapes")
    known = dict(zip(cityscapes.names, cityscapes.ids, strict=True))
    lookup = np.zeros(256, np.uint8)
    for train_id, name in enumerate(classes.names):
        lookup[train_id] = known.get(SAME.get(name, name), 0)
    return lookup


def main(pictures: str, output: str, weights: str = "fast-scnn-camvid") -> None:
    segmenter = icnet_cli.load(weights)
    lookup = cityscapes_ids(segmenter.classes)
    Path(output).mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(pictures).iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            labels = segmenter.labels(read_picture(path))
            write_labels_png(Path(output) / f"{path.stem}.png", lookup[labels])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", help="a folder of .png and .jpg files")
    parser.add_argument("output", help="the folder of label pictures, which is made")
    parser.add_argument("--weights", default="fast-scnn-camvid")
    arguments = parser.parse_args()
    main(arguments.pictures, arguments.output, arguments.weights)
