"""Axes, their ticks and what is drawn between them, as PNG files: by OpenCV, without a plotting library.

A picture is a stack of panels. A panel has its title and legend above its axes, so that
neither ever hides a curve. Positions on the picture are (x, y) pixels, as OpenCV takes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import write_picture

Point = tuple[float, float]
Colour = tuple[int, int, int]  # RGB
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

# Okabe and Ito's colours, which stay apart for colour-blind readers too (yellow left out: pale on white).
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (80, 80, 80),
)
PAPER: Colour = (255, 255, 255)
INK: Colour = (45, 45, 45)
SOFT_INK: Colour = (105, 105, 105)
GRID: Colour = (228, 228, 228)
AXIS: Colour = (150, 150, 150)

WIDTH, PANEL_HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 78, 26, 50, 34  # margins around a panel's axes
XLABEL_HEIGHT = 26
_SHIFT = 4  # OpenCV draws anti-aliased lines at 1/16 of a pixel
_FEW = 40  # a curve of fewer points gets a dot on each


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        series: curves by name; a point with a NaN or infinite coordinate interrupts its curve.
        faded: names of curves drawn pale, behind the others.
        lines: False draws dots only.
        from_zero: the y axis begins at 0 where no value is negative.
    """

    series: Mapping[str, Sequence[Point]]
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    faded: frozenset[str] = frozenset()
    lines: bool = True
    from_zero: bool = False
    labels: Mapping[Point, str] | None = None


def nice_ticks(low: float, high: float, target: int = 5, smallest_step: float = 0.0) -> list[float]:
    """About `target` round values (1, 2 or 5 times a power of ten) that enclose low..high, low <= high.

    A `smallest_step` of 1 keeps an axis of counts free of fractions.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"no axis from {low} to {high}")
    if low == high:
        pad = abs(low) / 10 or 0.5
        low, high = low - pad, high + pad
    rough = max((high - low) / target, smallest_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [tick * step for tick in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks in as few characters as tell them apart: 0.25, 30k, 5e-5."""
    step = min((abs(b - a) for a, b in pairwise(ticks)), default=1.0)
    largest = max(map(abs, ticks), default=0.0)
    if 0 < largest < 2e-3:
        return ["0" if abs(t) < step / 2 else _scientific(t, step) for t in ticks]
    for limit, suffix in ((1e6, "M"), (1e4, "k")):
        if largest >= limit:
            scale = limit if suffix == "M" else 1e3
            return [_decimal(t / scale, step / scale) + (suffix if abs(t) >= step / 2 else "") for t in ticks]
    return [_decimal(t, step) for t in ticks]


def _scientific(value: float, step: float) -> str:
    digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) - math.floor(math.log10(step) + 1e-9))
    return f"{value:.{digits}e}".replace("e-0", "e-")


def _decimal(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value if abs(value) >= step / 2 else 0.0:.{digits}f}"


def draw_panels(
    panels: Sequence[Panel],
    path: Path,
    *,
    width: int = WIDTH,
    panel_height: int = PANEL_HEIGHT,
    x_range: tuple[float, float] | None = None,
) -> None:
    """Write the panels, one above the other, as a PNG. `x_range` makes them share the x axis."""
    pictures = []
    for panel in panels:
        height = panel_height + (XLABEL_HEIGHT if panel.xlabel else 0)
        canvas = np.full((height, width, 3), PAPER, np.uint8)
        _Axes(canvas, panel, x_range).draw()
        pictures.append(canvas)
    write_picture(path, np.concatenate(pictures))


def finite_range(values: Iterable[float]) -> tuple[float, float] | None:
    """The least and the greatest finite value; None where there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return (min(finite), max(finite)) if finite else None


class _Axes:
    """Draws one panel into its own canvas, uint8 (height, width, 3) RGB."""

    def __init__(self, canvas: NDArray[np.uint8], panel: Panel, x_range: tuple[float, float] | None) -> None:
        self.canvas, self.panel = canvas, panel
        height, width = canvas.shape[:2]
        bottom = height - BOTTOM - (XLABEL_HEIGHT if panel.xlabel else 0)
        self.box: Box = (LEFT, TOP, width - RIGHT, bottom)
        points = [p for curve in panel.series.values() for p in curve if all(map(math.isfinite, p))]
        x = x_range or finite_range(p[0] for p in points)
        y = finite_range(p[1] for p in points)
        self.empty = not points
        counted = all(p[0] == round(p[0]) for p in points)
        self.x_ticks = nice_ticks(*(x or (0.0, 1.0)), target=8, smallest_step=1.0 if counted else 0.0)
        low, high = y or (0.0, 1.0)
        self.y_ticks = nice_ticks(min(0.0, low) if panel.from_zero else low, high)
        if panel.lines and x and x[0] < x[1]:  # curves run to the axes' ends; single dots keep a margin
            self.x_span = x
            self.x_ticks = [t for t in self.x_ticks if x[0] <= t <= x[1]]
        else:
            self.x_span = (self.x_ticks[0], self.x_ticks[-1])

    def draw(self) -> None:
        self._grid()
        self._heading()
        if self.empty:
            left, top, right, bottom = self.box
            at = ((left + right) // 2, (top + bottom) // 2)
            self._text("no values yet", at, SOFT_INK, anchor=0.5)
            return
        for colour, (name, curve) in self._coloured():
            self._curve(curve, colour, faded=name in self.panel.faded)
        if self.panel.labels:
            self._name_points()

    def _coloured(self) -> list[tuple[Colour, tuple[str, Sequence[Point]]]]:
        """The curves with their colours; the faded ones first, so that the others cover them."""
        items = sorted(self.panel.series.items(), key=lambda item: item[0] not in self.panel.faded)
        solid = [name for name, _ in items if name not in self.panel.faded]
        coloured = []
        for name, curve in items:
            colour = COLOURS[solid.index(name) % len(COLOURS)] if name in solid else _pale(COLOURS[0])
            coloured.append((colour, (name, curve)))
        return coloured

    def _at(self, point: Point) -> tuple[float, float]:
        """Where a point falls on the canvas, in pixels."""
        left, top, right, bottom = self.box
        (x0, x1), (y0, y1) = self.x_span, (self.y_ticks[0], self.y_ticks[-1])
        return (
            left + (point[0] - x0) / (x1 - x0) * (right - left),
            bottom - (point[1] - y0) / (y1 - y0) * (bottom - top),
        )

    def _grid(self) -> None:
        left, top, right, bottom = self.box
        for tick, label in zip(self.y_ticks, tick_labels(self.y_ticks), strict=True):
            y = round(self._at((self.x_span[0], tick))[1])
            cv2.line(self.canvas, (left, y), (right, y), GRID, 1)
            self._text(label, (left - 9, y), SOFT_INK, anchor=1)
        for tick, label in zip(self.x_ticks, tick_labels(self.x_ticks), strict=True):
            x = round(self._at((tick, self.y_ticks[0]))[0])
            cv2.line(self.canvas, (x, top), (x, bottom), GRID, 1)
            self._text(label, (x, bottom + 17), SOFT_INK, anchor=0.5)
        cv2.line(self.canvas, (left, top), (left, bottom), AXIS, 1)
        cv2.line(self.canvas, (left, bottom), (right, bottom), AXIS, 1)
        if self.panel.xlabel:
            self._text(self.panel.xlabel, ((left + right) // 2, bottom + BOTTOM + 8), INK, anchor=0.5)

    def _heading(self) -> None:
        """Title, the y axis' name after it, and the legend at the right end of the line."""
        left, _, right, _ = self.box
        x = left
        if self.panel.title:
            x = self._text(self.panel.title, (x, 25), INK, scale=0.62)[2] + 14
        if self.panel.ylabel:
            self._text(self.panel.ylabel, (x, 26), SOFT_INK)
        entries = [(colour, name) for colour, (name, _) in self._coloured() if name]
        if len(entries) < 2:
            return
        for colour, name in reversed(entries):
            right = self._text(name, (right, 26), INK, anchor=1)[0] - 8
            if self.panel.lines:
                cv2.line(self.canvas, (right - 20, 26), (right, 26), colour, 3, cv2.LINE_AA)
            else:
                self._dot((right - 7, 26), colour, 6)
            right -= 40 if self.panel.lines else 32

    def _curve(self, curve: Sequence[Point], colour: Colour, faded: bool) -> None:
        thickness = 1 if faded else 2
        known = [point if all(map(math.isfinite, point)) else None for point in curve]
        run: list[tuple[float, float]] = []
        for point in [*known, None]:
            if point is not None:
                run.append(self._at(point))
            elif run:
                if self.panel.lines:
                    line = np.round(np.array(run) * (1 << _SHIFT)).astype(np.int32)
                    cv2.polylines(self.canvas, [line], False, colour, thickness, cv2.LINE_AA, _SHIFT)
                if not self.panel.lines or len(curve) < _FEW or len(run) == 1:
                    for at in run:
                        self._dot(at, colour, 4 if self.panel.lines else 6)
                run = []

    def _dot(self, at: tuple[float, float], colour: Colour, radius: int) -> None:
        centre = (round(at[0] * (1 << _SHIFT)), round(at[1] * (1 << _SHIFT)))
        cv2.circle(self.canvas, centre, (radius + 1) << _SHIFT, PAPER, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(self.canvas, centre, radius << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)

    def _name_points(self) -> None:
        """Each name on the first side of its dot where it covers nothing and stays inside."""
        spots = {p: self._at(p) for p in self.panel.labels or {} if all(map(math.isfinite, p))}
        taken = [(round(x) - 7, round(y) - 7, round(x) + 7, round(y) + 7) for x, y in spots.values()]
        for point, (x, y) in spots.items():
            name = (self.panel.labels or {})[point]
            sides = [((x + 12, y), 0.0), ((x - 12, y), 1.0), ((x, y - 18), 0.5), ((x, y + 18), 0.5)]
            if self.panel.lines:  # a curve passes a dot on its left and right
                above, below = (x, y - 18), (x, y + 18)
                corners = [((x + 6, y - 18), 0.0), ((x + 6, y + 18), 0.0)]  # for a dot on the left axis
                sides = [(above, 0.5), (above, 1.0), (below, 0.5), *corners, *sides[:2]]
            boxes = [_text_box(name, (round(a), round(b)), anchor) for (a, b), anchor in sides]
            free = (box for box in boxes if self._inside(box) and not any(_overlap(box, t) for t in taken))
            box = next(free, boxes[0])
            taken.append(box)
            self._text(name, (box[0], (box[1] + box[3]) // 2), INK)

    def _inside(self, box: Box) -> bool:
        left, _, _, bottom = self.box
        return left < box[0] and box[1] > TOP - 12 and box[2] < self.canvas.shape[1] and box[3] < bottom

    def _text(
        self, text: str, at: tuple[int, int], colour: Colour, scale: float = 0.5, anchor: float = 0
    ) -> Box:
        """Text centred on at's height, beginning (anchor 0), centred (0.5) or ending (1) at its x."""
        box = _text_box(text, at, anchor, scale)
        origin = (box[0], box[3])
        cv2.putText(self.canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
        return box


def _text_box(text: str, at: tuple[int, int], anchor: float = 0, scale: float = 0.5) -> Box:
    width, height = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0]
    left, bottom = round(at[0] - anchor * width), at[1] + height // 2
    return (left, bottom - height, left + width, bottom)


def _overlap(a: Box, b: Box) -> bool:
    """Whether two boxes meet, or come closer than two lines of text should."""
    return a[0] < b[2] + 4 and b[0] < a[2] + 4 and a[1] < b[3] + 4 and b[1] < a[3] + 4


def _pale(colour: Colour) -> Colour:
    red, green, blue = ((c + 2 * 255) // 3 for c in colour)
    return red, green, blue
