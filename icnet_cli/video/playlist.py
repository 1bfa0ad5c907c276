"""The last parts of a playlist on a server, asked for by themselves.

FFmpeg passes over a part that the server does not give. Amid a playlist that leaves a pause; at its end it leaves
nothing, and a playlist's lengths are often rounded, so that too few seconds alone are no sign of it. Nor does FFmpeg
see that a server which gives whole files only sends the beginning of a file for each part that lies further on in it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import urljoin

import av

from icnet_cli.video.live_address import Address

_MOST = 1 << 22  # bytes of a playlist: a day of parts of two seconds
_MOST_ASKED = 50  # parts: where so many are missing, those before them that gave no picture are, too
_COMPARED = 1 << 16  # bytes, which tell one place of a file from its beginning


class Part(NamedTuple):
    """A part of a playlist: how long it says to be, its address, and where in what is there it begins."""

    seconds: Fraction
    url: str
    first_byte: int = 0


def missing_at_end(address: Address, unseen: Fraction, timeout_s: float) -> Fraction:
    """Seconds of the last parts that the server does not give.

    Args:
        address: of the playlist.
        unseen: seconds of what it announces behind the last picture that came; no more than these are asked for.

    Returns:
        0 where they are all there, and where that cannot be told: nothing here is an error.
    """
    try:
        parts = _parts(address, address.target, timeout_s)
        if not parts or parts[-1].seconds / 2 > unseen:
            return Fraction(0)
        if not _is_given(address, parts[0], timeout_s):  # what addresses are relative to is not known here
            return Fraction(0)
        missing = Fraction(0)
        for number, part in enumerate(reversed(parts)):
            if missing + part.seconds / 2 > unseen:
                break
            if number < _MOST_ASKED and _is_given(address, part, timeout_s):
                break
            missing += part.seconds
        return missing
    except Exception:
        return Fraction(0)


def _parts(address: Address, url: str, timeout_s: float, *, nested: bool = False) -> list[Part]:
    with _opened(address, url, timeout_s) as container:
        lines = _text(container).splitlines()
    if not nested and any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        # Which is the one that is read.
        first = next(line for line in lines if line and not line.startswith("#"))
        return _parts(address, urljoin(url, first.strip()), timeout_s, nested=True)
    return parts_in(lines, url)


def parts_in(lines: list[str], url: str) -> list[Part]:
    """The parts that a playlist at `url` lists, in its order."""
    parts: list[Part] = []
    ends: dict[str, int] = {}  # by address: where the part before ended in it
    seconds, length, begin = Fraction(0), 0, None
    for line in map(str.strip, lines):
        if line.startswith("#EXTINF:"):
            # By way of a float: a Fraction of 1e999999999 would be worked out.
            told = float(line.removeprefix("#EXTINF:").partition(",")[0])
            seconds = Fraction(max(0.0, told)).limit_denominator(1_000_000)
        elif line.startswith("#EXT-X-BYTERANGE:"):
            length, begin = _range_of(line.removeprefix("#EXT-X-BYTERANGE:"))
        elif line and not line.startswith("#"):
            whole = urljoin(url, line)
            first = (ends.get(whole, 0) if begin is None else begin) if length else 0
            parts.append(Part(seconds, whole, first))
            ends[whole] = first + length
            length, begin = 0, None
    return parts


def _range_of(told: str) -> tuple[int, int | None]:
    """Bytes, and the first of them, of `75232@0`; without that they follow the part before (RFC 8216, 4.3.2.2)."""
    length, _, begin = told.partition("@")
    return int(length), int(begin) if begin else None


def _is_given(address: Address, part: Part, timeout_s: float) -> bool:
    try:
        found = _beginning(address, part.url, timeout_s, part.first_byte)
        return bool(found) and not (part.first_byte and found == _beginning(address, part.url, timeout_s))
    except (av.FFmpegError, OSError):
        return False


def _beginning(address: Address, url: str, timeout_s: float, first_byte: int = 0) -> bytes:
    """The first of the bytes from `first_byte` on."""
    found = bytearray()
    with _opened(address, url, timeout_s, first_byte) as container:
        for packet in container.demux():
            found += bytes(packet)
            if len(found) >= _COMPARED:
                break
    return bytes(found[:_COMPARED])


def _opened(address: Address, url: str, timeout_s: float, first_byte: int = 0) -> Any:
    """What is at `url` as bare bytes, with the address's own list of protocols in force."""
    options = {"format_whitelist": "data", "protocol_whitelist": address.protocols}
    if first_byte:
        options["offset"] = str(first_byte)
    return av.open(url, "r", format="data", container_options=options, timeout=(timeout_s, timeout_s))


def _text(container: Any) -> str:
    found = bytearray()
    for packet in container.demux():
        found += bytes(packet)
        if len(found) > _MOST:
            raise ValueError("too long for a playlist")
    return found.decode(errors="replace")
