"""The tables that come with the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from icnet_cli.classes.parse import read_table
from icnet_cli.classes.table import ClassTable
from icnet_cli.errors import usage_error

TABLES = ("cityscapes", "camvid", "coco-stuff")


@cache
def load_table(name: str) -> ClassTable:
    """The bundled class table `name`; a usage error names those there are."""
    if name not in TABLES:
        raise usage_error(f"there is no class table {name!r}; there are {', '.join(TABLES)}")
    return read_table(Path(__file__).with_name(f"{name}.yaml"))
