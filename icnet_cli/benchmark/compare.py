"""Two results of `icnet bench --json` side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icnet_cli.documents import read_json
from icnet_cli.errors import input_error, why

# What has to be the same for two rows to be the same measurement.
KEYS = ("name", "model", "variant", "resolution", "batch", "output", "stage", "precision")


def compare_files(a: Path, b: Path) -> dict[str, Any]:
    """The rows of both, `a` the base: how many times faster `b` is in each.

    Returns:
        `rows` [{the keys of both, `device_a`, `backend_a`, those of b, `ms_a`, `ms_b`, `speedup`}], the rows that one
        file alone has in `only_a` and `only_b`, and the two environments.

    Raises:
        IcnetError: INPUT for a file that is not such a result, or where the two share no row.
    """
    first, second = _read(a), _read(b)
    keys = KEYS + (("backend",) if _is_of_several(first) or _is_of_several(second) else ())
    rows_a, rows_b = _by_key(first, a, keys), _by_key(second, b, keys)
    both = [key for key in rows_a if key in rows_b]
    if not both:
        raise input_error(f"{a} and {b} have no row in common: other networks, sizes or precisions")
    return {
        "rows": [_pair(rows_a[key], rows_b[key]) for key in both],
        "only_a": [_name(rows_a[key]) for key in rows_a if key not in rows_b],
        "only_b": [_name(rows_b[key]) for key in rows_b if key not in rows_a],
        "environment_a": first.get("environment"),
        "environment_b": second.get("environment"),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except OSError as error:
        raise input_error(f"cannot read {path}: {why(error)}") from error
    except ValueError as error:
        raise input_error(f"{path} is not a result of `icnet bench --json`: it is no JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise input_error(f"{path} is not a result of `icnet bench --json`: it has no rows")
    return document


def _is_of_several(document: Mapping[str, Any]) -> bool:
    """Whether one network was timed on several backends: then each is compared with itself."""
    backends: dict[str, set[str]] = {}
    for row in document["rows"]:
        if isinstance(row, Mapping) and row.get("backend"):
            backends.setdefault(_key(row, KEYS), set()).add(str(row["backend"]))
    return any(len(found) > 1 for found in backends.values())


def _key(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return json.dumps([row.get(key) for key in keys])


def _by_key(document: Mapping[str, Any], path: Path, keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """The measured rows by what they measure; where a row was measured twice, the first."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in document["rows"]:
        if not isinstance(row, Mapping):
            raise input_error(f"{path} is not a result of `icnet bench --json`: {row!r:.40} is no row")
        milliseconds = row.get("ms_p50")
        if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and milliseconds > 0:
            found.setdefault(_key(row, keys), row)
    return found


def _pair(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: a[key] for key in KEYS if key in a}
    devices = {
        f"{what}_{side}": row.get(what)
        for what in ("device", "backend")
        for side, row in (("a", a), ("b", b))
    }
    return {
        **known,
        **devices,
        "ms_a": a["ms_p50"],
        "ms_b": b["ms_p50"],
        "speedup": a["ms_p50"] / b["ms_p50"],
    }


def _name(row: Mapping[str, Any]) -> str:
    parts = [row.get(key) for key in ("name", "model", "variant", "stage", "backend") if row.get(key)]
    return ", ".join(map(str, parts))
