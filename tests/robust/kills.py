"""SIGKILL, Ctrl-C, SIGTERM and SIGHUP at random times of a run, to a video and to a folder in turn.

    python -m tests.robust.kills --kills 50 --signals 50

After a SIGKILL the output is absent or complete, and the same command succeeds afterwards. After Ctrl-C (SIGINT),
SIGTERM and SIGHUP the exit code is 130, 143 or 129 (0 where the work was done already) and nothing new is in the
folder.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.robust.common import (
    BASE,
    generator,
    listing,
    options,
    outputs_whole,
    report,
    ticks,
    turns,
    workplace,
)
from tests.robust.launcher import Ended, Launcher
from tests.video.video_clips import make_clip

FRAMES = 60
OUTPUTS = ("out.mp4", "labels", "out.mkv")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@dataclass
class Tally:
    """What runs that were stopped left behind."""

    word: str
    runs: int = 0
    states: Counter[str] = field(default_factory=Counter)  # absent, complete
    codes: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0  # from the signal to the end
    wrong: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        pace = f"; ended within {self.slowest_s:.2f} s" if self.slowest_s else ""
        bad = "".join(f"\n  {text}" for text in self.wrong)
        return f"{self.runs} runs ended by {self.word}: {states}, {len(self.wrong)} wrong (codes {codes}{pace}){bad}"


class Bench:
    """A video, and how long a run over it takes here."""

    def __init__(self, folder: Path, launcher: Launcher, weights: Path) -> None:
        self.folder, self._launcher, self._weights = folder, launcher, weights
        self._source = make_clip(folder / "in.mp4", ticks(FRAMES), BASE, audio="aac")
        self._usual_s = statistics.median(self._whole(output) for output in OUTPUTS)

    def _arguments(self, output: Path) -> tuple[object, ...]:
        return ("segment", self._source, "-o", output, "--weights", self._weights, "--device", "cpu")

    def _whole(self, name: str) -> float:
        start = time.monotonic()
        ended = self._launcher.run(*self._arguments(self.folder / name))
        assert ended.code == 0, ended.err
        self.clean(name)
        return time.monotonic() - start

    def clean(self, name: str) -> None:
        for path in self.folder.glob(f"*{name}*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
        for path in self.folder.glob(".*.part"):
            path.unlink()

    def stop(self, name: str, number: int, share: float) -> tuple[Ended, float]:
        """Send a signal after a share of the usual time; (how it ended, seconds from the signal on)."""
        run = self._launcher.start(*self._arguments(self.folder / name))
        time.sleep(share * self._usual_s)
        sent = time.monotonic()
        run.kill(number)
        ended = run.wait()
        return ended, time.monotonic() - sent

    def again(self, name: str) -> Ended:
        return self._launcher.run(*self._arguments(self.folder / name))


def kills(bench: Bench, count: int, seed: int) -> Tally:
    """SIGKILL at `count` random times."""
    tally = Tally("SIGKILL")
    for number, share in enumerate(turns(generator(seed).uniform(0, 1.1, count), "kills")):
        name = OUTPUTS[number % len(OUTPUTS)]
        ended, _ = bench.stop(name, signal.SIGKILL, share)
        tally.runs += 1
        tally.codes[ended.code] += 1
        whole = outputs_whole(bench.folder / name, FRAMES)
        tally.states["absent" if whole is None else "complete" if whole else "half"] += 1
        if whole is False:
            tally.wrong.append(f"{name} killed at {share:.3f} is half a file")
        if whole is None and (code := bench.again(name).code) != 0:
            tally.wrong.append(f"{name} killed at {share:.3f}: run again, code {code}")
        bench.clean(name)
    return tally


def signals(bench: Bench, number: signal.Signals, count: int, seed: int) -> Tally:
    """Ctrl-C, SIGTERM or SIGHUP at `count` random times."""
    tally = Tally("Ctrl-C" if number is signal.SIGINT else number.name)
    for turn, share in enumerate(turns(generator(seed, number).uniform(0, 1.1, count), "signals")):
        name = OUTPUTS[turn % len(OUTPUTS)]
        before = listing(bench.folder)
        ended, seconds = bench.stop(name, number, share)
        tally.runs += 1
        tally.codes[ended.code] += 1
        tally.slowest_s = max(tally.slowest_s, seconds)
        whole = outputs_whole(bench.folder / name, FRAMES)
        tally.states["absent" if whole is None else "complete" if whole else "half"] += 1
        left = listing(bench.folder) - before - {name}
        # A signal that comes when all is done finds a complete output; one that comes before the command has begun, or
        # after it, ends the process by itself, which a shell calls 130, 143 or 129 too.
        good = ended.code in (CODES[number], -number) or (whole and ended.code == 0)
        if not good or whole is False or left or ended.hung or ended.traceback:
            tally.wrong.append(
                f"{name} at {share:.3f}: {ended.code}, left {sorted(left)}; {ended.err.strip()[-300:]}"
            )
        bench.clean(name)
    return tally


def main() -> None:
    told = options(__doc__, kills=50, signals=50, seed=0)
    with workplace() as (folder, launcher, weights):
        bench = Bench(folder, launcher, weights)
        tallies = [kills(bench, told.kills, told.seed)]
        tallies += [signals(bench, number, told.signals, told.seed) for number in CODES]
    report("\n".join(tally.line for tally in tallies), not any(tally.wrong for tally in tallies))


if __name__ == "__main__":
    main()
