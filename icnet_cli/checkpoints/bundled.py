"""Where weights are found: those that come with the tool by name, a user's own by path."""

from __future__ import annotations

from pathlib import Path

from icnet_cli.errors import weights_error

SUFFIX = ".safetensors"


def bundled_folder() -> Path:
    """Inside an installed wheel `icnet_cli/weights`; in a source checkout `weights/` beside the package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def bundled_weights() -> dict[str, Path]:
    """Name -> file of every bundled network, sorted by name."""
    return {path.stem: path for path in sorted(bundled_folder().glob(f"*{SUFFIX}"))}


def find_weights(name_or_path: str | Path) -> Path:
    """The file of a bundled name, or the path itself.

    Raises:
        IcnetError: exit 4 where neither exists.
    """
    known = bundled_weights()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = ", ".join(known) or "none"
    raise weights_error(f"no weights {str(name_or_path)!r}: neither a file nor a bundled name ({names})")
