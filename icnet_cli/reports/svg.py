"""Line charts as inline SVG. Colours come from the page's style, so a chart is light or dark as the page is.

Positions are (x, y) in the chart's own units, y downwards. Curves differ by dash and by mark as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from icnet_cli.reports.axes import Point, nice_ticks, tick_labels
from icnet_cli.reports.html import Html, el

T = TypeVar("T")

WIDTH, HEIGHT = 480, 270  # few enough units that the text is legible on a telephone
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 28, 44
_STYLES = 7
_MARKS = 40  # a curve of fewer points gets a mark on each
_MOST_POINTS = 600  # of a curve; more cannot be seen, and make the page large


@dataclass(frozen=True)
class Chart:
    """One pair of axes.

    Attributes:
        series: curves by name; a point that is not finite interrupts its curve.
        alt: what the chart shows, in words, with its main figures.
        faded: curves drawn pale, behind the others, without marks.
        low, high: the y axis holds these values whatever the curves do.
    """

    series: Mapping[str, Sequence[Point]]
    alt: str
    xlabel: str = ""
    ylabel: str = ""
    faded: frozenset[str] = frozenset()
    low: float | None = None
    high: float | None = None


def line_chart(chart: Chart) -> Html:
    """The chart as a figure, with a legend where there is more than one curve."""
    points = [p for curve in chart.series.values() for p in curve if all(map(math.isfinite, p))]
    if not points:
        return el("p", f"{chart.ylabel or 'This'}: no values yet.", class_="soft")
    axes = _Axes(chart, points)
    drawing = el(
        "svg",
        axes.grid(),
        [axes.curve(index, name) for index, name in axes.order()],
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="chart",
        role="img",
        aria_label=chart.alt,
    )
    legend = _legend(list(chart.series), chart.faded) if len(chart.series) > 1 else None
    return el("figure", legend, drawing)


class _Axes:
    def __init__(self, chart: Chart, points: Sequence[Point]) -> None:
        self.chart = chart
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        ys += [value for value in (chart.low, chart.high) if value is not None]
        self.x_ticks = nice_ticks(min(xs), max(xs), target=5)
        self.y_ticks = nice_ticks(min(ys), max(ys), target=5)
        self.x_span = (min(xs), max(xs)) if min(xs) < max(xs) else (self.x_ticks[0], self.x_ticks[-1])

    def at(self, point: Point) -> tuple[float, float]:
        (x0, x1), (y0, y1) = self.x_span, (self.y_ticks[0], self.y_ticks[-1])
        return (
            LEFT + (point[0] - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (point[1] - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
        )

    def grid(self) -> list[Html]:
        parts = []
        x0, x1 = self.x_span
        bottom = HEIGHT - BOTTOM
        for tick, label in zip(self.y_ticks, tick_labels(self.y_ticks), strict=True):
            y = self.at((x0, tick))[1]
            parts.append(_line((LEFT, y), (WIDTH - RIGHT, y), "grid"))
            parts.append(_text(label, (LEFT - 7, y + 4), "end"))
        for tick, label in zip(self.x_ticks, tick_labels(self.x_ticks), strict=True):
            if x0 <= tick <= x1:
                x = self.at((tick, self.y_ticks[0]))[0]
                parts.append(_line((x, bottom), (x, bottom + 4), "axis"))
                parts.append(_text(label, (min(x, WIDTH - 16), bottom + 18), "middle"))
        parts.append(_line((LEFT, bottom), (WIDTH - RIGHT, bottom), "axis"))
        if self.chart.xlabel:
            parts.append(_text(self.chart.xlabel, ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6), "middle"))
        if self.chart.ylabel:
            parts.append(_text(self.chart.ylabel, (LEFT, TOP - 14), "start"))
        return parts

    def order(self) -> list[tuple[int, str]]:
        """The curves with the number of their style; faded ones first, so that the others cover them."""
        return sorted(enumerate(self.chart.series), key=lambda item: item[1] not in self.chart.faded)

    def curve(self, index: int, name: str) -> list[Html]:
        faded = name in self.chart.faded
        points = thinned(self.chart.series[name])
        runs: list[list[Point]] = [[]]
        for point in points:
            if all(map(math.isfinite, point)):
                runs[-1].append(self.at(point))
            elif runs[-1]:
                runs.append([])
        path = "".join(
            ("M" if i == 0 else "L") + f"{x:.1f} {y:.1f}" for run in runs for i, (x, y) in enumerate(run)
        )
        parts = [el("path", d=path, class_=_style(index, faded))]
        if not faded and len(points) < _MARKS:
            parts += [_mark(index, at) for run in runs for at in run]
        return parts


def thinned(points: Sequence[T], most: int = _MOST_POINTS) -> list[T]:
    """At most `most` of them, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _line(start: Point, end: Point, class_: str) -> Html:
    (x1, y1), (x2, y2) = start, end
    return el("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _text(text: str, at: Point, anchor: str) -> Html:
    return Html(el("text", text, x=f"{at[0]:.1f}", y=f"{at[1]:.1f}", **{"text-anchor": anchor}))


def _mark(index: int, at: Point) -> Html:
    """A disc, a square or a diamond, by the curve."""
    x, y = at
    fill = f"f{index % _STYLES}"
    if index % 3 == 0:
        return el("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.5, class_=fill)
    turn = f"rotate(45 {x:.1f} {y:.1f})" if index % 3 == 2 else None
    return el("rect", x=f"{x - 3:.1f}", y=f"{y - 3:.1f}", width=6, height=6, class_=fill, transform=turn)


def _style(index: int, faded: bool) -> str:
    return f"line s{index % _STYLES}" + (" faded" if faded else "")


def _legend(names: Sequence[str], faded: frozenset[str]) -> Html:
    entries = []
    for index, name in enumerate(names):
        sample = el(
            "svg",
            el("path", d="M0 6L34 6", class_=_style(index, name in faded)),
            None if name in faded else _mark(index, (17, 6)),
            width=34,
            height=12,
            class_="chart",
            style="display:inline-block;width:34px;margin-right:.4rem",
            aria_hidden="true",
        )
        entries.append(el("li", sample, name))
    return el("ul", entries, class_="key")
