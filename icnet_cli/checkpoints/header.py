"""What a weights file says of its classes, read without torch, so that a wrong word is refused in a moment."""

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
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                return None
            header = json.loads(file.read(length))
        return ClassTable.from_dict(json.loads(header["__metadata__"][HEADER_KEY])["classes"])
    except (IcnetError, OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
