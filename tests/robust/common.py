"""What the robust tests share: small videos, a small network, and what may be left in a folder."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import numpy as np

from icnet_cli.errors import ExitCode
from icnet_cli.video import open_video
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip

CODES = frozenset(int(code) for code in ExitCode)
BASE = Fraction(1, 12800)
_X265 = {"x265-params": "log-level=0", "preset": "ultrafast"}
_AV1 = {"preset": "12"}
_VP9 = {"deadline": "realtime", "cpu-used": "8"}
_FASTSTART = {"movflags": "+faststart"}


def ticks(count: int) -> tuple[int, ...]:
    return tuple(range(0, count * 512, 512))


def make_seeds(folder: Path, count: int = 12) -> list[Path]:
    """Ten whole files of as many codecs and containers as there are, `count` frames each."""
    os.environ.setdefault("SVT_LOG", "1")
    folder.mkdir(parents=True, exist_ok=True)
    plain: dict[str, Any] = {"ticks": ticks(count), "time_base": BASE}
    return [
        make_clip(folder / "h264.mp4", **plain, b_frames=2, audio="aac"),
        make_clip(folder / "h264-fast.mp4", **plain, container_options=_FASTSTART),
        make_clip(folder / "hevc.mov", **plain, codec="libx265", options=_X265),
        make_clip(folder / "prores.mov", **plain, codec="prores_ks", pix_fmt="yuv422p10le"),
        make_clip(folder / "h264.mkv", **plain, audio="aac"),
        make_clip(folder / "ffv1.mkv", **plain, codec="ffv1"),
        make_clip(folder / "av1.mkv", **plain, codec="libsvtav1", options=_AV1),
        make_clip(folder / "vp9.webm", **plain, codec="libvpx-vp9", options=_VP9),
        make_clip(folder / "mpeg4.avi", ticks(count), BASE, codec="mpeg4"),
        make_clip(folder / "h264.ts", **plain, audio="aac"),
    ]


def make_weights(folder: Path) -> Path:
    """A weights file of an untrained Fast-SCNN of an eighth of the channels, at 32x64."""
    import torch

    from icnet_cli.checkpoints.format import WeightsMeta, save_weights
    from icnet_cli.classes import load_table
    from icnet_cli.models import build

    torch.manual_seed(0)
    classes = load_table("camvid")
    network = build("fast-scnn", {"num_classes": classes.num_classes, "keep": 0.125})
    path = folder / "tiny.safetensors"
    save_weights(path, network, WeightsMeta.of(network, classes, (32, 64)))
    return path


def frames_in(path: Path) -> int:
    """Frames of a video that the reader finds whole; a shortfall, a loss or a wound raises."""
    with open_video(path) as reader:
        count = sum(1 for _ in reader)
        whole = not (reader.shortfall or reader.frames_lost or reader.frames_damaged)
    if not whole:
        raise AssertionError(f"{path.name} is not whole: {count} frames, {reader.shortfall}")
    return count


def outputs_whole(output: Path, frames: int) -> bool | None:
    """None where there is no output under its name; else whether it is complete (a video, or a folder of PNGs)."""
    if not output.exists():
        return None
    if output.is_dir():
        return len(list(output.glob("frame_*.png"))) == frames and (output / "index.csv").is_file()
    try:
        return frames_in(output) == frames
    except Exception:
        return False


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextmanager
def workplace() -> Iterator[tuple[Path, Launcher, Path]]:
    """A folder, a launcher and a weights file, for the long versions."""
    with TemporaryDirectory(prefix="icnet-robust-") as name, Launcher() as launcher:
        yield Path(name), launcher, make_weights(Path(name))


T = TypeVar("T")
_TOLD_EVERY_S = 30.0


class LongRun:
    """A long version's own state. Off under pytest, which has its own Ctrl-C and its own output."""

    def __init__(self) -> None:
        self.on = self.stopped = False
        self._told = 0.0

    def begin(self) -> None:
        """From here on Ctrl-C and SIGTERM end the run between two turns, with the figure reached by then."""
        self.on, self._told = True, time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):  # set by hand: a shell's & has Ctrl-C ignored
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        sys.stderr.write("ends after this turn; once more: at once\n")

    def goes_on(self, done: int, total: int, what: str) -> bool:
        """Whether there is a next turn; says now and then how far it is."""
        if self.on and not self.stopped and time.monotonic() - self._told > _TOLD_EVERY_S:
            self._told = time.monotonic()
            sys.stderr.write(f"{done} of {total} {what}\n" if total else f"{done} {what}\n")
        return not self.stopped


LONG = LongRun()


def turns(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, until a long version is stopped."""
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    for done, item in enumerate(items):
        if not LONG.goes_on(done, total, what):
            return
        yield item


def options(doc: str | None, **defaults: int) -> argparse.Namespace:
    """The command line of a long version, which begins here: whole numbers, each with its default."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, default=value, help=f"(default: {value})"
        )
    told = parser.parse_args()
    LONG.begin()
    return told


def report(line: str, met: bool) -> None:
    """Print a figure and end: 0 where the promise is kept, else 1."""
    early = " so far: it was stopped" if LONG.stopped else ""
    sys.stdout.write(f"{line}\n{'kept' if met else 'BROKEN'}{early}\n")
    sys.exit(not met)


class Figure(Protocol):
    """What a promise came to."""

    @property
    def line(self) -> str: ...

    @property
    def met(self) -> bool: ...


def run_long(measure: Callable[..., Figure], doc: str | None, **defaults: int) -> None:
    """A whole long version: `measure` takes the workplace and the numbers of the command line by these names."""
    told = options(doc, **defaults)
    with workplace() as (folder, launcher, weights):
        figure = measure(folder=folder, launcher=launcher, weights=weights, **vars(told))
    report(figure.line, figure.met)


def generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
