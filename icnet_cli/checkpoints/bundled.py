"""Where weights are found: those that come with the tool and those that were imported by name, others by path."""

from __future__ import annotations

import os
from pathlib import Path

from icnet_cli.errors import printable, usage_error, weights_error
from icnet_cli.outputs import own_folder

SUFFIX = ".safetensors"
# What `train` leaves in a run folder, and `prune`, the one to use first.
OF_TRAINING = ("best", "last")
OF_A_RUN = ("pruned", *OF_TRAINING)


def bundled_folder() -> Path:
    """Inside an installed wheel `icnet_cli/weights`; in a source checkout `weights/` beside the package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def bundled_weights() -> dict[str, Path]:
    """Name -> file of every bundled network, sorted by name."""
    return {path.stem: path for path in sorted(bundled_folder().glob(f"*{SUFFIX}"))}


def local_folder() -> Path:
    """Where imported weights are kept (XDG Base Directory Specification)."""
    return own_folder("XDG_DATA_HOME", "~/.local/share") / "weights"


def local_weights() -> dict[str, Path]:
    """Name -> file of the weights in the user's own folder, sorted by name."""
    return {path.stem: path for path in sorted(local_folder().glob(f"*{SUFFIX}"))}


def find_weights(name_or_path: str | Path) -> Path:
    """The file of a bundled name or of an imported one, or the path itself; of a run folder its result.

    Raises:
        IcnetError: exit 4 where neither exists; exit 2 for what is no name and no path.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise usage_error(f"weights are a name or a file, not {printable(repr(name_or_path))}")
    known = local_weights() | bundled_weights()  # a bundled name is never hidden
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isfile(path):  # which a name that no file can have does not make raise
        return path
    for name in OF_A_RUN:
        if os.path.isfile(path / f"{name}{SUFFIX}"):
            return path / f"{name}{SUFFIX}"
    names = ", ".join(known) or "none"
    raise weights_error(
        f"no weights {printable(repr(str(name_or_path)))}: neither a file nor a known name ({names})"
    )


def lasting(name_or_path: str | Path) -> str:
    """What means the same weights from every folder, for a record that stays on the machine: a file's whole path.

    A name stays one, and so does what is not there: only who asks for it can say what is wrong with it.
    """
    known = local_weights() | bundled_weights()
    path = Path(os.path.expanduser(name_or_path))
    if str(name_or_path) in known or not os.path.isfile(path):
        return str(name_or_path)
    return str(path.parent.resolve() / path.name)  # its own name, which a card has, be it a link's
