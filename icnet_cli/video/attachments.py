"""Documents inside a Matroska file.

FFmpeg wants attachments before the first frame, when what they say is often not known yet; so the file is copied once,
packet by packet, at its end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av

from icnet_cli.video.pyav import chapters_of, open_input, tags_of

JSON_TYPE = "application/json"


def attach(path: Path, files: Mapping[str, bytes]) -> None:
    """Copy a Matroska file onto itself with documents (JSON) attached; `path` is the old file or the whole new one."""
    made = path.with_name(path.name + "2")
    try:
        with open_input(str(path)) as source:
            options = {"max_interleave_delta": "1", "avoid_negative_ts": "disabled"}
            with av.open(str(made), "w", format="matroska", container_options=options) as out:
                _copy(source, out, files)
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _copy(source: Any, out: Any, files: Mapping[str, bytes]) -> None:
    out.metadata.update({key: text for key, text in tags_of(source).items() if key.lower() != "encoder"})
    targets = {}
    for stream in source.streams:
        target = targets[stream.index] = out.add_stream_from_template(stream, opaque=True)
        tags = {key: text for key, text in tags_of(stream).items() if key.upper() != "DURATION"}
        target.metadata.update(tags)
        target.disposition = stream.disposition
    for name, data in files.items():
        out.add_attachment(name, JSON_TYPE, data)
    chapters = chapters_of(source)
    if chapters:
        out.set_chapters(chapters)
    moving = [stream for stream in source.streams if stream.type != "attachment"]
    for packet in source.demux(moving):
        if packet.size:
            packet.stream = targets[packet.stream.index]
            out.mux_one(packet)
