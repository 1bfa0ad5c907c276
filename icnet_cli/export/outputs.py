"""Outputs that appear under their names only when they are complete and have passed their check."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icnet_cli.errors import output_error, usage_error


def refuse_taken(path: Path, overwrite: bool, inputs: tuple[Path, ...] = ()) -> None:
    """Check an output's name before any work.

    Raises:
        IcnetError: exit 2 where it is an input, a folder, or exists and may not be replaced; exit 5 where its folder
            is missing.
    """
    if any(path.exists() and source.exists() and os.path.samefile(path, source) for source in inputs):
        raise usage_error(f"{path} is the input itself; name another output")
    if path.is_dir():
        raise usage_error(f"{path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise usage_error(f"{path} exists; overwrite it with -y or name another output")
    if not path.parent.is_dir():
        raise output_error(f"cannot write {path}: its folder does not exist")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden folder next to `path` to write files into; gone afterwards, whatever happens.

    Raises:
        IcnetError: exit 5 where nothing can be written there, or the disk is full.
    """
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:80]}."))
    except OSError as error:
        raise output_error(f"cannot write {path}: {error.strerror}") from error
    try:
        yield folder
    except OSError as error:
        raise output_error(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(parts: list[Path], folder: Path) -> None:
    """Move finished files into `folder`, the one that others are opened by last."""
    for part in parts:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(folder / part.name)
