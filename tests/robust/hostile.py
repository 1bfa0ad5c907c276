"""Weights files that somebody made to do harm: pickles, headers that lie, files cut short.

    python -m tests.robust.hostile

Thirty files through `icnet segment --weights`: none runs code, each ends with exit code 4 in one line, quickly and
without taking memory.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.robust.common import run_long, turns
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip

SECONDS, MEMORY_MB = 5.0, 1024


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._mark),)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's header and its tensors."""
    length = struct.unpack("<Q", data[:8])[0]
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header, data[8 + length :]


def join(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def pickles(mark: Path) -> Iterator[tuple[str, bytes]]:
    """Files that run code where they are unpickled: bare, in a zip, in torch's formats, under any suffix."""
    bomb = Payload(mark)
    modern, legacy, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(2), "b": bomb}, modern)
    torch.save({"a": torch.zeros(2), "b": bomb}, legacy, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(bomb))
        file.writestr("archive/version", "3")
    for suffix in (".safetensors", ".pt", ".pth"):
        yield f"pickle{suffix}", pickle.dumps(bomb)
        yield f"torch{suffix}", modern.getvalue()
        yield f"legacy{suffix}", legacy.getvalue()
        yield f"zip{suffix}", archive.getvalue()


def lies(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Safetensors files whose header does not tell the truth."""
    header, body = split(good)
    names = [name for name in header if name != "__metadata__"]
    first = names[0]
    described = json.loads(header["__metadata__"]["icnet"])

    def tensor(**changes: Any) -> bytes:
        return join({**header, first: {**header[first], **changes}}, body)

    def meta(**changes: Any) -> bytes:
        return join({**header, "__metadata__": {"icnet": json.dumps({**described, **changes})}}, body)

    end = len(body)
    yield "huge-length.safetensors", struct.pack("<Q", 2**63) + good[8:]
    yield "length-beyond.safetensors", struct.pack("<Q", len(good) * 2) + good[8:]
    yield "no-json.safetensors", struct.pack("<Q", 16) + b"x" * 16 + body
    yield "deep-json.safetensors", struct.pack("<Q", 200_000) + b"[" * 200_000
    yield "overlap.safetensors", tensor(data_offsets=header[names[1]]["data_offsets"])
    yield "beyond.safetensors", tensor(data_offsets=[end, end + 4096])
    yield "backwards.safetensors", tensor(data_offsets=[4096, 0])
    yield "shape.safetensors", tensor(shape=[2**40, 2**20])
    yield "dtype.safetensors", tensor(dtype="F8192")
    yield "nan.safetensors", join(header, b"\xff" * end)
    yield "missing.safetensors", join({k: v for k, v in header.items() if k != first}, body)
    yield "no-meta.safetensors", join({k: v for k, v in header.items() if k != "__metadata__"}, body)
    yield "model.safetensors", meta(model="os.system")
    yield "classes.safetensors", meta(config={**described["config"], "num_classes": 2**31})
    yield "version.safetensors", meta(format_version=99)
    yield "half.safetensors", good[: len(good) // 2]
    yield "header-alone.safetensors", good[: len(good) - end]
    yield "empty.safetensors", b""


@dataclass
class Tally:
    """What became of the files."""

    files: int = 0
    executed: int = 0
    seconds: float = 0.0
    rss_mb: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        return not (self.executed or self.wrong) and self.seconds < SECONDS and self.rss_mb < MEMORY_MB

    @property
    def line(self) -> str:
        bad = "".join(f"\n  {text}" for text in self.wrong)
        return (
            f"{self.files} hostile weights files: {self.executed} executed, {len(self.wrong)} with a code that is not "
            f"4 or more than a line; at most {self.seconds:.1f} s of processor time and {self.rss_mb:.0f} MB{bad}"
        )


def measure(folder: Path, launcher: Launcher, weights: Path) -> Tally:
    tally, mark, source = Tally(), folder / "executed", make_clip(folder / "in.mp4")
    for name, data in turns((*pickles(mark), *lies(weights.read_bytes())), "files"):
        path = folder / name
        path.write_bytes(data)
        ended = launcher.run(
            "segment", source, "-o", folder / "out.mkv", "--weights", path, "--device", "cpu"
        )
        tally.files += 1
        tally.seconds, tally.rss_mb = max(tally.seconds, ended.seconds), max(tally.rss_mb, ended.rss_mb)
        if mark.exists():
            tally.executed += 1
            mark.rmdir()
        if ended.code != 4 or len(ended.err.splitlines()) != 1 or (folder / "out.mkv").exists():
            tally.wrong.append(f"{name}: {ended.code}; {ended.err.strip()[-300:]}")
    return tally


if __name__ == "__main__":
    run_long(measure, __doc__)
