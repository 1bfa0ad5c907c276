"""What a run that was stopped has left of its output, for those who ask before another run or after it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from icnet_cli.errors import printable
from icnet_cli.video.partfolder import PartFolder, part_of

from .outputs import INDEX_FILE


def shown_part(target: Path) -> str:
    """The folder of an output as a user would type it."""
    part = part_of(target)
    with contextlib.suppress(ValueError):
        part = part.relative_to(Path.cwd())
    return f"{printable(part)}/"


def is_finished(output: Path, *, overwrite: bool) -> bool:
    """Whether a run to `output` that was to be resumed had done everything.

    Its folder is removed last: one that is left of it is removed now. With `overwrite` an output without a folder may
    be an older one, so nothing is known.
    """
    target = Path(os.path.realpath(output))
    folder = PartFolder(target)
    if not folder.path.exists() or folder.is_bare:
        whole = target / INDEX_FILE if target.is_dir() else target
        finished = whole.exists() and not overwrite
    else:
        finished = folder.is_published
    if finished and folder.path.exists():
        folder.claim()
        folder.discard()
    return finished


def left_behind(output: Path) -> str | None:
    """What a stopped run has left of `output`, in words; None where it left nothing that can be resumed."""
    target = Path(os.path.realpath(output))
    folder = PartFolder(target)
    job = folder.job
    if job is None or not job.get("resumable"):
        return None
    newest = folder.newest()
    if newest is None:
        return None
    seconds = newest["seconds"]
    much = "all of it" if seconds is None else f"the first {clock(seconds)} of it"
    return f"{shown_part(target)} holds {much}"


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
