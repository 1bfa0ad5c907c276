"""The class table as a value: what a weights file stores, and the lookup tables that label files need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import weights_error

IGNORE_INDEX = 255
UNKNOWN = 254  # what a lookup gives for a value that the table does not list; never a train id

Color = tuple[int, int, int]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassTable:
    """K classes in the order of their train ids.

    Two tables are equal when a network trained on one speaks of the same classes as the other; how label
    files are read (`ignored`, `colors`) is not part of that.
    """

    name: str
    names: tuple[str, ...]  # (K,)
    palette: tuple[Color, ...]  # (K,) RGB
    ids: tuple[int, ...]  # (K,) the value in the dataset's own label files
    categories: tuple[str, ...] | None = None  # (K,)
    ignored: tuple[tuple[int, str], ...] = field(default=(), compare=False)  # id, name
    colors: tuple[tuple[Color, int, str], ...] = field(default=(), compare=False)  # RGB, train id, name

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def palette_array(self) -> NDArray[np.uint8]:
        """The colours as uint8 (K, 3), RGB."""
        return np.array(self.palette, np.uint8).reshape(-1, 3)

    def known_ids(self) -> frozenset[int]:
        """Every value a label file of this dataset may hold; 255 always may."""
        return frozenset(self.ids) | {id for id, _ in self.ignored} | {IGNORE_INDEX}

    def train_ids_of_ids(self) -> Labels:
        """uint8 (256,): the train id of each id; 255 for ignored ids, 254 for values not in the table."""
        lookup = np.full(256, UNKNOWN, np.uint8)
        lookup[[id for id, _ in self.ignored]] = IGNORE_INDEX
        lookup[IGNORE_INDEX] = IGNORE_INDEX
        lookup[list(self.ids)] = np.arange(self.num_classes)
        return lookup

    def train_ids_of_train_ids(self) -> Labels:
        """uint8 (256,): for label files that hold train ids already: themselves, 255, and 254 otherwise."""
        lookup = np.full(256, UNKNOWN, np.uint8)
        lookup[: self.num_classes] = np.arange(self.num_classes)
        lookup[IGNORE_INDEX] = IGNORE_INDEX
        return lookup

    def ids_of_train_ids(self) -> Labels:
        """uint8 (256,): the dataset's own id of each train id (`--ids dataset`); 255 elsewhere."""
        lookup = np.full(256, IGNORE_INDEX, np.uint8)
        lookup[: self.num_classes] = self.ids
        return lookup

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the header of a weights file."""
        return {
            "name": self.name,
            "names": list(self.names),
            "palette": [list(color) for color in self.palette],
            "ids": list(self.ids),
            "categories": None if self.categories is None else list(self.categories),
        }

    @staticmethod
    def from_dict(data: Any) -> ClassTable:
        """The table of a weights file's header. Raises a weights error naming what does not fit."""
        if not isinstance(data, Mapping):
            raise weights_error(f"the class table in the weights file is {_kind(data)}, not a mapping")
        try:
            table = ClassTable(
                name=data["name"],
                names=tuple(data["names"]),
                palette=tuple(tuple(color) for color in data["palette"]),
                ids=tuple(data["ids"]),
                categories=None if data.get("categories") is None else tuple(data["categories"]),
            )
        except (KeyError, TypeError) as error:
            raise weights_error(f"the class table in the weights file lacks or misstates {error}") from None
        found = table.problems()
        if found:
            raise weights_error("the class table in the weights file does not fit: " + "; ".join(found))
        return table

    def problems(self) -> list[str]:
        """Everything wrong with the table, as found and expected, in words; empty when it is sound."""
        found = _length_problems(self)
        if found:  # what follows compares all with all, which is for some hundred entries
            return found
        found = [
            *_name_problems("names", self.names),
            *(
                f"color {shown(color)} is not three whole numbers from 0 to 255"
                for color in [*self.palette, *(color for color, _, _ in self.colors)]
                if len(color) != 3 or not all(_is_byte(part) for part in color)
            ),
            *_id_problems([*self.ids, *(id for id, _ in self.ignored)]),
        ]
        if not isinstance(self.name, str) or not self.name:
            found.append(f"name is {shown(self.name)}, not a word")
        if not all(isinstance(word, str) and word for word in self.categories or ()):
            found.append("a category is not a word")
        return found


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def shown(value: Any) -> str:
    """A value in an error message, short whatever it is: nested YAML aliases can print as gigabytes."""
    if (
        isinstance(value, list | tuple)
        and len(value) <= 4
        and not any(isinstance(v, list | dict) for v in value)
    ):
        return "[" + ", ".join(shown(part) for part in value) + "]"
    if value is None or isinstance(value, str | int | float):
        text = repr(value[:60] if isinstance(value, str) else value)
        return text if len(text) <= 80 else text[:80] + "..."
    return _kind(value)


def _name_problems(what: str, names: tuple[Any, ...]) -> list[str]:
    found = [
        f"{shown(name)} in {what} is not a word" for name in names if not isinstance(name, str) or not name
    ]
    twice = sorted({name for name in names if isinstance(name, str) and names.count(name) > 1})
    return found + [f"{what} lists {shown(name)} twice" for name in twice]


def _length_problems(table: ClassTable) -> list[str]:
    count = len(table.names)
    found = []
    if not 1 <= count <= UNKNOWN:
        found.append(f"found {count} classes, expected 1 to {UNKNOWN}")
    columns = {"palette": table.palette, "ids": table.ids, "categories": table.categories}
    return found + [
        f"found {len(column)} {what} for {count} names"
        for what, column in columns.items()
        if column is not None and len(column) != count
    ]


def _id_problems(ids: list[Any]) -> list[str]:
    found = [f"id {shown(id)} is not a whole number from 0 to 255" for id in ids if not _is_byte(id)]
    twice = sorted({id for id in ids if _is_byte(id) and ids.count(id) > 1})
    return found + [f"id {id} is given twice" for id in twice]
