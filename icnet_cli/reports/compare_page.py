"""The page of `icnet compare`: two weights on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.reports.figures import (
    class_cell,
    class_key,
    labels_figure,
    matrix_and_list,
    milliseconds,
    numbered_frame,
    percent,
    photo,
    score,
    short_names,
    size_words,
)
from icnet_cli.reports.html import Child, Column, Html, Section, bar, el, facts, page, paragraph, table, tiles
from icnet_cli.reports.pictures import heat as heat_picture
from icnet_cli.reports.pictures import marked
from icnet_cli.reports.shots import Picture, Versus
from icnet_cli.reports.svg import Chart, line_chart

OUTCOMES = {
    "both_right": "Both right",
    "only_a_right": "Only A right",
    "only_b_right": "Only B right",
    "neither_right": "Neither right",
}


def compare_page(
    document: Mapping[str, Any],
    palette: NDArray[np.uint8],
    shots: Sequence[Versus] = (),
    series: Sequence[float] = (),
    heat: tuple[NDArray[np.floating], Picture] | None = None,
) -> str:
    """The page as HTML.

    Args:
        document: the JSON report of `icnet compare`, its classes in the order of `palette` (K, 3).
        shots: the pictures of the largest disagreement, the largest first.
        series: the disagreement of each frame; drawn for a video.
        heat: where in the picture they disagree, 0..1, and a picture to show it on.
    """
    names = list(document["per_class"])
    sections = [
        Section("headline", "Headline figures", _headline(document), "Headline"),
        Section("classes", "Classes", [_class_table(document, palette.tolist())]),
        Section("between", "Where they say different things", _between(document, names), "Disagreement"),
    ]
    where = _where(document, series, heat)
    if where:
        words = "When and where" if document["kind"] == "video" else "Where"
        sections.append(Section("where", f"{words} in the picture", where, words))
    if shots:
        title = (
            "The frame of most disagreement"
            if len(shots) == 1
            else f"The {len(shots)} frames of most disagreement"
        )
        sections.append(Section("frames", title, _frames(shots, names, palette), "Frames"))
    sections.append(Section("how", "How this was measured", [_how(document)], "Protocol"))
    title = "A {}, B {}".format(*short_names(document["a"]["weights"], document["b"]["weights"]))
    unit = "frames" if document["kind"] == "video" else "pictures"
    lead = (
        f"{document['frames']} {unit} of {document['source']}: "
        f"they disagree on {percent(document['disagreement'])} of the pixels."
    )
    return page(title, lead, sections, document, dict(zip(names, palette.tolist(), strict=True)))


def _headline(document: Mapping[str, Any]) -> list[Html]:
    a, b = document["a"], document["b"]
    figures = [("Disagreement", percent(document["disagreement"]), "of all pixels")]
    if document["time_ratio"] is not None:
        figures.append(("Time of B", f"{document['time_ratio']:.2f} x A", "the same pictures, in turn"))
    figures += [
        ("A, a picture", milliseconds(a["ms_p50"]), f"{a['model']}, input {a['size'][0]}x{a['size'][1]}"),
        ("B, a picture", milliseconds(b["ms_p50"]), f"{b['model']}, input {b['size'][0]}x{b['size'][1]}"),
    ]
    for key, title, write in (("miou", "mIoU", score), ("flicker", "Flicker", lambda v: percent(v, 2))):
        if a.get(key) is not None:
            figures += [(f"{title} of A", write(a[key]), ""), (f"{title} of B", write(b[key]), "")]
    found = [tiles(figures)]
    if "truth" in document:
        found.append(_outcomes(document["truth"]))
    return found


def _outcomes(truth: Mapping[str, float]) -> Html:
    rows = [[words, bar(truth[key]), percent(truth[key], 2)] for key, words in OUTCOMES.items()]
    columns = [Column("Labelled pixels", False), Column("", False), Column("Share")]
    return table("Who is right", columns, rows)


def _class_table(document: Mapping[str, Any], palette: Sequence[Sequence[int]]) -> Html:
    """A row a class: the disagreement, and what is known of each side."""
    a, b = document["a"], document["b"]
    columns = [Column("Class", False), Column("", False), Column("Disagreement")]
    columns += [Column("Pixels, A"), Column("Pixels, B")]
    sides: list[tuple[str, str, Any]] = [
        ("per_class", "IoU", score),
        ("flicker_per_class", "Flicker", percent),
    ]
    known = [side for side in sides if side[0] in a]
    for _, title, _ in known:
        columns += [Column(f"{title}, A"), Column(f"{title}, B")]
    rows = []
    for k, (name, share) in enumerate(document["per_class"].items()):
        row: list[Child] = [class_cell(name, palette[k]), bar(share, "var(--c1)"), percent(share)]
        row += [percent(side["class_share"][name], 2) for side in (a, b)]
        row += [write(side[key][name]) for key, _, write in known for side in (a, b)]
        rows.append(row)
    caption = (
        "Disagreement of a class: of the pixels that either gives to it, the share that the other does not."
    )
    return table(caption, columns, rows, sortable=True)


def _between(document: Mapping[str, Any], names: Sequence[str]) -> list[Html]:
    matrix = np.asarray(document["between"], np.float64)
    title = "The largest differences, by their share of all pixels that differ"
    return matrix_and_list(names, matrix, ("A", "B"), "A {}, B {}", title)


def _where(
    document: Mapping[str, Any],
    series: Sequence[float],
    heat: tuple[NDArray[np.floating], Picture] | None,
) -> list[Html]:
    found = []
    if document["kind"] == "video" and len(series) > 1:
        largest = max(range(len(series)), key=lambda i: series[i])
        alt = (
            f"Share of pixels that differ, frame by frame: from {percent(min(series))} to {percent(max(series))}, "
            f"the largest {largest} frames after the first of {len(series)}"
        )
        # From 0, as the frames below are numbered.
        points = [(float(i), share) for i, share in enumerate(series)]
        title = "share of pixels that differ"
        found.append(
            line_chart(Chart({"disagreement": points}, alt, "frames after the first", title, low=0.0))
        )
    if heat is not None:
        share, background = heat
        largest_share = float(share.max())
        alt = f"Where they disagree, over the first picture: at most in {percent(largest_share)} of the pictures"
        words = (
            f"How often they disagree at each place; brightest: in {percent(largest_share)} of the pictures."
        )
        shown = heat_picture(share / max(1e-9, largest_share), background)
        found.append(el("div", photo(shown, alt, words), class_="half"))
    return found


def _frames(shots: Sequence[Versus], names: Sequence[str], palette: NDArray[np.uint8]) -> list[Html]:
    words = "Where the two differ is bright on grey. A pointer over a picture of classes names the class."
    frames = [_frame(number, shot, names, palette) for number, shot in enumerate(shots, start=1)]
    return [paragraph(words), class_key(names, palette.tolist()), *frames]


def _frame(number: int, shot: Versus, names: Sequence[str], palette: NDArray[np.uint8]) -> Html:
    largest = ", ".join(f"A {names[i]}, B {names[j]} {percent(share)}" for i, j, share in shot.confusions)
    pictures = [
        photo(shot.image, f"Input: {shot.name}", "Input"),
        labels_figure(shot.a, names, palette, "A", "A"),
        labels_figure(shot.b, names, palette, "B", "B"),
        photo(
            marked(shot.image, shot.a != shot.b),
            f"They differ on {percent(shot.differ)} of the pixels. {largest}",
            "Disagreement",
        ),
    ]
    if shot.truth is not None:
        pictures.append(labels_figure(shot.truth, names, palette, "Truth", "Truth"))
    line = f"{percent(shot.differ)} differ: {largest}"
    return numbered_frame(number, shot.name, line, pictures, "" if shot.truth is None else "five")


def _how(document: Mapping[str, Any]) -> Html:
    pairs: list[tuple[str, Child]] = []
    for side in ("a", "b"):
        one = document[side]
        how = f"{one['device']} {one['precision']} {one['backend']}"
        pairs.append(
            (side.upper(), f"{one['weights']}, {one['model']}, input {size_words(one['size'])}, {how}")
        )
    p95 = [document[side]["ms_p95"] for side in ("a", "b")]
    pairs += [
        ("Source", document["source"] + (f", split {document['split']}" if document.get("split") else "")),
        ("Pictures", str(document["frames"])),
        (
            "Time",
            "picture in to labels out, median; the two in turn, A first on one picture, B first on the next",
        ),
        (
            "95 of 100 pictures take less",
            ", ".join(map(milliseconds, p95)),
        ),
    ]
    if "flicker" in document["a"]:
        words = (
            "of the pixels that optical flow follows from one frame to the next, the share that changes class"
        )
        pairs.append(("Flicker", words))
    return facts(pairs)
