"""What a picture file says about itself before anything is decoded: its size, and whether it is whole.

OpenCV decodes a truncated JPEG into a picture with a grey end and says nothing to its caller, and
learns a picture's size only by allocating it. Both questions are answered here from the bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Header(NamedTuple):
    height: int  # as stored; an EXIF orientation may swap them
    width: int
    damage: str | None  # in words, where the file is not whole


_WEBP_ANIMATED = 0x02  # among the flags of VP8X
_EXIF = b"Exif\0\0"  # before the block itself, in JPEGs and some WebPs
_MOST_PAGES = 10_000  # of a TIFF that are counted


def read_header(data: bytes) -> Header | None:
    """The header of a JPEG, PNG, BMP, WebP or TIFF file; None where it is none of them or has no size."""
    for magic, reader in _READERS:
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def pictures_in(data: bytes) -> int:
    """How many pictures an animated WebP or PNG file or a TIFF of several pages holds; 1 for every other file."""
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and data[20:21] and data[20] & _WEBP_ANIMATED:
        return max(1, sum(kind == b"ANMF" for kind, _ in _chunks(data, 12, "<4sI", 8)))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        for kind, at in _chunks(data, 8, ">I4s", 12):
            if kind == b"acTL" and at + 12 <= len(data):
                return max(1, int.from_bytes(data[at + 8 : at + 12], "big"))
            if kind == b"IDAT":
                break
    return _pages_in(data) if data.startswith((b"II*\0", b"MM\0*")) else 1


def orientation(data: bytes) -> int:
    """The EXIF orientation that a picture file names: 1 is upright, as is one that names none; 2 to 8 are not."""
    try:
        exif = _exif_of(data).removeprefix(_EXIF)
        order = "<" if exif[:2] == b"II" else ">"
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == _TIFF_ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except (struct.error, IndexError):  # none, or cut short
        pass
    return 1


def _exif_of(data: bytes) -> bytes:
    """The EXIF block, which is a TIFF's directory, of a file; empty where it has none."""
    if data.startswith(b"\xff\xd8\xff"):
        segments = _jpeg_segments(data)
        own = (data[at + 4 : end] for marker, at, end in segments if marker == 0xE1)
        return next((block for block in own if block.startswith(_EXIF)), b"")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return next((data[at + 8 :] for kind, at in _chunks(data, 8, ">I4s", 12) if kind == b"eXIf"), b"")
    if data.startswith(b"RIFF"):
        return next((data[at + 8 :] for kind, at in _chunks(data, 12, "<4sI", 8) if kind == b"EXIF"), b"")
    return data if data.startswith((b"II*\0", b"MM\0*")) else b""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, the place and the end of each segment of a JPEG before its picture."""
    at = 2
    while data[at] == 0xFF:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xDA:
            return
        yield marker, at, at + 2 + length
        at += 2 + length


def _pages_in(data: bytes) -> int:
    """Directories of a TIFF that are pages: smaller copies of one, and masks, say so in their first field."""
    order, seen, pages = "<" if data[:2] == b"II" else ">", set[int](), 0
    try:
        (at,) = struct.unpack_from(order + "I", data, 4)
        while at and at not in seen and len(seen) < _MOST_PAGES:
            seen.add(at)
            count, tag, _, _, kind = struct.unpack_from(order + "HHHII", data, at)
            pages += not (count and tag == _TIFF_SUBFILE and kind & ~_TIFF_IS_PAGE)
            (at,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    except struct.error:  # cut short, which has been told
        pass
    return max(1, pages)


def _chunks(data: bytes, at: int, form: str, extra: int) -> Iterator[tuple[bytes, int]]:
    """The kind and place of each chunk: `form` is how a chunk's kind and length stand, `extra` what these add to it."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(form, data, at)
        kind, length = (first, second) if isinstance(first, bytes) else (second, first)
        yield kind, at
        at += extra + length + (length % 2 if extra == 8 else 0)  # RIFF pads to even places


def _jpeg(data: bytes) -> Header:
    height = width = 0
    at = 2
    while True:  # every turn moves on by two or more, or runs out of data (struct.error)
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1  # fill bytes
        marker, length = struct.unpack_from(">xBH", data, at)
        if data[at] != 0xFF or length < 2:
            raise ValueError("no marker where one belongs")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
        at += 2 + length
        if marker == 0xDA:
            break
    # Entropy-coded data stuffs a zero after each 0xFF, so this is the end-of-image marker and nothing else.
    return Header(height, width, None if data.find(b"\xff\xd9", at) >= 0 else "it is cut short")


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    at, damage = 8, "it is cut short"
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            damage = "a checksum in it does not match"
            break
        if kind == b"IEND":
            return Header(height, width, None)
        at = end
    return Header(height, width, damage)


def _bmp(data: bytes) -> Header:
    (start,) = struct.unpack_from("<I", data, 10)
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the OS/2 header
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: the rows run downwards
    rows = -(-width * bits // 32) * 4 * height if compression in (0, 3) else 1
    return Header(height, width, "it is cut short" if len(data) < start + rows else None)


def _webp(data: bytes) -> Header | None:
    size, form, kind = struct.unpack_from("<I4s4s", data, 4)
    if form != b"WEBP":
        return None
    damage = "it is cut short" if len(data) < size + 8 else None
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    return Header(height, width, damage)


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4}  # bytes of the field types used below: BYTE, ASCII, SHORT, LONG
_TIFF_ORIENTATION = 274
_TIFF_SUBFILE, _TIFF_IS_PAGE = 254, 2  # what a directory is: bits, this one of a page
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_STRIPS, _TIFF_STRIP_BYTES, _TIFF_TILES, _TIFF_TILE_BYTES = (
    256, 257, 273, 279, 324, 325,
)  # fmt: skip


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, at)
        if kind not in (3, 4) or number * _TIFF_SIZES[kind] > len(data):
            continue
        inside = number * _TIFF_SIZES[kind] <= 4
        place = at + 8 if inside else struct.unpack_from(order + "I", data, at + 8)[0]
        tags[tag] = struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", data, place)
    starts = tags.get(_TIFF_STRIPS, ()) + tags.get(_TIFF_TILES, ())
    lengths = tags.get(_TIFF_STRIP_BYTES, ()) + tags.get(_TIFF_TILE_BYTES, ())
    whole = all(a + n <= len(data) for a, n in zip(starts, lengths, strict=False))
    height, width = tags.get(_TIFF_HEIGHT, (0,))[0], tags.get(_TIFF_WIDTH, (0,))[0]
    return Header(height, width, None if whole else "it is cut short")


_READERS: tuple[tuple[bytes, Callable[[bytes], Header | None]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
)
