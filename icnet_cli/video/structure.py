"""A look into a file's own structure, without a demuxer: whether what it says lies in it does.

A file may have its full size and yet be hollow: allocated in one piece before a crash, a download that is not
finished, a copy made in place. Demuxers skip what they cannot read and say nothing.
"""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

_MOST_PARTS = 1 << 18  # as many as two days of fragments of a second; a hostile file can have more


def has_index(path: Path) -> bool:
    """Whether the first RIFF list of an AVI file ends within the file, with its index there."""
    size = path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        head = file.read(1 << 16)
        end = 8 + int.from_bytes(head[4:8], "little")
        if end > size:
            return False
        if b"indx" in head:  # of OpenDML, which begins with it
            return True
        at = 12
        for _ in range(_MOST_PARTS):
            file.seek(at, os.SEEK_SET)
            head = file.read(8)
            if len(head) < 8 or at >= end or not any(head[:4]):
                return False
            if head[:4] == b"idx1":
                return True
            at += 8 + int.from_bytes(head[4:8], "little") + (head[4] & 1)  # chunks begin at even places
    return False


def ends_in_a_fragment(path: Path) -> bool:
    """Whether an mp4 has fragments (moof) and ends within one of its outermost boxes: then it was cut there."""
    fragmented, at, size = False, 0, path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        for _ in range(_MOST_PARTS):
            file.seek(at, os.SEEK_SET)
            head = file.read(16)
            if len(head) < 8:
                return fragmented and len(head) > 0
            length, kind = struct.unpack_from(">I4s", head)
            fragmented = fragmented or kind == b"moof"
            if length == 1 and len(head) == 16:
                (length,) = struct.unpack_from(">Q", head, 8)
            if length < 8:  # 0: it lasts to the end of the file, wherever that is
                return False
            if at + length > size:
                return fragmented
            at += length
    return False


_SPOKEN = 1 << 16  # bytes within which a header says how large its file is
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_SIZE = b"\x00\x08filesize\x00"


def cut_asf_end(path: Path) -> Fraction | None:
    """Of an ASF (WMV) file that is smaller than it says: where its last picture or sound was to end, in seconds."""
    head = _head_of(path)
    at = head.find(_ASF_PROPERTIES) + 16
    if at < 16 or len(head) < at + 76:
        return None
    # Its own length, an identifier, then: the file's size, when it was made, packets, how long to play and to send.
    size, _, _, play, _, preroll, flags = struct.unpack_from("<6QI", head, at + 24)
    is_live = flags & 1  # whose numbers mean nothing
    if is_live or size <= path.stat().st_size:
        return None
    return Fraction(play, 10**7) - Fraction(preroll, 1000)


def is_cut_flv(path: Path) -> bool:
    """Whether an FLV file is smaller than its metadata say, where they do."""
    head = _head_of(path)
    at = head.find(_FLV_SIZE) + len(_FLV_SIZE)
    if at < len(_FLV_SIZE) or len(head) < at + 8:
        return False
    (size,) = struct.unpack_from(">d", head, at)
    return bool(size > path.stat().st_size)


def _head_of(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(_SPOKEN)


_SEGMENT = 0x18538067
# What may follow one another in a segment (RFC 9559, section 5.1): seek head, info, tracks, chapters, clusters, cues,
# attachments, tags, empty space, a checksum.
_IN_SEGMENT = frozenset(
    (
        0x114D9B74,
        0x1549A966,
        0x1654AE6B,
        0x1043A770,
        0x1F43B675,
        0x1C53BB6B,
        0x1941A469,
        0x1254C367,
        0xEC,
        0xBF,
    )
)


_CLUSTER = 0x1F43B675
_MOST_BLOCKS = 1 << 20  # of all clusters: four hours of pictures and sound, and seconds of a hostile file
_HEAD, _PAGE = 12, 1 << 12  # bytes: an element's identifier and length; what is read for one


def segment_of(path: Path, since: int = 0) -> tuple[bool, bool]:
    """Of a Matroska file: whether its segment ends within the file, and whether something in it begins nowhere: a part
    of the segment, or a block of one of its clusters, `since` that byte.

    Where the first holds and not the second nothing is missing, however long the last frame. Nothing is known of a
    segment or a cluster that does not say how long it is, as live recordings do not.
    """
    size = path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        head = file.read(4096)
        at, end = _segment(head)
        if end is None:
            return False, False
        blocks = _Blocks(file, size)
        for _ in range(_MOST_PARTS):
            if at >= min(end, size):
                break
            file.seek(at, os.SEEK_SET)
            head = file.read(_HEAD)
            identifier, after = ebml_number(head, 0, keep_marker=True)
            if identifier not in _IN_SEGMENT or after >= len(head):
                return end <= size, since <= at and at + len(head) < size  # not the few bytes before a cut
            length, after = ebml_number(head, after, keep_marker=False)
            if length is None:
                break
            begin, at = at + after, at + after + length
            if (
                identifier == _CLUSTER
                and at > since
                and not blocks.fill(begin, at)
                and blocks.reached >= since
            ):
                return end <= size, True
    return end <= size, False


class _Blocks:
    """Looks through clusters from one block's head to the next: a hole has no head, or one that leads astray.

    `reached` is where in the file the newest head lies.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, _MOST_BLOCKS
        self._page, self._at = b"", 0  # what was read last, and from where
        self.reached = 0

    def fill(self, at: int, end: int) -> bool:
        """Whether elements follow one another from `at` to `end`, as far as the file goes."""
        while at < end and self._left > 0:
            self._left, self.reached = self._left - 1, at
            head = self._head(at)
            identifier, after = ebml_number(head, 0, keep_marker=True)
            length, after = ebml_number(head, after, keep_marker=False)
            if at + len(head) >= self._size:  # the few bytes before a cut
                return True
            if identifier is None or length is None:
                return False
            at += after + length
        return at <= end or self._left == 0

    def _head(self, at: int) -> bytes:
        begin = at - self._at
        if not 0 <= begin <= len(self._page) - _HEAD:
            self._file.seek(at, os.SEEK_SET)
            self._page, self._at, begin = self._file.read(_PAGE), at, 0
        return self._page[begin : begin + _HEAD]


def _segment(head: bytes) -> tuple[int, int | None]:
    """Where the segment's contents begin, and where they end; None where that is not said."""
    at = 0
    while at + 12 <= len(head):
        identifier, at = ebml_number(head, at, keep_marker=True)
        size, at = ebml_number(head, at, keep_marker=False)
        if identifier is None or size is None:
            break
        if identifier == _SEGMENT:
            return at, at + size
        at += size
    return 0, None


def ebml_number(data: bytes, at: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """An EBML variable-length number (RFC 8794, section 4) and the offset after it; None for the 'unknown' value."""
    length = 9 - data[at].bit_length() if at < len(data) else 9
    if length > 8 or at + length > len(data):
        return None, len(data)
    value = int.from_bytes(data[at : at + length], "big")
    if keep_marker:
        return value, at + length
    value &= (1 << (7 * length)) - 1
    return (None if value == (1 << (7 * length)) - 1 else value), at + length
