"""Training checkpoints: everything a run needs to go on as if it had never stopped.

These are torch files, not safetensors, because they hold an optimizer; they are only ever read with
`torch.load(weights_only=True)`, which cannot run code.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from icnet_cli.checkpoints.format import write_atomically
from icnet_cli.errors import input_error

KEPT = 2

# What `torch.load` ends with where a file is damaged or none of torch's: its unpickler trusts what it reads to be what
# was written.
DAMAGED = (
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    pickle.UnpicklingError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def save_state(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `checkpoint-STEP.pt`, then let go of all but the last two."""
    path = state_path(folder, step)
    write_atomically(path, lambda part: _save(state, part))
    for old in list_states(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _save(state: dict[str, Any], part: Path) -> None:
    try:
        with part.open("wb") as file:  # given a path, torch writes it itself and keeps the disk's reason
            torch.save(state, file)
    except RuntimeError as error:
        # A full disk: torch complains of its archive's position, and the reason is behind it.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def state_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"checkpoint-{step:08d}.pt"


def list_states(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("checkpoint-*.pt"))


_FOLDER = 0x10  # MS-DOS's mark, which torch writes nowhere: a tensor that has it is read as nothing at all


def _load(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.external_attr & _FOLDER or item.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile("no entry of torch's")
        if archive.testzip() is not None:  # torch does not look at the checksums that it writes
            raise zipfile.BadZipFile("it is not what was written")
    return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def load_state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a run folder that can be read.

    Raises:
        IcnetError: exit 3 where there is none.
    """
    found = list_states(folder)
    for path in reversed(found):
        try:
            return _load(path)
        except DAMAGED:
            continue  # cut short by a crash of the disk: the one before it is whole
    if found:
        names = ", ".join(path.name for path in found)
        raise input_error(
            f"{folder}: no checkpoint can be read, all are damaged ({names}); train anew with another -o"
        )
    raise input_error(f"{folder} holds no checkpoint to resume from (checkpoint-*.pt)")
