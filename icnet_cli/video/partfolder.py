"""NAME.part/: what a run has done so far of an output called NAME, for one process at a time.

    job.json            what the run is, by which a later one knows whether it is the same
    000000.segment ...  what is done, in order
    whole.mp4, whole/   the output on its way to its name
    published.json      which file that is, written just before it gets its name

A crash at any point leaves the folder so that the next run can tell what is missing, if anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icnet_cli.documents import read_json
from icnet_cli.errors import printable, usage_error
from icnet_cli.video.atomic import PartFile, sync_folder, writing_error
from icnet_cli.video.segments import SUFFIX, document_of

PART_SUFFIX = ".part"
_JOB, _PUBLISHED, _LOCK, _OLD, _WHOLE = "job.json", "published.json", "lock", "old", "whole"
_OURS = re.compile(r"job\.json|published\.json|lock|old|whole(\.\w+)?2?|\d{6,}\.(segment|tmp)|\w+\.json\.tmp")
_LONGEST_NAME = 255  # bytes, on every file system in use


def part_of(target: Path) -> Path:
    """Where a run keeps what it has done of `target`."""
    name = target.name + PART_SUFFIX
    if len(os.fsencode(name)) > _LONGEST_NAME:
        mark = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
        name = f"{target.name[:50]}.{mark}{PART_SUFFIX}"
    return target.with_name(name)


def is_part_folder(path: Path) -> bool:
    """Whether a folder holds nothing but what a run of ours puts there."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and all(_OURS.fullmatch(child.name) for child in path.iterdir())
    )


class PartFolder:
    """The folder of one output. Made without touching the disk; `claim` takes it.

    Args:
        target: the output, links resolved.
    """

    def __init__(self, target: Path) -> None:
        self.target, self.path = target, part_of(target)
        self.whole = self.path / (_WHOLE + target.suffix.lower())
        self.count = 0  # segments that are done
        self._made: list[Path] = []  # folders above it, innermost first
        self._lock: int | None = None

    # -- one process at a time

    def claim(self) -> None:
        """Make the folder and those above it where there are none, and keep other processes out of it until `release`.

        Raises:
            IcnetError: USAGE where another process has it, OUTPUT where it cannot be made.
        """
        try:
            self._made = [above for above in self.path.parents if not above.exists()]
            while True:
                self.path.mkdir(parents=True, exist_ok=True)
                if self._take_lock():
                    return
        except OSError as error:
            raise writing_error(self.target, error) from error

    def _take_lock(self) -> bool:
        """Lock the lock file; False where it was removed by a run that ended meanwhile."""
        place = self.path / _LOCK
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            return False
        try:
            _lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise usage_error(
                f"{printable(self.path)} is in use: another run writes {printable(self.target.name)}; "
                "wait for it, or name another output"
            ) from None
        try:
            same = os.path.samestat(os.stat(place), os.fstat(descriptor))
        except FileNotFoundError:
            same = False
        if not same:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    @property
    def is_claimed(self) -> bool:
        return self._lock is not None

    def release(self) -> None:
        """Let others have the folder, as it is. Safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- what the run is, and what it has done

    @property
    def job(self) -> dict[str, Any] | None:
        """What the run is; None where none has begun."""
        return _read_json(self.path / _JOB)

    def begin(self, job: dict[str, Any]) -> None:
        """Say what the run is; whatever was there is removed first."""
        self.clear()
        _write_json(self.path / _JOB, job)

    def segment_path(self, number: int) -> Path:
        return self.path / f"{number:06d}{SUFFIX}"

    def segments(self) -> Iterator[Path]:
        """The segments that are done, in order."""
        return (self.segment_path(number) for number in range(self.count))

    def documents(self) -> Iterator[dict[str, Any]]:
        """What is to be known of each of them."""
        for path in self.segments():
            document = document_of(path, check=False)
            assert document is not None, path  # checked when the run went on, or written by it
            yield document

    def newest(self) -> dict[str, Any] | None:
        """What is to be known of the newest segment, unchecked; for whoever has not claimed the folder."""
        found = sorted(self.path.glob(f"*{SUFFIX}"))
        return document_of(found[-1], check=False) if found else None

    def look(self) -> None:
        """Find the segments that are done and whole; whatever follows a damaged one is removed, to be made again."""
        self.count = 0
        while document_of(self.segment_path(self.count)) is not None:
            self.count += 1
        self.forget_from(self.count)

    def forget_from(self, number: int) -> None:
        """Remove the segments from `number` on."""
        self.count = number
        for path in self.path.glob("*.*"):
            if path.suffix == ".tmp" or (path.suffix == SUFFIX and int(path.stem) >= number):
                path.unlink()

    def clear(self) -> None:
        """Remove everything but the lock."""
        self.count = 0
        for path in self.path.iterdir():
            if path.name != _LOCK:
                _remove(path)

    def discard(self) -> None:
        """Remove the folder, and let go of it.

        What says that the output has its name goes after everything else: a crash amid this must not hide it.
        """
        self.release()
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                if path.name not in (_PUBLISHED, _LOCK):
                    _remove(path)
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty: the output is there
            for above in self._made:
                above.rmdir()

    @property
    def is_bare(self) -> bool:
        """Whether nothing but the lock is left, as where a run was stopped while it removed the folder."""
        with contextlib.suppress(OSError):
            return {path.name for path in self.path.iterdir()} <= {_LOCK}
        return False

    @property
    def size(self) -> int:
        """Bytes of the segments that are done."""
        return sum(path.stat().st_size for path in self.segments())

    # -- the end

    @property
    def is_published(self) -> bool:
        """Whether the output has its name already, and only this folder was left to be removed."""
        document = _read_json(self.path / _PUBLISHED)
        if document is None:
            return False
        with contextlib.suppress(OSError):
            found = os.stat(self.target)
            return [found.st_dev, found.st_ino] == document.get("file")
        return False

    def publish(self, *, overwrite: bool) -> None:
        """Give `whole` the output's name, and remove the folder.

        A folder that stands there makes way by a rename, and is removed with this one: at no time is neither whole.

        Raises:
            IcnetError: USAGE where another program made the name meanwhile, OUTPUT where the disk refuses.
        """
        try:
            made = os.stat(self.whole)
            _write_json(self.path / _PUBLISHED, {"file": [made.st_dev, made.st_ino]})
            if self.whole.is_dir():
                self._rename_folder(overwrite)
            else:
                PartFile(self.target, overwrite=overwrite, path=self.whole).publish()
            self.discard()
        except OSError as error:
            raise writing_error(self.target, error) from error

    def _rename_folder(self, overwrite: bool) -> None:
        old = self.path / _OLD
        if self.target.is_dir() and any(self.target.iterdir()):
            if not overwrite:
                raise usage_error(f"{printable(self.target)} was made by another program meanwhile; use -y")
            _remove(old)
            self.target.rename(old)
        try:
            self.whole.rename(self.target)
        except OSError:
            if old.exists():
                old.rename(self.target)
            raise
        with contextlib.suppress(OSError):  # it has its name
            sync_folder(self.target.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed, which a killed process does too; BlockingIOError where another has it."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
