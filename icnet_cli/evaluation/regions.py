"""Accuracy by the size of things: the 2017 paper's Figure 7 (section 6.2, "Quantitative Analysis").

A region is a connected piece of one class in the truth. Its accuracy is the share of its pixels that are predicted
right; a bin's accuracy is the mean over the regions of its size, each counting once however large it is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.evaluation.confusion import IGNORE_INDEX, Labels
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import write_atomically
from icnet_cli.reports.axes import Panel, draw_panels

BIN_PIXELS, BINS = 3000, 40  # the paper's: regions of 1 to 120,000 pixels


class RegionMap(NamedTuple):
    """The regions of one picture.

    Attributes:
        ids: int32 (H, W), a number from 1 up for each region, 0 where the truth is ignored.
        sizes: int64 (R + 1,), pixels of each; [0] are the ignored ones.
    """

    ids: NDArray[np.int32]
    sizes: NDArray[np.int64]


def find_regions(truth: Labels) -> RegionMap:
    """The connected regions of each class in uint8 (H, W) labels; pixels that touch by a corner are connected."""
    ids = np.zeros(truth.shape, np.int32)
    found = 0
    for value in np.unique(truth):
        if value == IGNORE_INDEX:
            continue
        number, own = cv2.connectedComponents(
            (truth == value).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
        )
        mask = own > 0
        ids[mask] = own[mask] + found
        found += number - 1
    return RegionMap(ids, np.bincount(ids.ravel(), minlength=found + 1))


class Regions:
    """Accumulates the accuracy of connected regions by their size, over pictures.

    Args:
        bin_pixels: width of a bin. Bin i holds the regions of i * bin_pixels + 1 to (i + 1) * bin_pixels pixels.
        bins: how many; larger regions are not counted, only told of in `larger`.
    """

    def __init__(self, bin_pixels: int = BIN_PIXELS, bins: int = BINS) -> None:
        if bin_pixels < 1 or bins < 1:
            raise ValueError(f"{bins} bins of {bin_pixels} pixels hold nothing")
        self.bin_pixels = bin_pixels
        self.counts = np.zeros(bins, np.int64)
        self.larger = 0
        self._accuracy_sums = np.zeros(bins, np.float64)

    def add(self, truth: Labels, labels: Labels, found: RegionMap | None = None) -> None:
        """Count one picture: uint8 (H, W) each. `found` are the truth's regions where they are known already.

        Raises ValueError where the two differ in shape.
        """
        if truth.shape != labels.shape:
            raise ValueError(f"truth is {truth.shape} and labels {labels.shape}; they must agree")
        ids, sizes = found or find_regions(truth)
        right = np.bincount(ids[truth == labels], minlength=len(sizes))
        sizes, right = sizes[1:], right[1:]  # the ignored pixels are no region
        place = (sizes - 1) // self.bin_pixels
        counted = place < len(self.counts)
        self.larger += int((~counted).sum())
        place = place[counted]
        self.counts += np.bincount(place, minlength=len(self.counts))
        shares = right[counted] / sizes[counted]
        self._accuracy_sums += np.bincount(place, weights=shares, minlength=len(self.counts))

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Float64 (bins,): the mean accuracy of each bin's regions; NaN where there are none."""
        nothing = np.full(len(self.counts), np.nan)
        return np.divide(self._accuracy_sums, self.counts, out=nothing, where=self.counts > 0)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The smallest and the largest region of each bin, in pixels."""
        step = self.bin_pixels
        return [(i * step + 1, (i + 1) * step) for i in range(len(self.counts))]

    def curve(self) -> list[float | None]:
        """`accuracy` as JSON has it: None for a bin without regions."""
        return [None if np.isnan(value) else float(value) for value in self.accuracy]


def region_table(curves: dict[str, Regions]) -> dict[str, Any]:
    """Curves over the same truth as the JSON document `regions`: a row a bin that holds regions.

    A row has `from`, `to` (pixels), `regions` (how many), `accuracy` by curve, and `change`: from each curve to the
    next, in their order.
    """
    first = next(iter(curves.values()))
    names = list(curves)
    rows = []
    for index, (low, high) in enumerate(first.edges):
        if not first.counts[index]:
            continue
        accuracy = {name: float(curve.accuracy[index]) for name, curve in curves.items()}
        change = {f"{b}-{a}": accuracy[b] - accuracy[a] for a, b in pairwise(names)}
        row = {
            "from": low,
            "to": high,
            "regions": int(first.counts[index]),
            "accuracy": accuracy,
            "change": change,
        }
        rows.append(row)
    return {
        "bin_pixels": first.bin_pixels,
        "bins": len(first.counts),
        "regions": int(first.counts.sum()),
        "larger": first.larger,
        "rows": rows,
    }


@dataclass
class RegionStudy:
    """Regions by each branch's answers; ends as regions.json, regions.csv and regions.png in `folder`."""

    folder: Path
    bin_pixels: int = BIN_PIXELS
    curves: dict[str, Regions] = field(default_factory=dict)

    def add(self, name: str, image: Labels, truth: Labels, answers: Mapping[str, Labels]) -> None:
        """One picture's truth, and the branches' labels of it."""
        found = find_regions(truth)
        for branch, labels in answers.items():
            self.curves.setdefault(branch, Regions(self.bin_pixels)).add(truth, labels, found)

    def figures(self) -> dict[str, Any]:
        """Write the files; for the report, `region_table` and where they are. Raises an output error."""
        table = region_table(self.curves)
        write_atomically(self.folder / "regions.json", (json.dumps(table, indent=1) + "\n").encode())
        write_atomically(self.folder / "regions.csv", _csv(table).encode())
        plot_regions(table, self.folder / "regions.png")
        return {"regions": table | {"folder": str(self.folder)}}


def _csv(table: Mapping[str, Any]) -> str:
    """A row a bin: from, to, regions, then each curve's accuracy and each change."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = table["rows"]
    names = [list(rows[0][key]) if rows else [] for key in ("accuracy", "change")]
    writer.writerow(["from", "to", "regions", *names[0], *names[1]])
    for row in rows:
        figures = [*row["accuracy"].values(), *row["change"].values()]
        writer.writerow([row["from"], row["to"], row["regions"], *(f"{figure:.6f}" for figure in figures)])
    return text.getvalue()


def plot_regions(table: Mapping[str, Any], path: Path) -> None:
    """Accuracy by size of region, and the changes from branch to branch below, as a PNG."""
    panels = []
    for key, title in (("accuracy", "Accuracy of connected regions"), ("change", "Change of it")):
        series: dict[str, list[tuple[float, float]]] = {}
        for row in table["rows"]:
            for name, figure in row[key].items():
                series.setdefault(name, []).append(((row["from"] + row["to"] - 1) / 2, figure))
        if series or key == "accuracy":
            panels.append(Panel(series, title, ylabel=" ", from_zero=True))
    panels[-1] = replace(panels[-1], xlabel=f"pixels of a region, bins of {table['bin_pixels']}")
    draw_panels(panels, path)
