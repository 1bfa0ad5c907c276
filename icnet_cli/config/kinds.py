"""What is written, as far as its name tells; and what of the options that is read for it."""

from __future__ import annotations

import os
from pathlib import Path

from icnet_cli.config.live import NOWHERE
from icnet_cli.config.shared import STDOUT

# The videos that are written, each by FFmpeg's muxer, and the pictures.
MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
PICTURES = (".png", ".jpg", ".jpeg")

_LABEL_VIDEO, LABEL_CODEC = ".mkv", "ffv1"  # the container that holds attachments, and what loses nothing


def named_kind(output: Path) -> str | None:
    """`window`, `stream`, `folder`, `video` or `picture`; None for a folder to be made, or what cannot be written."""
    if output == NOWHERE:
        return "window"
    if str(output) == STDOUT:
        return "stream"
    if os.path.isdir(output):
        return "folder"
    suffix = output.suffix.lower()
    if suffix in MUXERS:
        return "video"
    return "picture" if suffix in PICTURES else None


def is_named_labels(output: Path) -> bool:
    """Whether an output's name asks for labels by itself: labels.mkv, street.labels.mkv."""
    words = output.stem.lower()
    return words == "labels" or words.endswith((".labels", "_labels", "-labels"))


def holds_labels(output: Path) -> bool:
    """Whether a video of that name can hold labels and their meaning."""
    return output.suffix.lower() == _LABEL_VIDEO


def default_view(kind: str, output: Path) -> str:
    """What is shown where nobody says it."""
    return "labels" if kind == "folder" or is_named_labels(output) else "overlay"
