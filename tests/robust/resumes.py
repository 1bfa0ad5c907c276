"""A long run is stopped at random times, again and again, and goes on with --resume until it is done.

    python -m tests.robust.resumes --kills 50 --signals 50

By SIGKILL, and by Ctrl-C (SIGINT) and SIGTERM in turn. While it is not done, nothing is under the output's name; when
it is done, each frame and its time is what an uninterrupted run gave, and nothing lies beside it. The outputs are an
H.264 video, a label video, a folder of label pictures and an FFV1 video, in turn, each with --stats.
"""

from __future__ import annotations

import shutil
import signal
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from icnet_cli.video import open_video
from tests.robust.common import LONG, generator, listing, options, report, workplace
from tests.robust.launcher import Ended, Launcher
from tests.video.video_clips import make_clip

COUNT, SECONDS = 352, 88  # frames, unevenly: nine segments
SIZE = (384, 208)  # width, height
OUTPUTS: dict[str, tuple[str, ...]] = {
    "out.mp4": (),
    "labels.mkv": (),
    "labels": (),
    "colour.mkv": ("--codec", "ffv1", "--view", "color"),
}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
MOST_STOPS = 12  # of one job; then it is let go on to its end
PROMPT_S = 2.0  # from a signal to the end


@dataclass
class Tally:
    """What became of jobs that were stopped."""

    word: str
    stops: int = 0
    jobs: int = 0
    resumed: int = 0  # runs that had something to go on with
    codes: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        pace = f", ended within {self.slowest_s:.2f} s" if self.slowest_s else ""
        bad = "".join(f"\n  {text}" for text in self.wrong)
        return (
            f"{self.stops} stops by {self.word} of {self.jobs} long jobs ({self.resumed} runs went on with segments), "
            f"{len(self.wrong)} wrong (codes {codes}{pace}){bad}"
        )


def seen(path: Path) -> list[tuple[Any, ...]]:
    """Each frame's time, duration and checksum; of a folder each file's name and checksum."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return [(file.relative_to(path).as_posix(), zlib.crc32(file.read_bytes())) for file in files]
    with open_video(path) as reader:
        frames = [(f.pts * f.time_base, f.duration * f.time_base, zlib.crc32(f.rgb().data)) for f in reader]
        whole = not (reader.shortfall or reader.frames_damaged or reader.frames_lost)
    return [*frames, ("whole", whole)]


class Bench:
    """A long video, what an uninterrupted run makes of it, and how long that takes here."""

    def __init__(
        self,
        folder: Path,
        launcher: Launcher,
        weights: Path,
        names: tuple[str, ...] = tuple(OUTPUTS),
        size: tuple[int, int] = SIZE,
        count: int = COUNT,
    ) -> None:
        self.folder, self._launcher, self._weights, self.names = folder, launcher, weights, names
        gaps = generator(9).integers(50, 450, count)
        ticks = tuple(int(tick) for tick in np.cumsum(gaps) * SECONDS * 1000 // gaps.sum())
        self._source = make_clip(
            folder / "in.mp4", ticks, Fraction(1, 1000), size=size, b_frames=2, audio="aac", audio_seconds=SECONDS,
            options={"x264-params": "keyint=30:scenecut=0:open-gop=1"},
        )  # fmt: skip
        self.expected: dict[str, list[tuple[Any, ...]]] = {}
        self.usual_s: dict[str, float] = {}
        for name in names:
            start = time.monotonic()
            ended = self.run(name)
            assert ended.code == 0, ended.err
            self.usual_s[name] = time.monotonic() - start
            self.expected[name] = self.result(name)
            self.clean(name)

    def arguments(self, name: str) -> tuple[object, ...]:
        stats = ("--stats", self.folder / f"{name}.csv")
        return ("segment", self._source, "-o", self.folder / name, *OUTPUTS[name], *stats, "--weights", self._weights,
                "--device", "cpu")  # fmt: skip

    def run(self, name: str, *more: object) -> Ended:
        return self._launcher.run(*self.arguments(name), *more)

    def stop(self, name: str, number: signal.Signals, after_s: float, *more: object) -> tuple[Ended, float]:
        """Send a signal after a while; (how it ended, seconds from the signal on)."""
        run = self._launcher.start(*self.arguments(name), *more)
        time.sleep(after_s)
        sent = time.monotonic()
        run.kill(number)
        return run.wait(), time.monotonic() - sent

    def result(self, name: str) -> list[tuple[Any, ...]]:
        return [*seen(self.folder / name), ("stats", (self.folder / f"{name}.csv").read_text())]

    def left(self) -> set[str]:
        return listing(self.folder) - {"in.mp4", self._weights.name}

    def clean(self, name: str) -> None:
        for path in self.folder.glob(f"*{name}*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)


def stopped(bench: Bench, numbers: tuple[signal.Signals, ...], count: int, seed: int) -> Tally:
    """`count` stops, by each of the signals in turn."""
    tally = Tally("/".join(number.name for number in numbers))
    random = generator(seed, *numbers)
    while tally.stops < count and LONG.goes_on(tally.stops, count, "stops"):
        name = bench.names[tally.jobs % len(bench.names)]
        tally.jobs += 1
        problem = _job(bench, name, numbers, random, tally, min(MOST_STOPS, count - tally.stops))
        if problem:
            tally.wrong.append(f"{name}: {problem}")
        bench.clean(name)
    return tally


def _job(
    bench: Bench,
    name: str,
    numbers: tuple[signal.Signals, ...],
    random: np.random.Generator,
    tally: Tally,
    most: int,
) -> str | None:
    """One job to its end; what was wrong with it."""
    part, more = bench.folder / f"{name}.part", ()
    for turn in range(most):
        number = numbers[turn % len(numbers)]
        tally.resumed += any(part.glob("*.segment"))
        before = len(list(part.glob("*.segment")))
        ended, seconds = bench.stop(name, number, float(random.uniform(0, 0.6 * bench.usual_s[name])), *more)
        more = ("--resume",)
        tally.stops += 1
        tally.codes[ended.code] += 1
        if number is not signal.SIGKILL:
            tally.slowest_s = max(tally.slowest_s, seconds)
        problem = _after_stop(bench, name, number, ended, seconds, before)
        if problem:
            return problem
        if ended.code == 0:
            break
    ended = bench.run(name, "--resume")
    if ended.code != 0 or ended.traceback:
        return f"resumed to its end: {ended.code}, {ended.err.strip()[-300:]}"
    if bench.result(name) != bench.expected[name]:
        return "the result differs from an uninterrupted run's"
    if bench.left() != {name, f"{name}.csv"}:
        return f"left beside it: {sorted(bench.left())}"
    return None


def _after_stop(
    bench: Bench, name: str, number: signal.Signals, ended: Ended, seconds: float, before: int
) -> str | None:
    output, part = bench.folder / name, bench.folder / f"{name}.part"
    if ended.hung or ended.traceback or ended.code not in (CODES[number], 0, -number):
        return f"{number.name}: {ended.code}, {ended.err.strip()[-300:]}"
    if number is signal.SIGKILL:
        if output.exists() and bench.result(name) != bench.expected[name]:
            return "half an output has the name"
        return None
    if output.exists() != (ended.code == 0) and ended.code != CODES[number]:
        return f"{number.name}: {ended.code}, but the output is {'there' if output.exists() else 'not there'}"
    if seconds > PROMPT_S:
        return f"{number.name}: ended only after {seconds:.1f} s"
    # A signal amid the reading of the command line finds nothing to be named yet; a run that has done more names it.
    done, named = len(list(part.glob("*.segment"))), "go on with: icnet segment" in ended.err
    if (ended.code == CODES[number] and (done > before) > named) or named > (done > 0):
        return f"{number.name}: the closing line does not fit what stays: {ended.err.strip()[-300:]}"
    return None


def main() -> None:
    told = options(__doc__, kills=50, signals=50, seed=0)
    with workplace() as (folder, launcher, weights):
        bench = Bench(folder, launcher, weights)
        tallies = [
            stopped(bench, (signal.SIGKILL,), told.kills, told.seed),
            stopped(bench, (signal.SIGINT, signal.SIGTERM), told.signals, told.seed),
        ]
    report("\n".join(tally.line for tally in tallies), not any(tally.wrong for tally in tallies))


if __name__ == "__main__":
    main()
