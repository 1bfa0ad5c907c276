"""`icnet segment`."""

from __future__ import annotations

from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import SegmentConfig


def segment(config: SegmentConfig, console: LoopConsole) -> None:
    """Paint the classes of every pixel over road video or pictures.

    \b
    Examples:
      icnet segment street.mp4 -o out.mp4
      icnet segment street.mp4 -o out.mp4 --view side-by-side --legend
      icnet segment street.mp4 -o clip.mp4 --start 1:00 --end 1:20
      icnet segment "frames/*.png" -o labels/       a label PNG a picture
      icnet segment street.mp4 -o labels/           a label PNG a frame
    """
