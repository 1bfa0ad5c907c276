"""Average the weights of several trainings of one network, one of which began where another ended.

    python examples/average_weights.py runs/a/last.safetensors runs/b/last.safetensors -o averaged.safetensors

Such weights lie in one basin, and their mean may label new pictures better than each of them: Wortsman et al., "Model
soups", 2022, section 3.1 (the uniform soup). Of trainings that began apart the mean is of no use.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from icnet_cli.checkpoints.format import load_weights, save_weights


def mean(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each tensor's mean, BatchNorm's statistics too; what only counts (num_batches_tracked) is the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if first.is_floating_point() else first
        for name, first in states[0].items()
    }


def main(files: Sequence[Path], output: Path) -> None:
    loaded = [load_weights(path) for path in files]
    first = loaded[0]
    for path, other in zip(files[1:], loaded[1:], strict=True):
        if (other.meta.model, other.meta.config) != (first.meta.model, first.meta.config):
            raise SystemExit(f"{path} is not of the same network as {files[0]}")
        if (other.meta.classes, other.meta.normalisation) != (first.meta.classes, first.meta.normalisation):
            raise SystemExit(f"{path} has other classes or another normalisation than {files[0]}")
    first.network.load_state_dict(mean([one.network.state_dict() for one in loaded]))
    # What the first one measured is no figure of the mean's.
    card = {key: value for key, value in first.meta.card.items() if key not in ("metrics", "best_miou")}
    card["averaged"] = f"the mean of {len(files)} weights"
    save_weights(output, first.network, replace(first.meta, card=card))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    main(arguments.files, arguments.output)
