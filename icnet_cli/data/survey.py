"""One look at every file of a split: what the dataset doctor draws its conclusions from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes.table import UNKNOWN
from icnet_cli.data.camvid import labels_of_colors
from icnet_cli.data.files import (
    Form,
    check_picture,
    decode_image,
    decode_labels,
    label_form_problem,
    read_bytes,
)
from icnet_cli.data.layout import Layout, Sample
from icnet_cli.errors import IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.headers import orientation

THUMBNAIL = 16  # side of the grey picture by which two frames are compared


@dataclass(frozen=True)
class Values:
    """What one label file holds."""

    path: Path
    counts: NDArray[np.int64]  # (256,) pixels of each raw value; of each train id where labels are colours
    lookup: NDArray[np.uint8]  # (256,) raw value to train id

    def present(self) -> frozenset[int]:
        return frozenset(np.flatnonzero(self.counts).tolist())

    def unknown(self) -> frozenset[int]:
        """Raw values that the class table does not list."""
        return frozenset(np.flatnonzero((self.counts > 0) & (self.lookup == UNKNOWN)).tolist())

    def train_id_counts(self) -> NDArray[np.int64]:
        """(256,) pixels of each train id; 254 counts unknown values, 255 ignored ones."""
        return np.bincount(self.lookup, weights=self.counts, minlength=256).astype(np.int64)


@dataclass
class Frame:
    """What tells one image from another."""

    name: str
    path: Path
    digest: bytes  # of the file
    thumbnail: NDArray[np.float32]  # (256,) 16x16 mean grey levels


@dataclass
class Survey:
    """A split, file by file."""

    split: str
    without_labels: list[Path] = field(default_factory=list)
    without_image: list[Path] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    wrong_size: list[tuple[Path, str]] = field(default_factory=list)
    turned: list[Path] = field(default_factory=list)  # images that are to be seen turned
    wrong_form: list[tuple[Path, Form]] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


def survey_split(layout: Layout, split: str, on_pair: Callable[[], None] = lambda: None) -> Survey:
    """Open every pair of `split`; problems are recorded, none is raised. `on_pair` is called after each."""
    images, labels = layout.images(split), layout.label_files(split)
    survey = Survey(split)
    survey.without_image = [path for name, path in sorted(labels.items()) if name not in images]
    for name, image in sorted(images.items()):
        path = labels.get(name)
        if path is None:
            survey.without_labels.append(image)
        _look_at_pair(layout, survey, Sample(name, image, path or image), has_labels=path is not None)
        on_pair()
    return survey


def _look_at_pair(layout: Layout, survey: Survey, sample: Sample, has_labels: bool) -> None:
    image = _attempt(survey, sample.image, lambda: _look_at_image(survey, sample))
    if not has_labels:
        return
    labels = _attempt(survey, sample.labels, lambda: _look_at_labels(layout, survey, sample.labels))
    if image and labels and image[:2] != labels[:2]:
        sizes = f"labels {labels.height}x{labels.width}, image {image.height}x{image.width}"
        survey.wrong_size.append((sample.labels, sizes))


def _attempt(survey: Survey, path: Path, look: Callable[[], Form]) -> Form | None:
    try:
        return look()
    except IcnetError as error:
        # The finding names the file itself; what is left of the sentence says what is wrong with it.
        survey.damaged.append((path, str(error).removeprefix(f"{path} ")))
        return None


def _look_at_image(survey: Survey, sample: Sample) -> Form:
    data = read_bytes(sample.image)
    form = check_picture(data, sample.image)
    if orientation(data) != 1:
        survey.turned.append(sample.image)
    grey = decode_image(data, sample.image, cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    survey.frames.append(Frame(sample.name, sample.image, digest, small.ravel().astype(np.float32)))
    return form


def _look_at_labels(layout: Layout, survey: Survey, path: Path) -> Form:
    data = read_bytes(path)
    form = check_picture(data, path)
    if label_form_problem(form, layout.color_labels):
        survey.wrong_form.append((path, form))
        return form
    values, lookup = decode_labels(data, path, layout.color_labels), layout.lookup(path)
    if layout.color_labels:
        values, lookup = labels_of_colors(values, layout.classes), _OWN_TRAIN_IDS
    survey.values.append(Values(path, np.bincount(values.ravel(), minlength=256), lookup))
    return form


_OWN_TRAIN_IDS = np.arange(256, dtype=np.uint8)  # colours are looked up as train ids already
