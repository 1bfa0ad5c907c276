"""`--palette`: other colours for the classes that the weights know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from icnet_cli.classes import TABLES, ClassTable, load_table, read_table
from icnet_cli.errors import usage_error


def read_palette(palette: str | None) -> ClassTable | None:
    """The class table whose colours are asked for: a bundled one by name, or a YAML or JSON file of that form.

    Raises:
        IcnetError: USAGE for a name that is neither a table nor a file; INPUT for a file that is no class table.
    """
    if palette is None:
        return None
    if palette in TABLES:
        return load_table(palette)
    path = Path(palette)
    if not path.is_file():
        raise usage_error(f"no palette {palette!r}: neither a file nor one of {', '.join(TABLES)}")
    return read_table(path)


def recolour(classes: ClassTable, other: ClassTable | None) -> ClassTable:
    """`classes` with the colours of another table, matched by class name.

    A class that the other does not name keeps its colour; where it names none of them, and has as many, its
    colours are taken in order. Raises a usage error where it fits in neither way.
    """
    if other is None:
        return classes
    if not set(other.names) & set(classes.names):
        if other.num_classes != classes.num_classes:
            raise usage_error(
                f"the palette {other.name} names none of the classes {', '.join(classes.names)}, "
                f"and has {other.num_classes} colours for {classes.num_classes}"
            )
        return replace(classes, palette=other.palette)
    colours = dict(zip(other.names, other.palette, strict=True))
    own = zip(classes.names, classes.palette, strict=True)
    return replace(classes, palette=tuple(colours.get(name, colour) for name, colour in own))
