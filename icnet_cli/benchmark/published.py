"""The papers' tables (`published.yaml`), and which of their figures stand beside a network measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from icnet_cli.errors import usage_error

FILE = Path(__file__).with_name("published.yaml")
FULL_SIZE = (1024, 2048)
OUTPUTS = ("scores", "logits", "labels", "probabilities")
FIGURES = ("miou", "category_miou", "ms", "fps", "speedup", "memory_gb", "memory_save", "params_m")


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper's table.

    Attributes:
        figures: what the paper prints, by the names of `FIGURES`; nothing is worked out.
        network: what builds it here (`model` and its config), where it is one of ours.
        trained: the same, where the row is about training and is not timed.
        output: what the network ends with, of `OUTPUTS`.
        baseline: the row of its table that speed-ups are against.
    """

    name: str
    figures: Mapping[str, float]
    hardware: str | None = None
    network: Mapping[str, Any] | None = None
    trained: Mapping[str, Any] | None = None
    resolution: tuple[int, int] = FULL_SIZE
    output: str = "logits"
    baseline: str | None = None
    input: str | None = None
    platform: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """`published` of a row of `icnet bench --json`; `ms` and `fps` give each other where one is not printed."""
        known: dict[str, Any] = {name: self.figures.get(name) for name in ("miou", "ms", "fps")}
        printed = [name for name in ("ms", "fps") if known[name] is not None]
        if len(printed) == 1:
            other = "fps" if printed == ["ms"] else "ms"
            known |= {other: 1000 / known[printed[0]], "derived": [other]}
        rest = {name: value for name, value in self.figures.items() if name not in known}
        return {**known, "hardware": self.hardware, **rest}


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper; `source` is the paper in words and `where` the table in it."""

    name: str
    title: str
    source: str
    where: str
    dataset: str
    rows: tuple[PublishedRow, ...]
    note: str | None = None
    by_name: Mapping[str, PublishedRow] = field(default_factory=dict)

    @property
    def full_size(self) -> tuple[int, int]:
        """The largest that a network of ours is run at in it."""
        sizes = [row.resolution for row in self.rows if row.network is not None]
        return max(sizes, key=lambda size: size[0] * size[1], default=FULL_SIZE)


@cache
def tables() -> dict[str, PublishedTable]:
    """Every table by its name on the command line."""
    document = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: _table(name, item, document["sources"]) for name, item in document["tables"].items()}


def find_table(name: str) -> PublishedTable:
    """Raises IcnetError (USAGE) for an unknown name."""
    if name not in tables():
        raise usage_error(f"--table must be one of {', '.join(tables())}, not {name!r}")
    return tables()[name]


def _table(name: str, item: Mapping[str, Any], sources: Mapping[str, str]) -> PublishedTable:
    rows = tuple(_row(row, item.get("hardware")) for row in item["rows"])
    return PublishedTable(
        name,
        item["title"],
        sources[item["source"]],
        item["where"],
        item["dataset"],
        rows,
        item.get("note"),
        {row.name: row for row in rows},
    )


def _row(item: Mapping[str, Any], hardware: str | None) -> PublishedRow:
    rest = {key: value for key, value in item.items() if key not in FIGURES}
    if "resolution" in rest:
        height, width = (int(side) for side in rest["resolution"].split("x"))
        rest["resolution"] = (height, width)
    figures = {key: float(item[key]) for key in FIGURES if key in item}
    return PublishedRow(figures=figures, **{"hardware": hardware, **rest})


# Where the figures of a network that is measured on its own are looked up, the paper's own headline first.
_HEADLINES = (
    "icnet-ablation",
    "fast-scnn",
    "icnet-supplement",
    "icnet-compression",
    "icnet-downsampling",
    "deeplabv3",
)
# What tells two networks' figures apart; how a head is written changes no figure of the paper's.
_IDENTITY: Mapping[str, Any] = {"keep": 1.0, "output_stride": 8, "branches": "sub124", "trunk": "pspnet50"}


def figures_for(model: str, config: Mapping[str, Any], resolution: tuple[int, int]) -> PublishedRow | None:
    """The published row of a network at a size; None where no paper has it."""
    wanted = _identity(model, config)
    for row in _rows(_HEADLINES):
        assert row.network is not None
        network = dict(row.network)
        if row.resolution == resolution and _identity(network.pop("model"), network) == wanted:
            return row
    return None


def _rows(names: tuple[str, ...]) -> Iterator[PublishedRow]:
    ours = [row for name in names for row in tables()[name].rows if row.network]
    # Fast-SCNN's headline is labels out, on the newer card, with an accuracy beside it.
    yield from sorted(ours, key=lambda row: "miou" not in row.figures)


def _identity(model: str, config: Mapping[str, Any]) -> tuple[Any, ...]:
    return (model, *(config.get(key, default) for key, default in _IDENTITY.items()))
