"""The page of `icnet eval --report`: the figures of the JSON report, and pictures of where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import IGNORE_INDEX
from icnet_cli.reports.figures import (
    class_key,
    class_table,
    labels_figure,
    matrix_and_list,
    measured_on,
    milliseconds,
    numbered_frame,
    percent,
    photo,
    score,
    size_words,
)
from icnet_cli.reports.html import Column, Html, Section, el, facts, page, paragraph, table, tiles
from icnet_cli.reports.pictures import hits_and_misses, marked
from icnet_cli.reports.shots import Crop, Shot
from icnet_cli.reports.svg import Chart, line_chart

HARDEST = 5


@dataclass(frozen=True)
class ClassCropSet:
    """The crops of one class, each list its most telling first."""

    best: Sequence[Crop]
    worst: Sequence[Crop]


def eval_page(
    document: Mapping[str, Any],
    palette: NDArray[np.uint8],
    shots: Sequence[Shot] = (),
    crops: Sequence[ClassCropSet] = (),
) -> str:
    """The page as HTML.

    Args:
        document: the JSON report of `icnet eval`, its classes in the order of `palette` (K, 3).
        shots: the worst frames, the worst first.
        crops: of each class, in the same order; empty leaves the section out.
    """
    names = list(document["per_class"])
    sections = [
        Section("headline", "Headline figures", _headline(document), "Headline"),
        Section("classes", "Classes", [class_table(document, palette.tolist())]),
        Section("confusion", "What is taken for what", _confusion(document, names), "Confusion"),
    ]
    if document.get("regions"):
        sections.append(Section("regions", "Accuracy by size of region", _regions(document), "Region size"))
    if shots:
        sections.append(
            Section("worst", f"The {_counted(len(shots))}", _worst(shots, names, palette), "Worst frames")
        )
    hardest = _hardest(document, crops)
    if hardest:
        sections.append(
            Section("crops", "The hardest classes, close by", _crops(hardest, names, crops), "Crops")
        )
    sections.append(Section("how", "How this was measured", [_how(document)], "Protocol"))
    title = f"{document['model']} on {measured_on(document)}"
    lead = f"Weights {document['weights']}: mIoU {score(document['miou'])} over {document['images']} images."
    colours = dict(zip(names, palette.tolist(), strict=True))
    return page(title, lead, sections, document, colours)


def _counted(number: int) -> str:
    return "worst frame" if number == 1 else f"{number} worst frames"


def _headline(document: Mapping[str, Any]) -> list[Html]:
    protocol = document["protocol"]
    where = f"{measured_on(document)}, {document['images']} images"
    figures = [("mIoU", score(document["miou"]), where)]
    if "category_miou" in document:
        figures.append(("Category mIoU", score(document["category_miou"]), "classes of a kind as one"))
    figures += [
        ("Pixel accuracy", score(document["pixel_accuracy"]), "share of pixels right"),
        ("Mean accuracy", score(document["mean_accuracy"]), "mean of the classes' recall"),
        (
            "Network",
            milliseconds(document["model_ms"]),
            f"an image, {document['device']} {document['precision']}",
        ),
    ]
    scales = ", ".join(f"{scale:g}" for scale in protocol["scales"])
    words = (
        f"Input {size_words(protocol['size'])}, scales {scales}, {'with' if protocol['flip'] else 'no'} mirroring; "
        f"labels compared at their own size, value {protocol['ignore_index']} not counted; "
        "one confusion matrix over all images."
    )
    found = [tiles(figures), paragraph(words)]
    if document.get("reproduces"):
        known = document["reproduces"]
        found.append(
            paragraph(
                f"The weights' card has {known['card_value']:.4f} ({known['field']}); "
                f"this is {known['difference']:+.4f} from it."
            )
        )
    return found


def _confusion(document: Mapping[str, Any], names: Sequence[str]) -> list[Html]:
    matrix = np.asarray(document["confusion"], np.float64)
    title = "The largest confusions, by their share of all wrong pixels"
    return matrix_and_list(names, matrix, ("truth", "prediction"), "{} taken for {}", title)


def _regions(document: Mapping[str, Any]) -> list[Html]:
    regions = document["regions"]
    rows = regions["rows"]
    if not rows:
        return [paragraph("No region was labelled.")]
    curves = {
        name: [((row["from"] + row["to"] - 1) / 2, row["accuracy"][name]) for row in rows]
        for name in rows[0]["accuracy"]
    }
    ends = ", ".join(f"{name} {curve[0][1]:.2f} to {curve[-1][1]:.2f}" for name, curve in curves.items())
    alt = f"Accuracy of regions from the smallest to the largest: {ends}"
    chart = Chart(curves, alt, "pixels of a region", "accuracy", low=0.0, high=1.0)
    columns = [Column("Pixels", False), Column("Regions"), *(Column(f"Accuracy, {name}") for name in curves)]
    cells = [
        [f"{row['from']} to {row['to']}", row["regions"], *(score(a) for a in row["accuracy"].values())]
        for row in rows
    ]
    larger = f" {regions['larger']} larger ones are not counted." if regions["larger"] else ""
    words = (
        "A region is a connected piece of one class in the truth, its accuracy the share of its pixels that are right; "
        f"each of the {regions['regions']} regions counts once, in bins of {regions['bin_pixels']} pixels.{larger}"
    )
    return [
        paragraph(words),
        line_chart(chart),
        el("details", el("summary", "The figures"), table("Accuracy by size of region", columns, cells)),
    ]


def _worst(shots: Sequence[Shot], names: Sequence[str], palette: NDArray[np.uint8]) -> list[Html]:
    words = (
        "By the share of labelled pixels that are wrong. Hatched: not labelled. In the last picture wrong pixels are "
        "bright on grey. A pointer over a picture of classes names the class."
    )
    frames = [_frame(number, shot, names, palette) for number, shot in enumerate(shots, start=1)]
    return [paragraph(words), class_key(names, palette.tolist()), *frames]


def _frame(number: int, shot: Shot, names: Sequence[str], palette: NDArray[np.uint8]) -> Html:
    confusions = ", ".join(
        f"{names[i]} taken for {names[j]} {percent(share)}" for i, j, share in shot.confusions
    )
    ignored = shot.truth == IGNORE_INDEX
    error = marked(shot.image, (shot.truth != shot.labels) & ~ignored, ignored)
    pictures = [
        photo(shot.image, f"Input: {shot.name}", "Input"),
        labels_figure(shot.truth, names, palette, "Truth", "Truth"),
        labels_figure(shot.labels, names, palette, "Prediction", "Prediction"),
        photo(error, f"Errors: {percent(shot.wrong)} of the pixels are wrong. {confusions}", "Error"),
    ]
    line = f"{percent(shot.wrong)} wrong, mIoU {shot.miou:.4f}" + (f": {confusions}" if confusions else "")
    return numbered_frame(number, shot.name, line, pictures)


def _hardest(document: Mapping[str, Any], crops: Sequence[ClassCropSet]) -> list[int]:
    """The classes of the lowest IoU among those of which there is anything to show."""
    known = [
        (iou, k)
        for k, iou in enumerate(document["per_class"].values())
        if iou is not None and k < len(crops) and (crops[k].best or crops[k].worst)
    ]
    return [k for _, k in sorted(known)[:HARDEST]]


def _crops(hardest: Sequence[int], names: Sequence[str], crops: Sequence[ClassCropSet]) -> list[Html]:
    words = (
        "Around one region of the class each: the picture, and the class alone. Found is solid blue, missed striped "
        "orange, invented dotted purple. IoU is that of the class inside the crop."
    )
    parts = [paragraph(words)]
    for k in hardest:
        groups = [
            el(
                "div",
                el("p", title, class_="note"),
                el("div", [_crop(one, names[k]) for one in some], class_="crops"),
            )
            for title, some in (("Best", crops[k].best), ("Worst", crops[k].worst))
            if some
        ]
        parts.append(el("article", el("h3", names[k]), groups))
    return parts


def _crop(crop: Crop, name: str) -> Html:
    both = np.hstack([crop.image, hits_and_misses(crop.image, crop.truth, crop.labels)])
    words = f"{name} in {crop.name}, IoU {crop.iou:.2f} inside the crop"
    return photo(both, words, f"IoU {crop.iou:.2f}, {crop.name}")


def _how(document: Mapping[str, Any]) -> Html:
    protocol = document["protocol"]
    pairs = [
        ("Weights", document["weights"]),
        ("Network", document["model"] + (f", {protocol['branches']}" if protocol.get("branches") else "")),
        ("Dataset and split", measured_on(document)),
        ("Images", f"{document['images']}, and {document['images_damaged']} damaged ones left out"),
        ("Network input", size_words(protocol["size"])),
        ("Scales", ", ".join(f"{scale:g}" for scale in protocol["scales"])),
        ("Mirrored too", "yes" if protocol["flip"] else "no"),
        ("Not counted", f"label {protocol['ignore_index']}"),
        ("Device and precision", f"{document['device']}, {document['precision']}"),
        ("Network alone", f"{document['model_ms']:.1f} ms an image, mean"),
        ("Whole evaluation", f"{document['seconds']:.0f} s"),
    ]
    return facts(pairs)
