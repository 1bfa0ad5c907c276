"""The options of cameras and network addresses, and of the window."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icnet_cli.config.fields import option
from icnet_cli.config.shared import WHAT, WHERE

LIVE = "Cameras and network addresses"
# Not given: of -o, the frames are only shown. No path that can be typed holds a NUL, so no file is taken for it.
NOWHERE = Path("\0")
# What is matched here is no file, and may hold a password.
_LIVE = re.compile(
    r"camera:|/dev/(video\d+$|v4l/)|(rtsps?|rtmps?|https?|udp|tcp):|[a-z][a-z0-9+.-]*://", re.IGNORECASE
)


def is_live_name(source: str) -> bool:
    """Whether a source's name has the form of a camera or a network address."""
    return bool(_LIVE.match(source))


def address_problems(flag: str, file: Path | None) -> list[str]:
    """What speaks against an address where a file on the disk is meant. It may hold a password, so it is not told."""
    if file is None or not is_live_name(str(file)):
        return []
    return [f"{flag} must be a file on the disk, not a camera or an address; record a file of it first"]


def output_or_window() -> Any:
    shows = "none; needed without --show"
    return option(NOWHERE, WHERE, flags=("--output", "-o"), metavar="OUT", env=False, panel=WHAT, shows=shows)


def show_option() -> Any:
    return option(False, "Show it in a window: q quits, the space bar pauses.", env=False, panel=WHAT)


def max_latency_option() -> Any:
    help = "Drop a frame that is older than this when its turn comes, unless none is newer."
    return option(
        None, help, flags=("--max-latency",), kind="time", minimum=0, env=False, panel=LIVE, shows="100ms"
    )


def every_frame_option() -> Any:
    return option(False, "Drop no frame, however late it gets.", env=False, panel=LIVE)


def timeout_option() -> Any:
    help = "Connect again when nothing came for this long."
    return option(None, help, flags=("--timeout",), kind="time", above=0, env=False, panel=LIVE, shows="10")


def reconnect_option() -> Any:
    help = "Give up after so many tries in a row to connect again; 0: the end of the stream is the end."
    return option(None, help, minimum=0, env=False, panel=LIVE, shows="20")


def live_contradictions(
    sources: Sequence[str], given: Sequence[str], *, every_frame: bool, limited: bool
) -> list[str]:
    """What is wrong between a command's sources and the options for live ones (`given`, by name)."""
    found = []
    live = [source for source in sources if is_live_name(source)]
    if every_frame and limited:
        found.append("--every-frame drops none, and --max-latency says which are dropped: give one of them")
    if given and sources and not live:
        found.append(f"{', '.join(given)}: for cameras and network addresses, and {sources[0]} is neither")
    if live and len(sources) > 1:
        found.append("cameras and addresses are read one a command")
    return found
