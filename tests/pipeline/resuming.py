"""A long video, runs over it that are stopped, and what they leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from icnet_cli.config import SegmentConfig
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.segment import FrameDone, segment
from icnet_cli.video import open_video
from tests.inference.tiny import stripes
from tests.video.video_clips import make_clip

COUNT = 150  # frames, unevenly over 75 seconds: eight segments
MS = Fraction(1, 1000)
SIZE = (48, 64)
# On pictures as small as these x264 does not give the same bits in every run.
EXACT: Mapping[str, Any] = MappingProxyType({"codec": "ffv1"})
TICKS = tuple(int(n) for n in np.cumsum(np.random.default_rng(1).integers(100, 900, COUNT)))


def make_long_video(folder: Path) -> Path:
    """With B-frames in open groups, sound, uneven times, and an offset start."""
    pictures = [stripes(*SIZE, shift=3 * n, seed=n) for n in range(COUNT)]
    return make_clip(
        folder / "in.mp4", TICKS, MS, pictures=pictures, size=SIZE[::-1], b_frames=3,
        audio="aac", audio_seconds=75.0, options={"x264-params": "keyint=24:scenecut=0:open-gop=1"},
    )  # fmt: skip


class StopError(Exception):
    """Stands for whatever ends a run."""


def start(source: Path, output: Path, segmenter: Segmenter, **options: Any) -> Iterator[FrameDone]:
    return segment(SegmentConfig(source=str(source), output=output, **options), segmenter)


def stopped(after: int, source: Path, output: Path, segmenter: Segmenter, **options: Any) -> None:
    """A run that is ended once `after` frames are written by it."""
    events = start(source, output, segmenter, **options)
    for _ in range(after):
        if next(events, None) is None:
            raise AssertionError("it was over before")
    events.close()


def shown(path: Path) -> list[tuple[Any, ...]]:
    """What a viewer sees of a video or a folder: each frame's time and samples."""
    if path.is_dir():
        return [(file.name, file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()]
    with open_video(path) as reader:
        return [(f.pts * f.time_base, f.duration * f.time_base, f.rgb().tobytes()) for f in reader]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
