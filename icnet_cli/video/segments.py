"""Segments: what one encoder gave, packet by packet, with what is to be known of it at the end and a checksum.

A format of our own, because no container keeps what an encoder says of time: Matroska rounds it to milliseconds, and
mp4 moves it to begin at zero. A segment has its name only when it is complete and on the disk.

    MAGIC, then of each packet pts, dts, duration, flags, size and its bytes, then a JSON document, then where that
    begins, its length, and the CRC-32 of all before (little-endian throughout).
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av

from icnet_cli.video.atomic import sync_folder

MAGIC = b"icnet segment 1\n"
SUFFIX = ".segment"
_PACKET = struct.Struct("<qqqBI")  # pts, dts, duration, flags, size
_END = struct.Struct("<QQI")  # where the document begins, its length, the checksum
_KEY = 1  # the flag of a key frame
_LARGEST_DOCUMENT = 1 << 30
_BLOCK = 1 << 20


class SegmentFile:
    """A segment that is being written; `finish` gives it its name."""

    def __init__(self, path: Path) -> None:
        self.path, self._unfinished = path, path.with_suffix(".tmp")
        self._file = self._unfinished.open("wb")
        self._crc = 0
        self._put(MAGIC)

    def add(self, packet: Any) -> None:
        """Append an av.Packet."""
        flags = _KEY * packet.is_keyframe
        dts = packet.pts if packet.dts is None else packet.dts
        self._put(_PACKET.pack(packet.pts, dts, packet.duration or 0, flags, packet.size))
        self._put(bytes(packet))

    def finish(self, document: dict[str, Any]) -> None:
        """Write what is to be known of the segment, bring it to the disk and give it its name."""
        start = self._file.tell()
        data = json.dumps(document, separators=(",", ":")).encode()
        self._put(data)
        self._file.write(_END.pack(start, len(data), self._crc))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._unfinished, self.path)
        sync_folder(self.path.parent)

    def _put(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(data)

    def discard(self) -> None:
        """Leave nothing of it. Safe to call twice, and after `finish`."""
        with contextlib.suppress(OSError):  # a full disk refuses the last bytes again
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._unfinished)


def document_of(path: Path, *, check: bool = True) -> dict[str, Any] | None:
    """What is to be known of a segment; None where the file is damaged (with `check` wherever that is)."""
    try:
        return _document(path, check)
    except (OSError, ValueError, struct.error, RecursionError):
        return None


def _document(path: Path, check: bool) -> dict[str, Any] | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < len(MAGIC) + _END.size or file.read(len(MAGIC)) != MAGIC:
            return None
        file.seek(size - _END.size)
        start, length, expected = _END.unpack(file.read(_END.size))
        if length > _LARGEST_DOCUMENT or start + length != size - _END.size:
            return None
        if check and _checksum(file, start + length) != expected:
            return None
        file.seek(start)
        document = json.loads(file.read(length))
    return document if isinstance(document, dict) else None


def _checksum(file: IO[bytes], length: int) -> int | None:
    file.seek(0)
    crc = 0
    while length:
        block = file.read(min(_BLOCK, length))
        crc, length = zlib.crc32(block, crc), length - len(block)
        if not block:
            return None
    return crc


def _records(path: Path, *, with_data: bool) -> Iterator[tuple[int, int, int, int, bytes]]:
    with path.open("rb") as file:
        file.seek(-_END.size, os.SEEK_END)
        start, _, _ = _END.unpack(file.read(_END.size))
        file.seek(len(MAGIC))
        while file.tell() < start:
            pts, dts, duration, flags, size = _PACKET.unpack(file.read(_PACKET.size))
            if with_data:
                yield pts, dts, duration, flags, file.read(size)
            else:
                file.seek(size, os.SEEK_CUR)
                yield pts, dts, duration, flags, b""


def joined(paths: Iterable[Path], stream: Any, time_base: Fraction) -> Iterator[Any]:
    """The packets of several segments as those of one encoder, ready to be muxed into `stream`.

    Every encoder begins with decoding times a little before its first picture, which after an uneven distance would
    lie before the last ones of the segment before. So decoding times are made anew, as x264 makes them: those of the
    pictures, in their order, as many places late as a picture is ever coded early.
    """
    paths = list(paths)
    shown = array("q")
    delay = 0
    for path in paths:
        coded = [record[0] for record in _records(path, with_data=False)]
        begin = len(shown)
        shown.extend(sorted(coded))
        ranks = {pts: place for place, pts in enumerate(shown[begin:])}
        delay = max([delay, *(place - ranks[pts] for place, pts in enumerate(coded))])
    lead = shown[delay] - shown[0] if shown else 0
    place = 0
    for path in paths:
        for pts, _, duration, flags, data in _records(path, with_data=True):
            packet = av.Packet(data)
            packet.stream = stream
            packet.time_base = time_base
            packet.pts, packet.duration = pts, duration
            packet.dts = shown[place - delay] if place >= delay else shown[place] - lead
            packet.is_keyframe = bool(flags & _KEY)
            place += 1
            yield packet
