"""An output's name, checked before any work: the rules are the same for every file that a command writes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from icnet_cli.errors import output_error, printable, usage_error


def refuse_taken(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Path:
    """Check that a file may be written at `path`, and return it with links resolved.

    Raises:
        IcnetError: USAGE where it is one of the inputs (hard and symbolic links included), a folder or a device, or
            exists and may not be overwritten.
    """
    target = Path(os.path.realpath(path))
    for source in inputs:
        with contextlib.suppress(OSError):  # one of the two is not there
            if os.path.samefile(source, target):
                raise usage_error(f"{printable(path)} is the input itself; name another output")
    if target.is_dir():
        raise usage_error(f"{printable(path)} is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise usage_error(f"{printable(path)} is not a regular file; name another output")
    if target.exists() and not overwrite:
        raise usage_error(f"{printable(path)} exists; overwrite it with -y or name another output")
    return target


def refuse_unwritable(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Path:
    """`refuse_taken`, for a file whose folder is not made for it.

    Raises:
        IcnetError: as `refuse_taken`; OUTPUT where its folder is missing.
    """
    target = refuse_taken(path, overwrite=overwrite, inputs=inputs)
    if not target.parent.is_dir():
        raise output_error(f"cannot write {printable(path)}: its folder does not exist")
    return target
