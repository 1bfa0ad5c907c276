"""`icnet eval`."""

from __future__ import annotations

from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import EvalConfig


def evaluate(config: EvalConfig, console: LoopConsole) -> None:
    """Measure weights on labelled pictures: mIoU, per class, at the labels' own size.

    \b
    Examples:
      icnet eval camvid/                     the default weights on val
      icnet eval camvid/ --weights fast-scnn-camvid --json
      icnet eval cityscapes/ --scales 0.75,1,1.25 --flip
      icnet eval cityscapes/ --predictions out/ --ids dataset
    """
