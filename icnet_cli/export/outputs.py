"""Outputs that appear under their names only when they are complete and have passed their check."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icnet_cli.errors import output_error, why
from icnet_cli.outputs import hidden, sync_file


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden folder next to `path` to write files into; gone afterwards, whatever happens.

    Raises:
        IcnetError: exit 5 where nothing can be written there, or the disk is full.
    """
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=hidden(path)))
    except OSError as error:
        raise output_error(f"cannot write {path}: {why(error)}") from error
    try:
        yield folder
    except OSError as error:
        raise output_error(f"cannot write {path}: {why(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(parts: list[Path], folder: Path) -> None:
    """Move finished files into `folder`, the one that others are opened by last."""
    for part in parts:
        sync_file(part)
        part.replace(folder / part.name)
