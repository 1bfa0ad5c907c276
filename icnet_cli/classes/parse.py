"""Class tables from YAML: the bundled ones and a user's `classes.yaml`.

    classes: [road, car, person]            # the short form: ids are 0, 1, 2, colours are made up

    name: my-street                         # the long form
    classes:
      - {id: 7, name: road, color: [128, 64, 128], category: flat}
      - {id: 0, name: unlabelled, train_id: 255}

Without `train_id` the classes are numbered in order, and without `id` the id is the train id.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from icnet_cli.classes.table import IGNORE_INDEX, ClassTable, Color, shown
from icnet_cli.errors import IcnetError, input_error

_MAX_BYTES = 1 << 20  # a table of 254 classes is 20 kB
_MAX_ROWS = 512  # 256 values, and some to spare for colours
_KEYS = frozenset({"name", "classes", "colors"})
_CLASS_KEYS = frozenset({"name", "id", "train_id", "color", "category"})


def read_table(path: Path) -> ClassTable:
    """The class table in the YAML file `path`. Raises an input error with all that is wrong."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise input_error(f"{path} is larger than {_MAX_BYTES} bytes, which no class table is")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(f"the class table {path} could not be read: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise input_error(f"the class table {path} is not YAML: {text}") from None
    try:
        table = parse_table(data, path.parent.resolve().name if path.stem == "classes" else path.stem)
        found = table.problems()
    except _MisfitError as error:
        found = [str(error)]
    if found:
        raise _misfit(path, found)
    return table


def parse_table(data: Any, default_name: str) -> ClassTable:
    """A table from parsed YAML; `ClassTable.problems` has still to be asked. Raises on a wrong structure."""
    if not isinstance(data, Mapping) or not isinstance(data.get("classes"), list):
        raise _MisfitError("found no list `classes:`, expected `classes: [road, car, ...]`")
    _refuse_unknown(data, _KEYS, "the table")
    colors = data.get("colors") or []
    if len(data["classes"]) > _MAX_ROWS or not isinstance(colors, list) or len(colors) > _MAX_ROWS:
        raise _MisfitError(f"expected lists of at most {_MAX_ROWS} entries")
    rows = _numbered([_row(entry) for entry in data["classes"]])
    used = sorted((row for row in rows if row["train_id"] != IGNORE_INDEX), key=lambda row: row["train_id"])
    train_ids = [row["train_id"] for row in used]
    if train_ids != list(range(len(used))):
        raise _MisfitError(
            f"found train ids {_few(train_ids)}, expected 0 to {len(used) - 1}, each once (255: ignored)"
        )
    categories = [row.get("category") for row in used]
    if any(categories) and not all(categories):
        raise _MisfitError("found categories for some classes only, expected one for each or none")
    return ClassTable(
        name=data.get("name", default_name),
        names=tuple(row["name"] for row in used),
        palette=tuple(_color(row, index) for index, row in enumerate(used)),
        ids=tuple(row["id"] for row in used),
        categories=tuple(str(word) for word in categories) if any(categories) else None,
        ignored=tuple((row["id"], row["name"]) for row in rows if row["train_id"] == IGNORE_INDEX),
        colors=tuple(_color_row(entry, len(used)) for entry in colors),
    )


class _MisfitError(Exception):
    """Found and expected, in words; becomes an input error that names the file."""


def _misfit(path: Path, found: Sequence[str]) -> IcnetError:
    return input_error(f"the class table {path} does not fit: " + "; ".join(found))


def _refuse_unknown(entry: Mapping[Any, Any], keys: frozenset[str], where: str) -> None:
    strange = sorted(str(key) for key in entry if key not in keys)
    if strange:
        raise _MisfitError(f"found {_few(strange)} in {where}, expected only {', '.join(sorted(keys))}")


def _row(entry: Any) -> dict[str, Any]:
    row = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    if not isinstance(row.get("name"), str):
        # YAML 1.1 reads a bare `yes`, `no`, `on` or `12` as something else than a word.
        raise _MisfitError(
            f"found the class {shown(entry)}, expected a name (in quotes where YAML takes it for something else: "
            "'yes', '12')"
        )
    _refuse_unknown(row, _CLASS_KEYS, f"class {shown(row['name'])}")
    return row


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `train_id` and `id` filled in where they were left to their place in the list."""
    given = [row for row in rows if row.get("train_id", IGNORE_INDEX) != IGNORE_INDEX]
    free = [row for row in rows if "train_id" not in row]
    if given and free:
        raise _MisfitError(
            f"found train_id for some classes but not for {shown(free[0]['name'])}, expected all or none"
        )
    for index, row in enumerate(free):
        row["train_id"] = index
    for row in rows:
        if not isinstance(row["train_id"], int) or isinstance(row["train_id"], bool):
            raise _MisfitError(
                f"found train_id {shown(row['train_id'])} for {shown(row['name'])}, expected a whole number"
            )
        row.setdefault("id", row["train_id"])
    # 255 is ignored without being listed; listing it again is no contradiction.
    return [row for row in rows if (row["id"], row["train_id"]) != (IGNORE_INDEX, IGNORE_INDEX)]


def _color(row: Mapping[str, Any], index: int) -> Color:
    color = row.get("color", made_up_color(index))
    if not isinstance(color, list | tuple) or len(color) != 3:
        raise _MisfitError(
            f"found the color {shown(color)} for {shown(row['name'])}, expected [red, green, blue]"
        )
    return (color[0], color[1], color[2])


def _color_row(entry: Any, count: int) -> tuple[Color, int, str]:
    if not isinstance(entry, Mapping) or not {"color", "train_id", "name"} <= entry.keys():
        raise _MisfitError(f"found {shown(entry)} in colors, expected {{name, color, train_id}}")
    if entry["train_id"] not in (*range(count), IGNORE_INDEX):
        raise _MisfitError(
            f"found train_id {shown(entry['train_id'])} in colors, expected 0 to {count - 1} or 255"
        )
    return _color(entry, 0), entry["train_id"], entry["name"]


def _few(values: Sequence[Any], limit: int = 12) -> str:
    text = ", ".join(shown(value) for value in values[:limit])
    return text + (", ..." if len(values) > limit else "")


def made_up_color(index: int) -> Color:
    """A colour for a class that names none: hues by the golden ratio, so neighbours in the list differ."""
    hue = (index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6)[index % 2], (0.9, 0.65)[index // 2 % 2])
    return (round(red * 255), round(green * 255), round(blue * 255))
