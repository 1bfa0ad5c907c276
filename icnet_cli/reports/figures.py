"""Parts that several pages have: numbers as they are written, classes as rows, frames as rows of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import IGNORE_INDEX
from icnet_cli.reports.html import Column, Html, bar, el, paragraph, scroller, swatch, table
from icnet_cli.reports.pictures import jpeg_uri, labels_uri
from icnet_cli.reports.shots import Labels

MATRIX_CLASSES = 40  # a larger matrix is no table any more: its largest confusions are
CONFUSIONS = 12
NO_FIGURE = "–"


def score(value: float | None) -> str:
    """0..1 with four digits, as in every table of the tool."""
    return NO_FIGURE if value is None else f"{value:.4f}"


def percent(value: float | None, digits: int = 1) -> str:
    return NO_FIGURE if value is None else f"{value * 100:.{digits}f} %"


def milliseconds(value: float | None) -> str:
    return NO_FIGURE if value is None else f"{value:.0f} ms" if value >= 1000 else f"{value:.1f} ms"


def short_name(name: str) -> str:
    """Of a path its last part."""
    return re.split(r"[\\/]", name)[-1]


def short_names(a: str, b: str) -> tuple[str, str]:
    """Of two paths their last parts: as many as tell the two apart."""
    parts = [re.split(r"[\\/]", name) for name in (a, b)]
    for count in range(1, max(map(len, parts)) + 1):
        first, second = ("/".join(one[-count:]) for one in parts)
        if first != second:
            break
    return first, second


def size_words(size: Sequence[int] | None) -> str:
    return "each at a size of its own" if size is None else f"{size[0]}x{size[1]} (height x width)"


def class_cell(name: str, colour: Sequence[int]) -> Html:
    return el("span", swatch(colour), name)


def class_table(document: Mapping[str, Any], palette: Sequence[Sequence[int]]) -> Html:
    """IoU a class as bars, with precision, recall and the class's share of the truth."""
    matrix = np.asarray(document["confusion"], np.float64)
    hits, true, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    rows = []
    for k, (name, iou) in enumerate(document["per_class"].items()):
        rows.append(
            [
                class_cell(name, palette[k]),
                bar(iou),
                score(iou),
                percent(_ratio(hits[k], found[k])),
                percent(_ratio(hits[k], true[k])),
                percent(_ratio(true[k], true.sum()), 2),
            ]
        )
    columns = [
        Column("Class", number=False),
        Column("", number=False),
        Column("IoU"),
        Column("Precision"),
        Column("Recall"),
        Column("Share of pixels"),
    ]
    caption = (
        "IoU by class. Precision: of what is called so, how much is. Recall: of what is, how much is found."
    )
    return table(caption, columns, rows, sortable=True)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def matrix_table(names: Sequence[str], matrix: NDArray[np.float64], rows_are: str, columns_are: str) -> Html:
    """A confusion matrix in percent of each row. The figure is in every cell; the shade only helps the eye."""
    totals = matrix.sum(axis=1)
    head = el(
        "tr",
        el("th", f"{rows_are} \\ {columns_are}", scope="col"),
        [el("th", name, scope="col") for name in names],
    )
    body = []
    for i, name in enumerate(names):
        cells = [_matrix_cell(_ratio(matrix[i, j], totals[i]), i == j) for j in range(len(names))]
        body.append(el("tr", el("th", name, scope="row", title=name), cells))
    caption = f"Rows: {rows_are}. Columns: {columns_are}. Percent of each row's pixels; bold: the same class."
    whole = el("table", el("thead", head), el("tbody", body), class_="matrix")
    return scroller(whole, caption)


def _matrix_cell(share: float | None, same: bool) -> Html:
    text = NO_FIGURE if share is None else "" if share < 0.0005 else f"{share * 100:.1f}"
    return el("td", text, class_="hit" if same else None, style=f"--v:{(share or 0) * 100:.1f}")


def confusion_list(names: Sequence[str], matrix: NDArray[np.float64], phrase: str, title: str) -> Html:
    """The largest numbers off the diagonal, in words. `phrase` has a place for the row's class and
    one for the column's."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    wrong, totals = off.sum(), matrix.sum(axis=1)
    order = np.argsort(off, axis=None)[::-1][:CONFUSIONS]
    rows = []
    for place in order:
        i, j = divmod(int(place), len(names))
        if off[i, j]:
            share = off[i, j] / wrong
            rows.append(
                [
                    phrase.format(names[i], names[j]),
                    bar(share),
                    percent(share),
                    percent(off[i, j] / totals[i]),
                ]
            )
    columns = [Column("What", False), Column("", False), Column("Of all such pixels"), Column("Of the class")]
    return table(title, columns, rows) if rows else paragraph("Not a single pixel.")


def matrix_and_list(
    names: Sequence[str], matrix: NDArray[np.float64], sides: tuple[str, str], phrase: str, title: str
) -> list[Html]:
    """A confusion matrix, as long as it is small enough to read, and its largest numbers in words.

    Args:
        sides: what the rows and the columns are.
        phrase, title: as `confusion_list`.
    """
    largest = confusion_list(names, matrix, phrase, title)
    if len(names) > MATRIX_CLASSES:
        words = f"A matrix of {len(names)} classes is in the report's data; here are its largest numbers."
        return [paragraph(words), largest]
    return [matrix_table(names, matrix, *sides), largest]


def worded(labels: Labels, names: Sequence[str], most: int = 4) -> str:
    """What is in labels, largest first: the words for who does not see the picture."""
    counts = np.bincount(labels[labels != IGNORE_INDEX], minlength=len(names))[: len(names)]
    if not counts.sum():
        return "nothing labelled"
    order = [int(k) for k in np.argsort(-counts, kind="stable")[:most] if counts[k]]
    return ", ".join(f"{names[k]} {counts[k] / counts.sum():.0%}" for k in order)


def labels_figure(
    labels: Labels, names: Sequence[str], palette: NDArray[np.uint8], what: str, caption: str
) -> Html:
    """Labels in the classes' colours, with their shares as the words for it."""
    image = el(
        "img",
        src=labels_uri(labels, palette),
        alt=f"{what}: {worded(labels, names)}",
        class_="labels",
        loading="lazy",
        decoding="async",
    )
    return el("figure", image, el("figcaption", caption))


def photo(picture: NDArray[np.uint8], alt: str, caption: str) -> Html:
    image = el("img", src=jpeg_uri(picture), alt=alt, loading="lazy", decoding="async")
    return el("figure", image, el("figcaption", caption))


def numbered_frame(number: int, name: str, line: str, pictures: Sequence[Html], more_class: str = "") -> Html:
    """A frame of a list of them: its heading, what there is to say, its pictures side by side."""
    row = el("div", pictures, class_=f"quad {more_class}".strip())
    return el("article", el("h3", f"{number}. {name}"), el("p", line, class_="note"), row)


def class_key(names: Sequence[str], palette: Sequence[Sequence[int]]) -> Html:
    """The colours of the classes, folded where they are many."""
    entries = [el("li", class_cell(name, colour)) for name, colour in zip(names, palette, strict=True)]
    listing = el("ul", entries, class_="key")
    if len(entries) <= MATRIX_CLASSES:
        return listing
    return el("details", el("summary", f"Colours of the {len(entries)} classes"), listing)


def measured_on(document: Mapping[str, Any]) -> str:
    """The dataset and split of an evaluation's document, in words; a dataset of one's own by its folder's name."""
    protocol = document["protocol"]
    dataset = document.get("data") if protocol["dataset"] == "folder" else None
    return f"{dataset or protocol['dataset']} {protocol['split']}"
