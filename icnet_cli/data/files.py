"""Pictures from files that may be anything: bounded before they are decoded, and whole or refused.

OpenCV decodes a truncated JPEG or PNG to a partly grey or black picture without a word, which is worse for
training than an error. So the file's own structure is read first: the size from its header (bounded before
any memory is allocated for pixels), a PNG's chunks and checksums to its end, a JPEG's end marker.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import input_error
from icnet_cli.pixels.cv import cv2

MAX_PIXELS = 1 << 27  # 134 million: four times an 8K frame; its RGB copy is 400 MB
MAX_FILE_BYTES = 1 << 30

_CURE = "restore the file, or leave it out with --skip-damaged"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GREY, _PNG_PALETTE = 0, 3
# JPEG markers that carry the picture's size (SOF0..SOF15 but DHT, JPG and DAC), and those without a length.
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


class Header(NamedTuple):
    """What a picture file says of itself."""

    height: int
    width: int
    kind: str  # "png" or "jpeg"
    mode: str  # "grey", "palette" or "color"
    bits: int  # a sample


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises an input error that names it when it is missing, unreadable or beyond bounds."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise input_error(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; no picture of a dataset is")
        return path.read_bytes()
    except FileNotFoundError:
        raise input_error(f"{path} is missing") from None
    except OSError as error:
        raise input_error(f"{path} could not be read: {error.strerror or error}") from None


def check_picture(data: bytes, path: Path) -> Header:
    """The header of the picture in `data`; raises an input error naming `path` unless it is whole.

    Nothing is decoded: a PNG's chunks and their checksums are walked to IEND, a JPEG's segments to
    its scan and on to its end marker.
    """
    try:
        if data.startswith(_PNG_SIGNATURE):
            header = _check_png(data)
        elif data.startswith(b"\xff\xd8"):
            header = _check_jpeg(data)
        else:
            raise _DamageError("is neither a PNG nor a JPEG picture" if data else "is empty")
    except _DamageError as damage:
        raise input_error(f"{path} {damage}; {_CURE}") from None
    if not 0 < header.height * header.width <= MAX_PIXELS:
        size = f"{header.height}x{header.width}"
        raise input_error(f"{path} says it is {size} pixels large; at most {MAX_PIXELS} pixels are read")
    return header


def read_image(path: Path) -> NDArray[np.uint8]:
    """The picture as uint8 (H, W, 3), RGB, 8 bits.

    An EXIF rotation is not followed: label files carry none, and the two must match pixel for pixel.
    """
    data = read_bytes(path)
    check_picture(data, path)
    bgr = _decode(data, path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)


def read_raw_labels(path: Path, color: bool = False) -> NDArray[np.uint8]:
    """The values of a label PNG as they stand: uint8 (H, W), or RGB (H, W, 3) with `color`.

    Raises an input error naming the file where the label's form leaves open what is meant.
    """
    data = read_bytes(path)
    problem = label_form_problem(check_picture(data, path), color)
    if problem:
        raise input_error(f"{path} {problem}")
    if color:
        return cv2.cvtColor(_decode(data, path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    values = _decode(data, path, cv2.IMREAD_UNCHANGED)
    if values.dtype == np.uint16:
        if values.max() > 255:
            raise input_error(f"{path} holds the value {values.max()}, expected class ids from 0 to 255")
        values = values.astype(np.uint8)
    return values


def label_form_problem(header: Header, color: bool = False) -> str | None:
    """Why a file of this form cannot hold labels, with the fix; None when it can."""
    if header.kind != "png":
        return "is a JPEG, whose compression invents class values; save labels as PNG"
    if color or header.mode == "grey":
        return None
    if header.mode == "palette":
        return "is a palette image, expected single-channel greyscale; save its indices as grey values"
    return "is a color image, expected single-channel greyscale; save each pixel's class id as its grey value"


class _DamageError(Exception):
    """What is wrong with a file, as the predicate of a sentence about it."""


def _decode(data: bytes, path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        picture = None
    if picture is None:
        raise input_error(f"{path} could not be decoded; {_CURE}")
    return picture


def _check_png(data: bytes) -> Header:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise _DamageError("is a truncated PNG")
    width, height, bits, color_type = struct.unpack(">IIBB", data[16:26])
    position, kind = len(_PNG_SIGNATURE), b""
    view = memoryview(data)
    while kind != b"IEND":
        if position + 12 > len(data):
            raise _DamageError("is a truncated PNG")
        (length,) = struct.unpack(">I", view[position : position + 4])
        body_end = position + 8 + length
        if body_end + 4 > len(data):
            raise _DamageError("is a truncated PNG")
        kind = bytes(view[position + 4 : position + 8])
        if struct.unpack(">I", view[body_end : body_end + 4])[0] != zlib.crc32(view[position + 4 : body_end]):
            raise _DamageError("is a damaged PNG (a checksum does not match)")
        position = body_end + 4
    mode = {_PNG_GREY: "grey", _PNG_PALETTE: "palette"}.get(color_type, "color")
    return Header(height, width, "png", mode, bits)


def _check_jpeg(data: bytes) -> Header:
    position, header = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _DamageError("is a damaged JPEG")
        marker = data[position + 1]
        if marker == 0xFF or marker in _JPEG_BARE:  # fill byte, or a marker without a body
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        if marker in _JPEG_SIZES and position + 10 <= len(data):
            bits, height, width, channels = struct.unpack(">BHHB", data[position + 4 : position + 10])
            header = Header(height, width, "jpeg", "grey" if channels == 1 else "color", bits)
        position += 2 + length
        # Inside a scan every FF is followed by 00 or a restart marker, so FF D9 is the end and nothing else.
        if marker == 0xDA:
            if header and data.find(b"\xff\xd9", position) >= 0:
                return header
            break
    raise _DamageError("is a truncated JPEG")
