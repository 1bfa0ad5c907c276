"""One process at a time trains in a run folder: it holds a lock on a file there, which ends with it however it ends."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icnet_cli.errors import IcnetError, output_error, usage_error, why

_TRIES, _PAUSE_S = 5, 0.01
LOCK_FILE = ".lock"  # it stays: whoever removed it could take it from a process that has just opened it


class _Held:
    """An open, locked file, closed when nobody refers to this any more."""

    def __init__(self, descriptor: int) -> None:
        self.close = weakref.finalize(self, os.close, descriptor)


# By device and inode. The lock is a process's: its runs share one, as where a run goes on in the process that began it.
_HELD: weakref.WeakValueDictionary[tuple[int, int], _Held] = weakref.WeakValueDictionary()


def _leave_to_parent() -> None:
    for held in list(_HELD.values()):
        held.close()  # which does not unlock: the parent has it open
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    # Processes that read pictures must not hold the lock for a moment longer than the run that made them.
    os.register_at_fork(after_in_child=_leave_to_parent)


class RunLock:
    """Keeps every other process out of one run folder, from `take` to `release`. Made without touching the disk."""

    def __init__(self) -> None:
        self._held: _Held | None = None

    def take(self, folder: Path) -> None:
        """Lock `folder`, which exists, and let go of the one before; on a file system without locks, go on without.

        Raises:
            IcnetError: USAGE where another process has it, OUTPUT where the folder cannot be written.
        """
        self.release()
        try:
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise output_error(f"run folder {folder} cannot be written: {why(error)}") from error
        held, key = _Held(descriptor), _key(descriptor)
        if key not in _HELD:
            if not _lock_soon(descriptor):
                held.close()
                raise in_use(folder)
            _HELD[key] = held
        self._held = _HELD[key]

    def release(self) -> None:
        """Let others have the folder, as it is. Safe to call twice."""
        self._held = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Release the lock where the block fails; where it ends, the lock stays taken."""
        try:
            yield
        except BaseException:
            self.release()
            raise


def in_use(folder: Path) -> IcnetError:
    """To be raised by the caller."""
    return usage_error(
        f"{folder} is in use: another process is training in it; wait for it, stop it, or name another folder"
    )


def is_held(folder: Path) -> bool:
    """Whether another process is training in a run folder. Nothing in it is touched."""
    if not hasattr(os, "O_NONBLOCK"):  # on Windows nothing is locked
        return False
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return _key(descriptor) not in _HELD and not _lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _key(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _lock_soon(descriptor: int) -> bool:
    """As `_lock`; a look of another process, which is over at once, is no refusal."""
    for _ in range(_TRIES):
        if _lock(descriptor):
            return True
        time.sleep(_PAUSE_S)
    return False


def _lock(descriptor: int, shared: bool = False) -> bool:
    """Lock a file until it is closed, which a killed process does too; False where another process has it.

    A look is `shared`, so that several at once do not take each other for a run.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter is what CIFS says
        return False
    except OSError:
        pass  # a file system without locks
    return True
