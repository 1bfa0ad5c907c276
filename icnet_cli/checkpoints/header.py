"""What a weights file says of itself, read without torch and without its tensors: it answers in a moment."""

from __future__ import annotations

import json
from pathlib import Path

from icnet_cli.classes import ClassTable
from icnet_cli.errors import IcnetError

HEADER_KEY = "icnet"
MAX_HEADER_BYTES = 8 << 20


def classes_of(path: Path) -> ClassTable | None:
    """The classes in the header of a weights file.

    None where it cannot be told here: of an exported file, or of one that whoever loads it will refuse.
    """
    try:
        return ClassTable.from_dict(json.loads(_description(path))["classes"])
    except (IcnetError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def is_own(path: Path) -> bool:
    """Whether a file has our description in its header; its tensors may be damaged."""
    try:
        return bool(_description(path))
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return False


def _description(path: Path) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError("no header of ours is as long")
        header = json.loads(file.read(length))
    return header["__metadata__"][HEADER_KEY]
