"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from icnet_cli.errors import IcnetError, output_error, printable, usage_error
from icnet_cli.outputs import hidden, sync_file

# What systems answer that sync files alone.
_NO_FOLDERS = (
    errno.EINVAL,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTSUP,
    errno.ENOSYS,
)
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file grew over the size that is allowed",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "its folder does not exist",
}


def writing_error(path: Path, error: BaseException) -> IcnetError:
    """An output error (exit 5) in words for whatever escaped while `path` was encoded or written."""
    if isinstance(error, IcnetError):
        return error
    reason = _REASONS.get(error.errno or 0) if isinstance(error, OSError) else None
    if isinstance(error, MemoryError):
        reason = "there is not enough memory"
    return output_error(
        f"cannot write {printable(path)}: {reason or 'the encoder or the container refused the data'}"
    )


class PartFile:
    """A hidden `.NAME.XXXX.part` beside the output: `publish` renames it, `discard` removes it.

    Args:
        path: a file that is there already, instead of the hidden one.
    """

    def __init__(self, target: Path, *, overwrite: bool, path: Path | None = None) -> None:
        self.target, self._overwrite = target, overwrite
        if path is not None:
            self.path = path
            return
        self.path = target.with_name(f"{hidden(target)}{secrets.token_hex(4)}.part")
        try:  # created now, so that a folder without permission is known before any work
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise writing_error(target, error) from error

    def publish(self) -> None:
        """Make the file durable and give it its name; afterwards the part is gone."""
        try:
            sync_file(self.path)
            if self._overwrite:
                os.replace(self.path, self.target)
            else:
                self._link_or_refuse()
            with contextlib.suppress(OSError):  # it has its name
                sync_folder(self.target.parent)
        except OSError as error:
            raise writing_error(self.target, error) from error

    def _link_or_refuse(self) -> None:
        # A link, unlike a rename, fails where another program made the name meanwhile.
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise usage_error(
                f"{printable(self.target)} was made by another program meanwhile; use -y"
            ) from None
        except OSError:  # no hard links here (FAT, some network mounts)
            os.replace(self.path, self.target)
        else:
            os.unlink(self.path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk, where that can be done: not on Windows, nor on some file systems."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
