"""Small videos, folders and a small network, made in milliseconds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline.segment import FrameDone, segment
from icnet_cli.pixels.files import write_picture
from icnet_cli.video import VideoWriter
from tests.inference.tiny import TinyNetwork, stripes, tiny_meta

SIZE = (48, 72)
# Not one apart like another: what a constant frame rate would lose.
TIMES = (0, 1, 2, 5, 6, 9, 10, 11, 15, 16)


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(TinyNetwork(), tiny_meta(), "cpu")


def frames(count: int = len(TIMES), size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    return [stripes(*size, shift=5 * i, seed=i) for i in range(count)]


def write_video(path: Path, pictures: list[np.ndarray], times: tuple[int, ...] = TIMES) -> Path:
    """A video at uneven times, in tenths of a second."""
    height, width = pictures[0].shape[:2]
    lasting = np.diff([*times[: len(pictures)], times[len(pictures) - 1] + 1])
    with VideoWriter(
        path, width=width, height=height, frame_rate=Fraction(10), time_base=Fraction(1, 10), overwrite=True
    ) as writer:
        for picture, at, duration in zip(pictures, times, lasting, strict=False):
            writer.write(picture, pts=at, time_base=Fraction(1, 10), duration=int(duration))
    return path


@pytest.fixture(scope="session")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Over a minute, with what makes going on hard."""
    from .resuming import make_long_video

    return make_long_video(tmp_path_factory.mktemp("long"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mp4", frames())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """pictures/: two in it, one in a sub-folder, each of its own size, and a file that is no picture."""
    place = tmp_path / "pictures"
    for index, name in enumerate(("img2.png", "img10.jpg", "night/a.png")):
        write_picture(place / name, stripes(40 + 8 * index, 64, seed=index))
    (place / "notes.txt").write_text("not a picture")
    return place


def run(
    segmenter: Segmenter, source: Path | str, output: Path, **options: Any
) -> tuple[list[FrameDone], dict]:
    """Every event of a run, and its report."""
    events = segment(SegmentConfig(source=str(source), output=output, **options), segmenter)
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value
