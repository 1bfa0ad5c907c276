"""What tests of live sources ask of a reader."""

from __future__ import annotations

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


def served(servers: list[Any], server: Any) -> Any:
    servers.append(server)
    return server
