"""How much a network still finds in pictures that are noisy, soft, dark or badly compressed, as other cameras' are.

    python examples/spoiled_pictures.py camvid/ --split val --weights icnet-camvid,fast-scnn-camvid --every 6

Each picture is spoiled at its own size, then labelled as `icnet eval` does. It shows what one camera's pictures hide.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import load_weights
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pixels.cv import cv2

Picture = NDArray[np.uint8]


def noise(deviation: float) -> Callable[[Picture], Picture]:
    """Of a Gaussian, in grey levels; the same for every picture, so that networks can be compared."""

    def spoil(picture: Picture) -> Picture:
        grain = np.random.default_rng(0).normal(0, deviation, picture.shape)
        return np.rint(picture + grain).clip(0, 255).astype(np.uint8)

    return spoil


def blur(deviation: float) -> Callable[[Picture], Picture]:
    return lambda picture: cv2.GaussianBlur(picture, (0, 0), deviation)


def gamma(exponent: float) -> Callable[[Picture], Picture]:
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return lambda picture: table[picture]


def jpeg(quality: int) -> Callable[[Picture], Picture]:
    def spoil(picture: Picture) -> Picture:
        blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)  # as OpenCV takes it to weigh the luma
        _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    return spoil


SPOILED: dict[str, Callable[[Picture], Picture]] = {
    "as they are": lambda picture: picture,
    "noise 5": noise(5),
    "noise 10": noise(10),
    "blur 0.7": blur(0.7),
    "blur 1.2": blur(1.2),
    "jpeg 20": jpeg(20),
    "blur 1.2, jpeg 30": lambda picture: jpeg(30)(blur(1.2)(picture)),
    "dark (gamma 1.7)": gamma(1.7),
}


def main(root: Path, split: str, weights: list[str], every: int = 1) -> dict[str, list[float]]:
    """Print the mean IoU of each kind of picture, a column of each network; returns them."""
    dataset = SegmentationDataset(recognise(root), (split,))
    pairs = [dataset.read(index) for index in range(0, len(dataset), every)]
    loaded = [load_weights(find_weights(name)) for name in weights]
    networks = [Segmenter(one.network, one.meta, at_training_size=True) for one in loaded]
    print(f"{len(pairs)} pictures".ljust(20), *weights)
    found = {}
    for kind, spoil in SPOILED.items():
        confusions = [Confusion(dataset.classes.num_classes) for _ in networks]
        for picture, truth in pairs:
            spoiled = spoil(picture)
            for confusion, network in zip(confusions, networks, strict=True):
                confusion.update(truth, network.labels(spoiled))
        found[kind] = [confusion.miou for confusion in confusions]
        print(kind.ljust(20), *(f"{miou:.3f}" for miou in found[kind]))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", default="icnet-camvid,fast-scnn-camvid")
    parser.add_argument("--every", type=int, default=1, help="take every Nth picture")
    arguments = parser.parse_args()
    main(arguments.dataset, arguments.split, arguments.weights.split(","), arguments.every)
