"""The pictures of a dataset: bounded before they are decoded, whole or refused, labels in a clear form."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import input_error, why
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.headers import read_header

MAX_PIXELS = 1 << 27  # 134 million: four times an 8K frame; its RGB copy is 400 MB
MAX_FILE_BYTES = 1 << 30

# What to do about an image that its EXIF turns. Most tools for labels show it turned; its pixels lie otherwise.
TURN = (
    "where labels are of the picture as it is shown, turn its pixels, too (Pillow: ImageOps.exif_transpose); "
    "where they are of the pixels as stored, remove the tag"
)

_CURE = "restore the file, or leave it out with --skip-damaged"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_MODES = {0: "grey", 3: "palette"}  # color type in the PNG's IHDR; 2, 4 and 6 have more than one channel


class Form(NamedTuple):
    """What a picture file says of itself."""

    height: int
    width: int
    mode: str  # "grey", "palette" or "color" for a PNG; "other" for another kind of file


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises an input error that names it when it is missing, unreadable or beyond bounds."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise input_error(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; no picture of a dataset is")
        return path.read_bytes()
    except FileNotFoundError:
        raise input_error(f"{path} is missing") from None
    except OSError as error:
        raise input_error(f"{path} could not be read: {why(error)}") from None


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) by the file's first bytes, where they tell; raises an input error where there is none."""
    with path.open("rb") as file:
        header = read_header(file.read(1 << 16))
    if header is None or header.height < 1 or header.width < 1:
        whole = check_picture(read_bytes(path), path)  # behind more than a cut header's worth of notes
        return whole.height, whole.width
    return header.height, header.width


def check_picture(data: bytes, path: Path) -> Form:
    """The form of the picture in `data`; raises an input error naming `path` unless it is whole.

    Nothing is decoded: the structure of the file is walked, a PNG's checksums included, because OpenCV makes
    a partly grey picture of a truncated file without a word, which is worse for training than an error.
    """
    header = read_header(data)
    if header is None:
        raise input_error(f"{path} is {'not a picture' if data else 'empty'}; {_CURE}")
    if header.damage:
        raise input_error(f"{path} is damaged ({header.damage}); {_CURE}")
    if not 0 < header.height * header.width <= MAX_PIXELS:
        size = f"{header.height}x{header.width}"
        raise input_error(f"{path} says it is {size} pixels large; 1 to {MAX_PIXELS} pixels are read")
    mode = _PNG_MODES.get(data[25], "color") if data.startswith(_PNG) else "other"
    return Form(header.height, header.width, mode)


def read_image(path: Path) -> NDArray[np.uint8]:
    """The picture as uint8 (H, W, 3), RGB, 8 bits.

    An EXIF rotation is not followed: label files carry none, and the two must match pixel for pixel.
    """
    data = read_bytes(path)
    check_picture(data, path)
    bgr = decode_image(data, path, cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)


def decode_image(data: bytes, path: Path, flags: int) -> NDArray[np.generic]:
    """OpenCV's picture of a file that was read and checked already, as it is stored (EXIF left alone)."""
    return _decode(data, path, flags | cv2.IMREAD_IGNORE_ORIENTATION)


def read_raw_labels(path: Path, color: bool = False) -> NDArray[np.uint8]:
    """The values of a label PNG as they stand: uint8 (H, W), or RGB (H, W, 3) with `color`.

    Raises an input error naming the file where its form leaves open what is meant.
    """
    data = read_bytes(path)
    problem = label_form_problem(check_picture(data, path), color)
    if problem:
        raise input_error(f"{path} {problem}")
    return decode_labels(data, path, color)


def decode_labels(data: bytes, path: Path, color: bool = False) -> NDArray[np.uint8]:
    """`read_raw_labels` for a file that was read and checked already."""
    if color:
        return np.asarray(cv2.cvtColor(_decode(data, path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
    values = _decode(data, path, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2:  # grey with a transparent color
        raise input_error(f"{path} has transparency, expected plain single-channel greyscale")
    if values.max() > 255:  # a 16-bit PNG
        raise input_error(f"{path} holds the value {values.max()}, expected class ids from 0 to 255")
    return values.astype(np.uint8, copy=False)


def label_form_problem(form: Form, color: bool = False) -> str | None:
    """Why a file of this form cannot hold labels, with the fix; None when it can."""
    if form.mode == "other":
        return "is not a PNG; save labels as greyscale PNG (JPEG invents class values)"
    if color or form.mode == "grey":
        return None
    if form.mode == "palette":
        return "is a palette image, expected single-channel greyscale; save its indices as grey values"
    return "is a color image, expected single-channel greyscale; save each pixel's class id as its grey value"


def _decode(data: bytes, path: Path, flags: int) -> NDArray[np.generic]:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        picture = None
    if picture is None:
        raise input_error(f"{path} could not be decoded; {_CURE}")
    return np.asarray(picture)
