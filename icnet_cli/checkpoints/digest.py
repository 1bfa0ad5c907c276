"""SHA-256 of weights files, and where the published one stands."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from icnet_cli.errors import weights_error, why

SUMS = "SHA256SUMS"
_HEX = r"(?<![0-9a-fA-F])([0-9a-fA-F]{64})(?![0-9a-fA-F])"


def sha256(path: Path) -> str:
    """The file's SHA-256, 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise weights_error(f"{path} cannot be read: {why(error)}") from error


def published_sha256(path: Path) -> tuple[str, Path] | None:
    """The digest that is written down for this file, and where.

    Looked for in SHA256SUMS beside it (lines as `sha256sum` writes them), in FILE.sha256, and in its model card,
    the .md of the same name.
    """
    for place, pattern in (
        (path.with_name(SUMS), rf"^{_HEX}\s+[* ]?{re.escape(path.name)}\s*$"),
        (path.with_name(path.name + ".sha256"), _HEX),
        (path.with_suffix(".md"), _HEX),
    ):
        try:
            found = re.search(pattern, place.read_text(encoding="utf-8"), re.MULTILINE)
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found[1].lower(), place
    return None
