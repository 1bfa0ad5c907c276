"""What tests of live sources ask of a reader."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from icnet_cli.video.live import LiveFrame, LiveReader, Notice

STALL_S = 1.0  # instead of ten seconds; a busy machine needs a part of it to connect


def take(reader: LiveReader, count: int | None = None) -> tuple[list[LiveFrame], list[str]]:
    """Frames and notices until the end, or until there are so many frames."""
    reader.ready()
    frames: list[LiveFrame] = []
    told: list[str] = []
    for item in reader:
        if isinstance(item, Notice):
            told.append(item.text)
            continue
        frames.append(item)
        if len(frames) == count:
            reader.stop()
    return frames, told


def wait(reader: LiveReader, what: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Until the reader's thread has come so far; where it never does, the test fails."""
    end = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < end, (
            f"not after {limit_s:g} s: {reader.frames_read} frames, over: {reader._over}"
        )
        reader._stopped.wait(0.01)


def served(servers: list[Any], server: Any) -> Any:
    servers.append(server)
    return server
