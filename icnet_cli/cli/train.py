"""`icnet train`."""

from __future__ import annotations

from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import TrainConfig


def train(config: TrainConfig, console: LoopConsole) -> None:
    """Train a network on a folder of pictures and labels.

    \b
    Examples:
      icnet train camvid/                    ICNet by the layout's own recipe
      icnet train camvid/ --model fast-scnn --time-budget 90m
      icnet train cityscapes/ --keep 0.5 --splits train,val
      icnet train camvid/ --resume runs/train/icnet-1
    """
