"""Picture files: read with their damage noticed, written whole or not at all."""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.config import MAX_PIXELS
from icnet_cli.errors import input_error, output_error, why
from icnet_cli.outputs import whole_file

from .cv import cv2
from .headers import pictures_in, read_header

Array = NDArray[np.uint8]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_JPEG_QUALITY = 95


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in `folder` and below; hidden ones and what lies in hidden folders are passed over.

    Links to folders are followed, as where the cities of a dataset lie on several disks. A folder is seen once, so that
    a link to its own parent has an end, and under its own name where it has one here: links come last.
    """
    waiting, seen = deque([str(folder)]), set[str]()
    while waiting:
        for place, folders, names in os.walk(waiting.popleft()):
            real = os.path.realpath(place)
            folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
            waiting += [path for name in folders if os.path.islink(path := os.path.join(place, name))]
            if real not in seen:
                yield from (Path(place, name) for name in names if not name.startswith("."))
            seen.add(real)


def read_picture(path: Path, max_pixels: int = MAX_PIXELS) -> Array:
    """A picture file as (H, W, 3) RGB uint8, upright by its EXIF orientation.

    Grey and palette pictures become RGB, 16 bits become 8, transparency is dropped. Of an animated one it is the first.

    Raises:
        IcnetError: INPUT where the file is missing, is no picture, is damaged or cut short, or has more than
            `max_pixels` pixels (found from its header, before memory is taken). Flipped bits inside a JPEG's
            or WebP's compressed data cannot be told from a picture.
    """
    return read_first_picture(path, max_pixels)[0]


def read_first_picture(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, int]:
    """`read_picture`, and how many pictures the file holds: an animated WebP or PNG has more than one, and a TIFF may.

    Raises:
        IcnetError: as `read_picture`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise input_error(f"cannot read {path}: {why(error)}") from error
    header = read_header(data)
    if header is None or min(header.height, header.width) < 1:
        raise input_error(f"cannot read {path}: it is not a picture that can be read ({_known_formats()})")
    if header.height * header.width > max_pixels:
        raise input_error(
            f"cannot read {path}: {header.height}x{header.width} is more than the {max_pixels} pixels allowed"
        )
    if header.damage:
        raise input_error(f"cannot read {path}: {header.damage}; restore it or leave it out")
    return cv2.cvtColor(_decode(data, path), cv2.COLOR_BGR2RGB), pictures_in(data)


def _decode(data: bytes, path: Path) -> Array:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise input_error(f"cannot read {path}: it is damaged, or of a kind that cannot be read")
    return np.asarray(picture, np.uint8)


def encode_labels_png(labels: Array) -> bytes:
    """(H, W) uint8 as an 8-bit greyscale PNG whose values are the labels.

    Written here rather than by OpenCV, whose defaults differ from release to release: no filter and zlib
    level 1 are the fastest for label maps, and within a few per cent of the smallest.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise ValueError(f"labels are (H, W) uint8, not {labels.shape} {labels.dtype}")
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = labels
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    pixels = packer.compress(rows.data) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def encode_picture(picture: Array, suffix: str) -> bytes:
    """(H, W, 3) RGB uint8 as a file of the kind that `suffix` names (.png, .jpg, ...)."""
    options: list[int] = []
    if suffix.lower() in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    elif suffix.lower() == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:  # pragma: no cover - OpenCV raises for what it cannot encode
        raise output_error(f"a picture could not be encoded as {suffix}")
    return bytes(data)


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path` under another name, then rename: `path` is whole or absent.

    Raises:
        IcnetError: OUTPUT where the disk is full, the folder may not be written, ...
    """
    with whole_file(path) as part:
        part.write_bytes(data)


def write_labels_png(path: Path, labels: Array) -> None:
    """`encode_labels_png` to a file, atomically."""
    write_atomically(path, encode_labels_png(labels))


def write_picture(path: Path, picture: Array) -> None:
    """(H, W, 3) RGB uint8 to a file of the kind its name says, atomically."""
    write_atomically(path, encode_picture(picture, path.suffix))


def shrink_or_grow(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(H, W, C) to `size` (height, width): by area where it shrinks, against aliasing, else bilinear."""
    if picture.shape[:2] == tuple(size):
        return picture
    height, width = size
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def labels_at(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(H, W) class numbers to `size` (height, width), each place the one whose middle is nearest: classes never mix.

    OpenCV's plain INTER_NEAREST takes the pixel at each place's upper left corner instead, half a pixel off.
    """
    if labels.shape == tuple(size):
        return labels
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _known_formats() -> str:
    return ", ".join(suffix.lstrip(".") for suffix in PICTURE_SUFFIXES)
