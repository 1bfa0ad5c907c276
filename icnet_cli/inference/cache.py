"""Compiled models kept on the disk between runs.

One file an entry, `<key>-<hash of its content>.<suffix>`: it appears whole, by one rename, and an entry that was cut
short or damaged is known by its name. It is then made again; nothing here ever ends a run. The folder is the user's
own and readable by nobody else, because what it holds is loaded as code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from icnet_cli.outputs import own_folder

LIMIT_BYTES = 1 << 30  # some thirty networks; the least recently used go first
FOLDER_VARIABLE = "ICNET_CACHE_DIR"
_HASH_CHARACTERS = 16
_MAKING, _ABANDONED_S = ".making-", 86400


def cache_folder() -> Path:
    """$ICNET_CACHE_DIR, else icnet/ in $XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification)."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(os.path.expanduser(named))
    return own_folder("XDG_CACHE_HOME", "~/.cache")


class Cache:
    """Files by key in one folder, bounded in size.

    Args:
        folder: made when it is first written to.
        limit: bytes that all entries may take together; the newest entry stays whatever its size.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder or cache_folder(), limit

    def find(self, key: str, suffix: str) -> Path | None:
        """The whole entry of that key; None where there is none. Damaged ones are removed."""
        for path in self._entries(f"{key}-*{suffix}"):
            try:
                if path.name == _name(key, path, suffix):
                    os.utime(path)  # used now
                    return path
            except OSError:
                continue
            _remove(path)
        return None

    def has(self, key: str, suffix: str) -> bool:
        """Whether there is an entry, unread."""
        return bool(self._entries(f"{key}-*{suffix}"))

    def add(self, key: str, suffix: str, write: Callable[[Path], None]) -> Path:
        """Have `write` make the entry's file, and keep it.

        Raises:
            OSError: where the folder cannot be made or written; whatever `write` raises.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=_MAKING) as making:
            made = Path(making, f"made{suffix}")
            write(made)
            path = self.folder / _name(key, made, suffix)
            made.replace(path)
        self._make_room(path)
        return path

    def discard(self, path: Path) -> None:
        """Remove an entry that turned out to be of no use."""
        _remove(path)

    def _entries(self, pattern: str) -> list[Path]:
        with suppress(OSError):
            return sorted(self.folder.glob(pattern))
        return []

    def _make_room(self, newest: Path) -> None:
        for left in self._entries(f"{_MAKING}*"):  # by a process that was killed
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(left, ignore_errors=True)
        known = []
        for path in self._entries("*-*"):
            with suppress(OSError):
                stat = path.stat()
                known.append((stat.st_mtime_ns, stat.st_size, path))
        used = sum(size for _, size, _ in known)
        for _, size, path in sorted(known):
            if used <= self.limit:
                return
            if path != newest:
                _remove(path)
                used -= size


def _name(key: str, file: Path, suffix: str) -> str:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{key}-{digest[:_HASH_CHARACTERS]}{suffix}"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
