"""The dataset doctor: what is wrong with a dataset before training finds out, and the fix for each.

Errors are what training refuses or silently learns wrongly; warnings are what may be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from icnet_cli.classes import IGNORE_INDEX, load_table
from icnet_cli.classes.table import UNKNOWN
from icnet_cli.data.files import TURN
from icnet_cli.data.layout import TRAIN_IDS_SUFFIX, Layout, as_ranges
from icnet_cli.data.layouts import recognise
from icnet_cli.data.leaks import Leak, leaks
from icnet_cli.data.survey import Survey, Values, survey_split

ERROR, WARNING = "error", "warning"
T = TypeVar("T")

_FILES_SHOWN = 5
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, in which files, and what to do about it."""

    severity: str  # "error" or "warning"
    kind: str  # one word or two for machines: "missing-labels", "palette", ...
    split: str | None  # None where several splits are concerned
    what: str  # one line
    fix: str  # one line
    count: int = 0  # files concerned
    files: tuple[str, ...] = ()  # the first few of them, relative to the dataset


@dataclass
class CheckReport:
    """What `check_dataset` found."""

    dataset: str
    layout: str
    images: dict[str, int]  # of each split
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == WARNING]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "dataset": self.dataset,
            "layout": self.layout,
            "images": self.images,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [asdict(finding) for finding in self.findings],
        }


def check_dataset(root: Path, on_pair: Callable[[int, int], None] | None = None) -> CheckReport:
    """Open every file of the dataset folder `root` and report all that is wrong with it.

    `on_pair(done, total)` is called after each image and its labels. Raises an input error only where the
    layout is not known or its class table does not fit.
    """
    layout = recognise(root)
    report = CheckReport(
        str(root), layout.name, {split: len(layout.images(split)) for split in layout.splits()}
    )
    total, done = sum(report.images.values()), 0

    def count() -> None:
        nonlocal done
        done += 1
        if on_pair:
            on_pair(done, total)

    surveys = [survey_split(layout, split, count) for split in layout.splits()]
    report.findings += [*_structure(layout, report.images), *_colors(layout)]
    for survey in surveys:
        report.findings += [*_files(layout, survey), *_values(layout, survey), *_classes(layout, survey)]
    report.findings += [_leak(layout, leak) for leak in leaks(surveys)]
    return report


def _finding(
    layout: Layout, severity: str, kind: str, split: str | None, paths: Sequence[Path], what: str, fix: str
) -> Finding:
    shown = tuple(path.relative_to(layout.root).as_posix() for path in paths[:_FILES_SHOWN])
    return Finding(severity, kind, split, what, fix, len(paths), shown)


def _structure(layout: Layout, images: dict[str, int]) -> Iterator[Finding]:
    if not images:
        what, fix = "no split has both images and labels", "put them in images/SPLIT/ and labels/SPLIT/"
        yield Finding(ERROR, "no-split", None, what, fix)
    for split in layout.image_splits():
        if split not in images:
            what = f"the split {split!r} has images but no folder of labels"
            yield Finding(
                WARNING, "no-labels", split, what, "add its labels, or leave it for `icnet segment`"
            )
    for split, number in images.items():
        if not number:
            fix = "add images, or remove its folder"
            yield Finding(ERROR, "empty-split", split, f"the split {split!r} has no image", fix)


def _colors(layout: Layout) -> Iterator[Finding]:
    """Classes of one colour, which no picture and no page can tell apart."""
    classes = layout.classes
    for color in sorted(set(classes.palette)):
        names = [name for name, own in zip(classes.names, classes.palette, strict=True) if own == color]
        if len(names) > 1:
            what = f"the classes {_named(names, ' and ')} have one color, {list(color)}"
            fix = "give each a color of its own in classes.yaml; pictures and pages cannot tell them apart"
            yield Finding(WARNING, "same-color", None, what, fix)


_FORMS = {  # mode of a label file that is no greyscale PNG: what it is, and the fix
    "palette": (
        "of labels with a palette, where single-channel greyscale is meant",
        "save the palette's indices as grey values; see that index and class id agree",
    ),
    "color": (
        "of labels in color, where single-channel greyscale is meant",
        "save each pixel's class id as its grey value",
    ),
    "other": (
        "of labels that are not PNG",
        "make them again as greyscale PNG from the source; a JPEG has invented class values",
    ),
}


def _files(layout: Layout, survey: Survey) -> Iterator[Finding]:
    """Missing pairs, damage, sizes that differ, and forms of label file that leave open what is meant."""

    def found(kind: str, paths: Sequence[Path], what: str, fix: str) -> Iterator[Finding]:
        if paths:
            yield _finding(layout, ERROR, kind, survey.split, paths, f"{_number(paths)} {what}", fix)

    yield from found(
        "missing-labels",
        survey.without_labels,
        "without a label file",
        "add the label files under the images' names, or take the images out",
    )
    yield from found(
        "missing-image",
        survey.without_image,
        "of labels without an image",
        "add the images under the labels' names, or take the labels out",
    )
    for reason, paths in _grouped(survey.damaged):
        what = f"that cannot be used: {reason.split(';')[0]}"
        yield from found("damaged", paths, what, "restore the files, or train with --skip-damaged")
    if survey.turned:
        what = (
            f"{_number(survey.turned)} with an EXIF rotation, which is not followed: pixels count as stored"
        )
        yield _finding(layout, WARNING, "turned", survey.split, survey.turned, what, TURN)
    for sizes, paths in _grouped(survey.wrong_size):
        fix = "make the two the same size; resize labels by nearest neighbour only"
        yield from found("size", paths, f"of another size than the image ({sizes})", fix)
    for mode, paths in _grouped((path, form.mode) for path, form in survey.wrong_form):
        yield from found(mode, paths, *_FORMS[mode])


def _values(layout: Layout, survey: Survey) -> Iterator[Finding]:
    """Label values: 0/255 masks, labelIds for train ids and the reverse, values outside the class table."""
    masks = _binary_masks(survey.values, layout.classes.num_classes)
    if masks:
        whole = len(masks) == len([values for values in survey.values if values.present() != {IGNORE_INDEX}])
        yield _finding(
            layout,
            ERROR if whole else WARNING,
            "0/255",
            survey.split,
            masks,
            f"{_number(masks)} of labels with the values 0 and 255 only; 255 means ignored, so one class is left",
            "where 255 stands for a class, save that class's id instead (1, if there are two classes)",
        )
    reverse = [values.path for values in survey.values if _train_ids_for_label_ids(values)]
    if reverse:
        yield _finding(
            layout,
            ERROR,
            "train-ids",
            survey.split,
            reverse,
            f"{_number(reverse)} named labelIds that holds train ids (0 to 18 and 255)",
            f"name such files *{TRAIN_IDS_SUFFIX}, or make the labelIds again from the polygons",
        )
    strange = [values for values in survey.values if values.unknown() and values.path not in reverse]
    if strange:
        yield _unknown_values(layout, survey.split, strange)
    empty = [values.path for values in survey.values if values.present() == {IGNORE_INDEX}]
    if empty:
        what = f"{_number(empty)} of labels that are 255 (ignored) everywhere"
        yield _finding(
            layout, WARNING, "unlabelled", survey.split, empty, what, "label them, or take them out"
        )


def _unknown_values(layout: Layout, split: str, strange: Sequence[Values]) -> Finding:
    paths = [values.path for values in strange]
    if layout.color_labels:
        share = max(values.counts[UNKNOWN] / values.counts.sum() for values in strange)
        what = f"{_number(paths)} of labels with colors outside the class table (up to {share:.2%} of a file)"
        fix = "paint them in the table's colors, without smoothing; stray pixels below 0.1 % are ignored"
        return _finding(layout, ERROR if share > 1e-3 else WARNING, "color-values", split, paths, what, fix)
    found = as_ranges(sorted(frozenset[int]().union(*(values.unknown() for values in strange))))
    expected = as_ranges(np.flatnonzero(strange[0].lookup != UNKNOWN).tolist())
    if _label_ids_for_train_ids(layout, strange):
        what = (
            f"{_number(paths)} of labels with Cityscapes labelIds (found {found}) where train ids are meant"
        )
        fix = "convert them to train ids, or give the classes their labelIds in classes.yaml (id: 7 for road)"
        if layout.name == "cityscapes":
            fix = "name such files *_labelIds.png, or make the labelTrainIds again from the polygons"
        return _finding(layout, ERROR, "label-ids", split, paths, what, fix)
    what = (
        f"{_number(paths)} of labels with values outside the class table: found {found}, expected {expected}"
    )
    fix = "list the values in the class table (train_id: 255 for those to ignore), or correct the files"
    return _finding(layout, ERROR, "values", split, paths, what, fix)


def _binary_masks(values: Sequence[Values], num_classes: int) -> list[Path]:
    """Label files of exactly 0 and 255: all right where there is one class, a mistake where there are more."""
    return [one.path for one in values if num_classes > 1 and one.present() == {0, IGNORE_INDEX}]


def _label_ids_for_train_ids(layout: Layout, strange: Sequence[Values]) -> bool:
    """Whether unknown values are explained by Cityscapes labelIds: none but its 34, beyond its 19 train ids."""
    cityscapes = load_table("cityscapes")
    present = frozenset[int]().union(*(values.present() for values in strange)) - {IGNORE_INDEX}
    if not present <= cityscapes.known_ids():
        return False
    named = any("labelid" in values.path.name.lower() for values in strange)
    of_cityscapes = set(layout.classes.names) == set(cityscapes.names)
    return named or of_cityscapes or len([value for value in present if value >= cityscapes.num_classes]) >= 3


def _train_ids_for_label_ids(values: Values) -> bool:
    """Cityscapes' labelIds never hold 255, and its train ids are 0 to 18 and 255."""
    if not values.path.name.endswith("_labelIds.png"):
        return False
    present = values.present()
    return IGNORE_INDEX in present and present <= {*range(19), IGNORE_INDEX}


def _classes(layout: Layout, survey: Survey) -> Iterator[Finding]:
    """Classes without a pixel in the split: they cannot be learned there, nor measured."""
    if not survey.values:
        return
    counts = np.sum([values.train_id_counts() for values in survey.values], axis=0)
    absent = [name for train_id, name in enumerate(layout.classes.names) if not counts[train_id]]
    if absent and len(absent) < layout.classes.num_classes:
        plural = "es" if len(absent) > 1 else ""
        what = f"{len(absent)} class{plural} without a pixel in the split: {_named(absent)}"
        fix = "add frames that show them, or take them out of the class table; their IoU is undefined here"
        yield Finding(WARNING, "absent-classes", survey.split, what, fix)
    elif absent:
        fix = "check the class table and the label values; a test split without public labels is like this"
        yield Finding(WARNING, "absent-classes", survey.split, "no class has a pixel in the split", fix)


_LEAKS = {
    "same-frame": (ERROR, "with the same picture", "keep each frame in one split only"),
    "near-duplicate": (
        WARNING,
        "that can hardly be told apart",
        "keep frames of one moment (a car waiting at a light) in one split; such figures flatter",
    ),
    "same-name": (
        WARNING,
        "of the same name but with another picture",
        "see that they are not the same frame in two versions; else give them names of their own",
    ),
}


def _leak(layout: Layout, leak: Leak) -> Finding:
    severity, what, fix = _LEAKS[leak.kind]
    number = f"{len(leak.pairs)} frame{'s' if len(leak.pairs) > 1 else ''}"
    text = f"{number} in both {leak.splits[0]} and {leak.splits[1]} {what}"
    files = [path for pair in leak.pairs for path in pair]
    shown = tuple(path.relative_to(layout.root).as_posix() for path in files[: _FILES_SHOWN // 2 * 2])
    return Finding(severity, leak.kind, None, text, fix, len(files), shown)


def _named(names: Sequence[str], last: str = ", ") -> str:
    """Names with commas, the first few of many."""
    if len(names) > _NAMES_SHOWN:
        return ", ".join([*names[:_NAMES_SHOWN], "..."])
    return last.join(filter(None, (", ".join(names[:-1]), names[-1])))


def _number(paths: Sequence[Path]) -> str:
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''}"


def _grouped(pairs: Iterable[tuple[Path, T]]) -> list[tuple[T, list[Path]]]:
    """Files by what is wrong with them, in the order met."""
    groups: dict[T, list[Path]] = {}
    for path, reason in pairs:
        groups.setdefault(reason, []).append(path)
    return list(groups.items())
