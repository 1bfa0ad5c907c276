"""JSON files of ours, read with a bound: any file may stand where one of them is expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 16 << 20  # the longest of ours, a page of measurements, is a thousandth of it


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """The document in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more than `most` bytes, is not UTF-8, is no JSON, or is nested deeper than any of ours.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)  # not its size, which a device or a pipe does not tell
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
