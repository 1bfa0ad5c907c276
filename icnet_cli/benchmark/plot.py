"""mIoU against frames a second: the papers' points and ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icnet_cli.reports.plots import ScatterPoint, plot_scatter

from .published import tables

PAPERS, HERE, MIXED = "published", "measured here", "our speed, the paper's mIoU"
CARD = "our speed, the weights card's mIoU"  # of its own data set and size
# Beside networks timed on their own: the tables that have both figures, at full size.
BACKGROUND = ("icnet-test", "fast-scnn", "icnet-ablation")


def points(document: Mapping[str, Any]) -> list[ScatterPoint]:
    """A point for each row of which both figures are known; ours stand at the paper's mIoU where ours is not known."""
    table = document["kind"] == "table"
    found = [] if table else list(_background())
    for row in document["rows"]:
        published = row["published"] or {}
        name = row.get("name") or row["model"]
        if table and published.get("miou") and published.get("fps"):
            found.append(ScatterPoint(name, published["fps"], published["miou"], PAPERS))
        if row.get("model_fps"):
            found += _ours(row, name, published)
    return found


def _ours(row: Mapping[str, Any], name: str, published: Mapping[str, Any]) -> Iterator[ScatterPoint]:
    name = name.split(",")[0]  # the paper's card is not the one that was timed
    if row.get("miou") is not None:
        yield ScatterPoint(name, row["model_fps"], 100 * row["miou"], HERE)
    elif row.get("accuracy"):
        yield ScatterPoint(name, row["model_fps"], 100 * row["accuracy"]["miou"], CARD)
    elif published.get("miou"):
        yield ScatterPoint(name, row["model_fps"], published["miou"], MIXED)


def _background() -> Iterator[ScatterPoint]:
    for table in BACKGROUND:
        for row in tables()[table].rows:
            figures = row.to_dict()
            if row.figures.get("miou") and row.figures.get("fps"):
                yield ScatterPoint(row.name, figures["fps"], figures["miou"], PAPERS)


def plot_rows(document: Mapping[str, Any], path: Path) -> list[str]:
    """Write the picture; the names of the rows measured here that no mIoU is known of, and so are not in it."""
    drawn = points(document)
    plot_scatter(drawn, path, "mIoU against speed", "frames a second, network alone", "mIoU %")
    ours = {point.name for point in drawn if point.group != PAPERS}
    timed = (
        (row.get("name") or row["model"]).split(",")[0] for row in document["rows"] if row.get("model_fps")
    )
    return [name for name in dict.fromkeys(timed) if name not in ours]
