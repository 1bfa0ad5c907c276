"""The shape of samples in Matroska, for codecs whose own stream does not say it.

FFmpeg's muxer takes it from a field that PyAV does not reach. So it is given a stereo mode, "mono", which is what there
is anyway; where the file is whole, the eight bytes of that and of the element behind it become DisplayWidth and a Void.
"""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.video.structure import ebml_number

_SILENT = ("ffv1", "vp9", "av1")  # H.264 and HEVC say it themselves, and exactly
_ROOM = bytes.fromhex("53b8810054b28104")  # StereoMode 0, DisplayUnit 4
_WIDTH, _VOID = bytes.fromhex("54b082"), bytes.fromhex("ec8100")
_TRACKS, _CRC = bytes.fromhex("1654ae6b"), bytes.fromhex("bf84")
_HEAD = 1 << 20  # bytes within which tracks are described


def is_unsaid(muxer: str, family: str, aspect: Fraction | None) -> bool:
    """Whether neither the codec nor the muxer says what shape samples have: without the room it is lost."""
    return muxer in ("matroska", "webm") and family in _SILENT and aspect not in (None, 1)


def leave_room(stream: Any, muxer: str) -> bool:
    """Have room left for the shape in a stream's header; whether there will be. WebM has none that could be used."""
    if muxer != "matroska" or "stereo_mode" in stream.metadata:
        return False
    stream.metadata["stereo_mode"] = "mono"
    return True


def fill_room(path: Path, width: int, aspect: Fraction) -> bool:
    """Say in the room that was left how wide the picture is shown, and whether that was possible.

    Its height is that of the picture. In whole columns, as every Matroska file does.
    """
    shown = round(width * aspect)
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD))
        at = head.find(_ROOM)
        if at < 0 or not 0 < shown < 1 << 16:
            return False
        head[at : at + len(_ROOM)] = _WIDTH + shown.to_bytes(2, "big") + _VOID
        _sum_up(head, head.rfind(_TRACKS, 0, at))
        file.seek(0)
        file.write(head)
    return True


def _sum_up(head: bytearray, tracks: int) -> None:
    """Make the checksum of the tracks' description anew, where there is one."""
    size, begin = ebml_number(bytes(head), tracks + len(_TRACKS), keep_marker=False)
    if head[begin : begin + 2] == _CRC and size is not None:
        total = zlib.crc32(head[begin + 6 : begin + size])
        head[begin + 2 : begin + 6] = total.to_bytes(4, "little")
