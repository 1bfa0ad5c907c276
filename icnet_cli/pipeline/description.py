"""What the values of written labels mean: the document beside them in a folder, and inside a label video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.errors import input_error


def describe_classes(classes: ClassTable, ids: str, view: str) -> dict[str, Any]:
    """`classes.json`: what each value of the labels means, and its colour."""
    values = classes.ids if ids == "dataset" else range(classes.num_classes)
    rows = zip(values, classes.ids, classes.names, classes.palette, strict=True)
    return {
        "name": classes.name,
        "view": view,
        "ids": ids,
        "classes": [
            {"value": value, "train_id": train_id, "id": id_, "name": name, "color": list(color)}
            for train_id, (value, id_, name, color) in enumerate(rows)
        ],
    }


def described_classes(description: Mapping[str, Any], where: str) -> tuple[ClassTable, NDArray[np.uint8]]:
    """The class table that a description tells of, and uint8 (256,): the train id of each value, 255 where none.

    Raises:
        IcnetError: INPUT where it is no such description; it may come from anywhere.
    """
    try:
        rows = sorted(description["classes"], key=lambda row: int(row["train_id"]))
        table = ClassTable(
            name=description["name"],
            names=tuple(row["name"] for row in rows),
            palette=tuple(tuple(row["color"]) for row in rows),
            ids=tuple(row["id"] for row in rows),
        )
        values = [int(row["value"]) for row in rows]
        found = table.problems()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found, values = [f"{type(error).__name__} in its classes"], []
    if not found and not (all(0 <= value < 256 for value in values) and len(set(values)) == len(values)):
        found = ["its values are not 0 to 255, each once"]
    if found:
        raise input_error(f"{where} does not say what its classes are: {'; '.join(found)}")
    lookup = np.full(256, 255, np.uint8)
    lookup[values] = np.arange(len(values))
    return table, lookup
