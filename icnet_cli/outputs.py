"""What is written, by one set of rules for all: a name, checked before any work; a file, whole or not at all; JSON."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icnet_cli.errors import output_error, printable, usage_error, why


def is_too_long(path: str | Path) -> bool:
    """Whether no file can be called that: most systems take 255 bytes a name, and what `pathlib` asks raises.

    Each part is asked for by itself as well, since of a folder that is missing nothing is known.
    """
    return any(_is_refused_as_long(name) for name in (path, *Path(path).parts))


def _is_refused_as_long(path: str | Path) -> bool:
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        return getattr(error, "errno", None) == errno.ENAMETOOLONG
    return False


def resolved(path: Path) -> Path:
    """An output's name with links followed.

    Raises:
        IcnetError: USAGE where it has a name that no file can have, or links to itself.
    """
    target = Path(os.path.realpath(path))
    if is_too_long(target):
        raise usage_error(f"cannot write {printable(path, 60)}: the name is too long; use a shorter one")
    if target.is_symlink():  # followed to the end, and a link all the same
        raise usage_error(
            f"cannot write {printable(path)}: it is a link that leads to itself; name another output"
        )
    return target


def refuse_taken(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Path:
    """Check that a file may be written at `path`, and return it with links resolved.

    Raises:
        IcnetError: USAGE where it is one of the inputs (hard and symbolic links included), a folder or a device,
            exists and may not be overwritten, has a name that no file can have, or links to itself.
    """
    target = resolved(path)
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
        IcnetError: as `refuse_taken`; OUTPUT where its folder is missing or takes no file.
    """
    target = refuse_taken(path, overwrite=overwrite, inputs=inputs)
    if not target.parent.is_dir():
        raise output_error(f"cannot write {printable(path)}: its folder does not exist")
    try_folder(target.parent, path)
    return target


def try_folder(folder: Path, path: Path) -> None:
    """See before an hour's work that `folder`, where `path` is to be, takes a file.

    The one that is tried has no name where the system makes such: a run that is killed here leaves nothing.

    Raises:
        IcnetError: OUTPUT where it takes none.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise output_error(f"cannot write {printable(path)}: {why(error)}") from error


NOWHERE = Path(os.devnull)  # holds nothing, and takes nothing


def own_folder(variable: str, default: str) -> Path:
    """icnet/ in the folder that a variable names, else in `default` (XDG Base Directory Specification).

    Where nobody knows a home, as of a container's user that only has a number, it is in NOWHERE.
    """
    base = os.path.expanduser(os.environ.get(variable) or default)
    return (NOWHERE if base.startswith("~") else Path(base)) / "icnet"


def hidden(path: Path) -> str:
    """How a hidden name beside `path` begins: a name may have 255 bytes, up to four a character, and this is longer."""
    return f".{path.name[:50]}."


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it gets the name when the block is left, and goes where it fails.

    Who may read it is as the umask says, which only the system can be asked for without changing it for other threads:
    so it is made as any new file, not by `mkstemp`. What a writer puts in its place (safetensors does) gets that mode.

    Raises:
        IcnetError: OUTPUT where the disk is full, the folder may not be written, ...
    """
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f"{hidden(path)}{os.urandom(4).hex()}.part")
        descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        part, mode = made, os.fstat(descriptor).st_mode
        os.close(descriptor)
        yield part
        sync_file(part)
        part.chmod(stat.S_IMODE(mode))
        part.replace(path)
        part = None
    except OSError as error:
        raise output_error(f"cannot write {path}: {why(error)}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Bring a file that was written to the disk. Windows does that only for a file that is open for writing."""
    with path.open("r+b" if os.access(path, os.W_OK) else "rb") as file:
        os.fsync(file.fileno())


def json_line(document: Any) -> str:
    """A document as one line of JSON that is UTF-8 whatever is in it.

    Bytes of a file's name that are no UTF-8 are lone surrogates in Python: they become \\udcXX escapes, which JSON has.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
