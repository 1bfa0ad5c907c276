"""Add one number to each class's score, so that classes are neither too eager nor too shy on frames not yet seen.

    python examples/adjust_logits.py fit --on settled.safetensors camvid/ val -o adjustment.json
    python examples/adjust_logits.py apply adjustment.json icnet.safetensors -o adjusted.safetensors --share 0.75

A network learns its own frames until every class is found about as often as it is claimed. On frames that it never
saw that balance is gone: here cars, fences and pedestrians were claimed too often, poles and signs too seldom. This is
post-hoc logit adjustment (Menon et al., 2021, section 4.1) with offsets that are fitted instead of taken from the
classes' shares: a coordinate ascent on the mean IoU of frames that the weights did not learn from. `fit` takes several
pairs of weights and dataset and finds one set of offsets for all; `apply` adds a share of it to the classifiers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import icnet_cli
from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import load_weights, read_meta, save_weights
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.evaluation.predict import upsample_scores
from icnet_cli.inference.segmenter import protocol_size

Floats = NDArray[np.float32]
Sample = tuple[Floats, NDArray[np.uint8]]  # scores (pixels, K) and the true classes (pixels,)

STRIDES = (0.8, 0.4, 0.2)  # of the ascent, in nats; finer ones follow single frames
# ICNet's three; PSPNet's; the others'.
CLASSIFIERS = ("conv6_cls", "sub24_cls", "sub4_cls", "conv6", "classifier")


def sample(weights: str, data: Path, split: str, every: int = 3) -> Sample:
    """Scores at each `every`-th labelled pixel of both sides, as `icnet eval` has them before it takes the largest."""
    segmenter = icnet_cli.load(weights, device="cpu")
    dataset = SegmentationDataset(recognise(data), (split,))
    scores, truths = [], []
    for index in range(len(dataset)):
        image, truth = dataset.read(index)
        size = (image.shape[0], image.shape[1])
        with torch.inference_mode():
            x = segmenter.prepare([image], protocol_size(segmenter.meta.train_size, size))
            full = upsample_scores(
                segmenter.forward(x), size, segmenter.engine.align_corners, (x.shape[2], x.shape[3])
            )
        labels = truth[::every, ::every]
        labelled = labels != 255
        scores.append(full[0, :, ::every, ::every].permute(1, 2, 0).numpy()[labelled])
        truths.append(labels[labelled])
    return np.concatenate(scores), np.concatenate(truths)


def mean_iou(samples: Sequence[Sample], offsets: Floats) -> float:
    """The mean IoU with the offsets added, averaged over the samples."""
    total = 0.0
    for scores, truth in samples:
        confusion = Confusion(len(offsets))
        confusion.update(truth, (scores + offsets).argmax(axis=1).astype(np.uint8))
        total += confusion.miou
    return total / len(samples)


def fit(samples: Sequence[Sample]) -> Floats:
    """Offsets (K,), of mean 0: each class's in turn goes a stride up or down where the mean IoU grows by it."""
    offsets = np.zeros(samples[0][0].shape[1], np.float32)
    best = mean_iou(samples, offsets)
    for stride in STRIDES:
        for index in range(len(offsets)):
            for step in (stride, -stride):
                changed = offsets.copy()
                changed[index] += step
                found = mean_iou(samples, changed)
                if found > best:
                    best, offsets = found, changed
                    break
    return offsets - offsets.mean()


def add(network: nn.Module, offsets: Sequence[float]) -> None:
    """Add the offsets to the biases of the network's classifiers, in place."""
    for name in CLASSIFIERS:
        classifier = getattr(network, name, None)
        if classifier is not None:
            with torch.no_grad():
                classifier.bias += torch.tensor(offsets)


def fit_command(pairs: Sequence[Sequence[str]], output: Path) -> None:
    samples = [sample(weights, Path(data), split) for weights, data, split in pairs]
    offsets = fit(samples)
    names = read_meta(find_weights(pairs[0][0])).classes.names
    found = {name: round(float(value), 2) for name, value in zip(names, offsets, strict=True)}
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        print(f"{share:4.2f} of it:", *(f"{mean_iou([one], share * offsets):.4f}" for one in samples))


def apply_command(adjustment: Path, weights: Path, share: float, output: Path) -> None:
    loaded = load_weights(weights)
    offsets = json.loads(adjustment.read_text(encoding="utf-8"))
    if set(offsets) != set(loaded.meta.classes.names):
        raise SystemExit(f"{adjustment} is of other classes than {weights}")
    added = {name: round(share * offsets[name], 3) for name in loaded.meta.classes.names}
    add(loaded.network, list(added.values()))
    words = ", ".join(f"{name} {value:+.2f}" for name, value in added.items())
    card = loaded.meta.card | {"logit_adjustment": words}
    save_weights(output, loaded.network, replace(loaded.meta, card=card))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("fit")
    fitting.add_argument(
        "--on", nargs=3, action="append", required=True, metavar=("WEIGHTS", "DATASET", "SPLIT")
    )
    applying = commands.add_parser("apply")
    applying.add_argument("adjustment", type=Path)
    applying.add_argument("weights", type=Path)
    applying.add_argument("--share", type=float, default=1.0)
    for command in (fitting, applying):
        command.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "fit":
        fit_command(args.on, args.output)
    else:
        apply_command(args.adjustment, args.weights, args.share, args.output)


if __name__ == "__main__":
    main()
