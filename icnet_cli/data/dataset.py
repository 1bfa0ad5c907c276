"""One dataset class for every layout: pairs of an image and its labels, read from disk or held in memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.data.files import TURN, check_picture, label_form_problem, picture_size, read_bytes, read_image
from icnet_cli.data.layouts import Layout, Sample
from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.pixels.headers import orientation

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_LOOKED_AT = 100  # samples whose sizes are taken for all
_PROBES = 8  # label files decoded by check_files, to see early that the class table fits


def split_name(split: str) -> str:
    """The split itself, of a name such as `val` or `val/10`."""
    return split.partition("/")[0]


def samples_of(layout: Layout, split: str) -> list[Sample]:
    """The samples of a split, sorted by name: all of `val`, or of `val/10` every tenth from the first on.

    Neighbouring frames of a drive hardly differ: a tenth of them can teach or measure nearly as much.

    Raises:
        IcnetError: USAGE where no whole number from 1 follows the stroke; INPUT for a split that does not exist.
    """
    name, stroke, every = split.partition("/")
    if stroke and not (every.isascii() and every.isdigit() and int(every)):
        raise usage_error(f"no split {split!r}: expected a name, or {name}/N for every Nth sample of it")
    return layout.samples(name)[:: int(every) if stroke else 1]


def check_splits(splits: Sequence[str]) -> None:
    """Raise a usage error for a split that is named twice, whole or thinned: its samples would count double."""
    names = [split_name(split) for split in splits]
    for name in names:
        again = [split for split in splits if split_name(split) == name]
        if len(again) > 1:
            raise usage_error(f"{' and '.join(again)} are samples of one split, {name}; name it once")


class SegmentationDataset:
    """The samples of one or more splits of a dataset, a split named as `samples_of` takes it.

    With `cache` a pair is decoded once and kept (uint8, 4 bytes a pixel); the arrays handed out are then the
    kept ones, so they are not to be written into. With `skip_damaged` the pairs that `check_files` finds
    damaged are left out and counted instead of raised.
    """

    def __init__(
        self, layout: Layout, splits: Sequence[str], cache: bool = False, skip_damaged: bool = False
    ) -> None:
        if not splits:
            raise input_error(f"no split of {layout.root} was named; found {', '.join(layout.splits())}")
        self.layout = layout
        self.splits = tuple(splits)
        self.samples: list[Sample] = [sample for split in splits for sample in samples_of(layout, split)]
        self.skip_damaged = skip_damaged
        self.num_damaged = 0
        self.num_turned = 0  # images with an EXIF rotation, as `check_files` has seen them
        self.sizes: set[tuple[int, int]] = (
            set()
        )  # (height, width) of the pictures, as `check_files` has seen them
        self._cached: dict[Sample, Pair] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> ClassTable:
        return self.layout.classes

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these samples in this order from others: how many, of which splits, and a digest of their names.

        JSON-able, and the same for a dataset that was moved.
        """
        names = b"\0".join(os.fsencode(sample.name) for sample in self.samples)
        return {
            "splits": list(self.splits),
            "count": len(self),
            "digest": hashlib.sha256(names).hexdigest()[:16],
        }

    def read(self, index: int) -> Pair:
        """Image uint8 (H, W, 3) RGB and labels uint8 (H, W) train ids, 255 ignored.

        Raises an input error naming the file that is missing, damaged, of another size than its
        partner, or holds label values outside the class table.
        """
        sample = self.samples[index]
        if self._cached is None:
            return self._decode(sample)
        if sample not in self._cached:
            self._cached[sample] = self._decode(sample)
        return self._cached[sample]

    @property
    def one_size(self) -> tuple[int, int] | None:
        """(height, width) of all pictures, where `check_files` has seen that it is one."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None

    def typical_size(self) -> tuple[int, int]:
        """(height, width) of the middle one, by its pixels, of a hundred samples evenly spread."""
        some = self.samples[:: max(1, len(self.samples) // _LOOKED_AT)]
        sizes = sorted((picture_size(sample.labels) for sample in some), key=math.prod)
        return sizes[len(sizes) // 2]

    def preload(self) -> None:
        """Decode everything into the cache now, so that worker processes forked later share it."""
        for index in range(len(self)):
            self.read(index)

    def check_files(self) -> None:
        """Look at every file before an epoch is lost: there, whole, and each label as large as its image.

        Files are read, not decoded; of the labels a few are decoded to see that the class table fits. Raises
        an input error that names the first file and says how many there are. With `skip_damaged` such pairs
        are counted and left out instead, unless none remains.
        """
        good: list[Sample] = []
        damage: list[str] = []
        sizes: set[tuple[int, int]] = set()
        for sample in self.samples:
            try:
                size, problem = self._check_pair(sample)
            except IcnetError as error:
                damage.append(str(error))
                continue
            if problem:  # labels in another form are no damage; leaving them out would hide a mistake
                raise input_error(f"{sample.labels} {problem}")
            good.append(sample)
            sizes.add(size)
        if damage and not (self.skip_damaged and good):
            count = f" ({len(damage)} of {len(self)} pairs are damaged or incomplete)"
            raise input_error(damage[0] + (count if len(damage) > 1 else ""))
        self.samples = good
        self.num_damaged += len(damage)
        self.sizes = sizes
        for index in np.linspace(0, len(good) - 1, min(_PROBES, len(good))).astype(int):
            self.layout.read_labels(good[index])

    def _decode(self, sample: Sample) -> Pair:
        image, labels = read_image(sample.image), self.layout.read_labels(sample)
        _same_size(sample, image.shape[:2], labels.shape)
        return image, labels

    def _check_pair(self, sample: Sample) -> tuple[tuple[int, int], str | None]:
        """Raises for damage; returns (height, width), and what is wrong with the form of a whole label file."""
        data = read_bytes(sample.image)
        image = check_picture(data, sample.image)
        labels = check_picture(read_bytes(sample.labels), sample.labels)
        turned = orientation(data) != 1
        _same_size(sample, image[:2], labels[:2], turned)
        self.num_turned += turned
        return (image.height, image.width), label_form_problem(labels, self.layout.color_labels)


def _same_size(sample: Sample, image: tuple[int, ...], labels: tuple[int, ...], turned: bool = False) -> None:
    if tuple(image) != tuple(labels):
        fix = "make the two the same size (labels by nearest neighbour only)"
        if turned and tuple(image[::-1]) == tuple(labels):
            fix = f"its EXIF rotation is not followed: {TURN}"
        raise input_error(
            f"{sample.labels} is {labels[0]}x{labels[1]} but its image {sample.image} is "
            f"{image[0]}x{image[1]}; {fix}"
        )
