"""The last parts of a playlist on a server, asked for by themselves.

FFmpeg passes over a part that the server does not give. Amid a playlist that leaves a pause; at its end it leaves
nothing, and a playlist's lengths are often rounded, so that too few seconds alone are no sign of it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple
from urllib.parse import urljoin

import av

from icnet_cli.video.live_address import Address

_MOST = 1 << 22  # bytes of a playlist: a day of parts of two seconds
_MOST_ASKED = 50  # parts: where so many are missing, those before them that gave no picture are, too


class Part(NamedTuple):
    """A part of a playlist: how long it says to be, and its address."""

    seconds: Fraction
    url: str


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
    parts, seconds = [], Fraction(0)
    for line in map(str.strip, lines):
        if line.startswith("#EXTINF:"):
            # By way of a float: a Fraction of 1e999999999 would be worked out.
            told = float(line.removeprefix("#EXTINF:").partition(",")[0])
            seconds = Fraction(max(0.0, told)).limit_denominator(1_000_000)
        elif line and not line.startswith("#"):
            parts.append(Part(seconds, urljoin(url, line)))
    return parts


def _is_given(address: Address, part: Part, timeout_s: float) -> bool:
    try:
        with _opened(address, part.url, timeout_s) as container:
            return any(packet.size for packet in container.demux())
    except (av.FFmpegError, OSError):
        return False


def _opened(address: Address, url: str, timeout_s: float) -> Any:
    """What is at `url` as bare bytes, with the address's own list of protocols in force."""
    return av.open(
        url,
        "r",
        format="data",
        container_options={"format_whitelist": "data", "protocol_whitelist": address.protocols},
        timeout=(timeout_s, timeout_s),
    )


def _text(container: Any) -> str:
    found = bytearray()
    for packet in container.demux():
        found += bytes(packet)
        if len(found) > _MOST:
            raise ValueError("too long for a playlist")
    return found.decode(errors="replace")
