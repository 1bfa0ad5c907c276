"""Pictures for a page: small, of bounded size in bytes, and readable without colour where colour carries the meaning.

Axes: (H, W, 3) RGB uint8 pictures, (H, W) uint8 labels with 255 where the truth is ignored.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import labels_at, shrink_or_grow
from icnet_cli.reports.html import data_uri

Picture = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LONGEST_SIDE = 480  # of a picture on the page: a quarter of a wide screen, all of a telephone's
MOST_BYTES = 64 * 1024  # of one picture, before its base64
_QUALITIES = (80, 60, 40, 20)

ORANGE, BLUE, PURPLE = (255, 122, 0), (0, 114, 178), (204, 82, 165)


def fitted(size: tuple[int, int], longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """(height, width) of the aspect of `size` with no side above `longest`; never larger than it was."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def small_picture(picture: Picture, longest: int = LONGEST_SIDE) -> Picture:
    size = fitted((picture.shape[0], picture.shape[1]), longest)
    return np.ascontiguousarray(shrink_or_grow(picture, size))


def small_labels(labels: Labels, longest: int = LONGEST_SIDE) -> Labels:
    """Nearest neighbour: classes are never mixed."""
    return labels_at(labels, fitted((labels.shape[0], labels.shape[1]), longest))


def jpeg_uri(picture: Picture, most: int = MOST_BYTES) -> str:
    """The picture as a JPEG of at most `most` bytes: of less quality, then smaller, where that is needed."""
    while True:
        for quality in _QUALITIES:
            _, data = cv2.imencode(
                ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            if len(data) <= most or max(picture.shape[:2]) <= 32:
                return data_uri(bytes(data), "image/jpeg")
        picture = small_picture(picture, max(picture.shape[:2]) * 2 // 3)


def labels_uri(labels: Labels, palette: NDArray[np.uint8], most: int = MOST_BYTES) -> str:
    """Labels as a PNG of the classes' exact colours; 255 is transparent, where the page shows its hatching."""
    while True:
        data = indexed_png(labels, palette)
        if len(data) <= most or max(labels.shape) <= 32:
            return data_uri(data, "image/png")
        labels = small_labels(labels, max(labels.shape) * 2 // 3)


def indexed_png(labels: Labels, palette: NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 as a PNG with a palette of 256 colours, (K, 3) of them given; 255 is transparent."""
    height, width = labels.shape
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = labels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    alpha = bytes([255] * 255 + [0])
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"tRNS", alpha),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def marked(picture: Picture, wrong: Mask, ignored: Mask | None = None) -> Picture:
    """The picture dim and grey, the marked pixels bright orange, the ignored ones hatched."""
    grey = _dim(picture)
    grey[wrong] = ORANGE
    if ignored is not None:
        grey[ignored & _stripes(ignored.shape)] = (110, 110, 110)
    return grey


def hits_and_misses(picture: Picture, truth: Mask, labels: Mask) -> Picture:
    """One class: found pixels solid blue, missed ones striped orange, invented ones dotted purple."""
    grey = _dim(picture)
    stripes, dots = _stripes(truth.shape), _dots(truth.shape)
    grey[truth & labels] = BLUE
    grey[truth & ~labels & stripes] = ORANGE
    grey[labels & ~truth & dots] = PURPLE
    return grey


def heat(share: NDArray[np.floating], picture: Picture) -> Picture:
    """0..1 a pixel over the picture dim and grey: the brighter, the larger."""
    size = (picture.shape[1], picture.shape[0])
    weight = cv2.resize(np.asarray(share, np.float32), size, interpolation=cv2.INTER_LINEAR)[..., None]
    weight = np.sqrt(np.clip(weight, 0, 1))  # small shares are to be seen, too
    mixed = _dim(picture) * (1 - weight) + np.asarray(ORANGE, np.float32) * weight
    return np.asarray(mixed, np.uint8)


def _dim(picture: Picture) -> Picture:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) // 2 + 16
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def _stripes(shape: tuple[int, ...]) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows + columns) % 6 < 3)


def _dots(shape: tuple[int, ...]) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows % 4 < 2) & (columns % 4 < 2))
