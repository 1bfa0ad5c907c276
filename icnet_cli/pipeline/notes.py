"""What of a video could not be kept as it is, in words: no damage, and nothing that was asked for."""

from __future__ import annotations

from typing import Any

from icnet_cli.errors import printable

_LEAST_SHARE = 0.05  # of a file's bytes behind its pictures


def notes_of(reader: Any) -> list[str]:
    """A line each, of a reader (of files, of a pipe, or live) that has been read."""
    name = printable(reader.name)
    found = (_moved(reader), _reshaped(reader), _tilted(reader), _goes_on(reader))
    return [f"{name}: {note}" for note in found if note]


def _moved(reader: Any) -> str | None:
    if not reader.frames_moved:
        return None
    which = f"{reader.frames_moved} of {reader.frames_read} frames had the time of the frame before, or an earlier one"
    return f"{which}; each follows it by a tick of the file's clock"


def _reshaped(reader: Any) -> str | None:
    now, shown = reader.other_aspect, reader.info.sample_aspect_ratio
    if now is None:
        return None
    now = 1 / now if reader.info.rotation in (90, 270) else now
    return f"its samples change their shape on the way, to {now} as wide as high; all are shown as {shown}"


def _tilted(reader: Any) -> str | None:
    tilt = reader.info.tilt
    if not tilt:
        return None
    side = "clockwise" if tilt > 0 else "counterclockwise"
    return f"its pictures ask to be turned {abs(tilt)} degrees further {side}; only quarter turns are done"


def _goes_on(reader: Any) -> str | None:
    share = reader.unread_share
    if share < _LEAST_SHARE:
        return None
    behind = "another program, sound alone, or nothing that can be read"
    return f"its pictures end at {1 - share:.0%} of the file; what lies behind them ({behind}) is left out"
