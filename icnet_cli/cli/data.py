"""`icnet data`: check."""

from __future__ import annotations

from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import DataCheckConfig


def check(config: DataCheckConfig, console: LoopConsole) -> None:
    """Find what is wrong with a dataset before training does, and say the fix for each."""
