"""Teach bundled weights one's own classes: a new classifier on a trained network, by hand in plain torch.

    python examples/fine_tune.py mydata/ mine.safetensors     # mydata/: images/, labels/ and classes.yaml

`icnet train mydata/ --pretrained fast-scnn-camvid` does this with augmentation, schedules, resuming.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import icnet_cli
from icnet_cli.checkpoints.format import WeightsMeta, save_weights
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.models import build
from icnet_cli.pixels.files import labels_at, shrink_or_grow


def main(data: str, output: str, weights: str = "fast-scnn-camvid", steps: int = 200) -> float:
    dataset = SegmentationDataset(recognise(Path(data)), ("train",))
    old = icnet_cli.load(weights)
    config = old.network.config_dict() | {"num_classes": dataset.classes.num_classes}
    network = build(old.meta.model, config)
    fresh = network.state_dict()
    kept = {k: v for k, v in old.network.state_dict().items() if v.shape == fresh[k].shape}
    network.load_state_dict(kept, strict=False)  # all but the classifiers

    size = old.meta.train_size  # of every picture, so that what the file says of itself stays true
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(steps):
        pairs = [dataset.read((2 * step + i) % len(dataset)) for i in range(2)]
        images = [shrink_or_grow(image, size) for image, _ in pairs]
        x = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images])
        truth = torch.stack([torch.from_numpy(labels_at(labels, size)) for _, labels in pairs]).long()
        scores = network.train()(old.meta.normalisation.apply(x))[0]
        logits = torch.nn.functional.interpolate(scores, size=truth.shape[1:], mode="bilinear")
        loss = torch.nn.functional.cross_entropy(logits, truth, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    meta = WeightsMeta.of(network, dataset.classes, size, normalisation=old.meta.normalisation)
    save_weights(Path(output), network, meta)
    return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a dataset folder with images, labels and classes.yaml")
    parser.add_argument("output", help="the .safetensors file to write")
    parser.add_argument("--weights", default="fast-scnn-camvid")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    print(f"loss {main(arguments.data, arguments.output, arguments.weights, arguments.steps):.3f}")
