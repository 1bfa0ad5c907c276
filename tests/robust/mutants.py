"""Damaged files: bytes flipped, cut, repeated, zeroed and moved in videos of ten codecs and containers.

    python -m tests.robust.mutants --count 100000 --commands 1000

`--count` go through the reader, in one worker that is started anew where it dies; `--commands` through the whole of
`icnet segment`. Mutant N of a seed is always the same file.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from tests.robust.common import CODES, generator, make_seeds, options, report, turns, workplace
from tests.robust.launcher import ROOT, Launcher

SLOW_S = 10.0  # of processor time
HUNG_S = 60.0  # by the clock, which on a busy machine runs faster than the work
MEMORY_MB = 1024
RENEWED_AFTER = 10_000  # files: what a worker has kept of tens of thousands is no single file's memory


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """One to four wounds; every other one in the first or last 4 KiB, where containers keep what they declare."""
    wounded = bytearray(data)
    for _ in range(random.integers(1, 5)):
        if len(wounded) < 64:
            break
        low, high = 0, len(wounded)
        if random.random() < 0.5:
            low, high = ((0, min(high, 4096)), (max(0, high - 4096), high))[random.integers(2)]
        at = int(random.integers(low, high))
        length = min(int(2 ** random.uniform(0, 12)), len(wounded) - at)
        _wound(wounded, at, length, random)
    return bytes(wounded)


def _wound(data: bytearray, at: int, length: int, random: np.random.Generator) -> None:
    kind = random.integers(8)
    if kind == 0:
        del data[at : at + length]
    elif kind == 1:
        data[at:at] = data[at : at + length]
    elif kind == 2:
        data[at : at + length] = bytes(length)
    elif kind == 3:
        data[at : at + length] = random.integers(0, 256, length, np.uint8).tobytes()
    elif kind == 4:
        del data[max(64, at) :]
    elif kind == 5:  # a size or a count at one of its ends
        data[at : at + 4] = random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]).astype(">u4").tobytes()
    else:
        for place in random.integers(at, at + length, min(length, 32)):
            data[place] ^= 1 << random.integers(8)


@dataclass
class Tally:
    """What became of the mutants."""

    signals: int = 0
    slow: int = 0
    outside: int = 0  # an exit code that is not in the table, or an error that is none of ours
    codes: Counter[int] = field(default_factory=Counter)
    rss_mb: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, code: int, seconds: float, rss_mb: float, words: str) -> None:
        self.codes[code] += 1
        self.rss_mb = max(self.rss_mb, rss_mb)
        slow, outside = seconds > SLOW_S, code == 1 or (code >= 0 and code not in CODES)
        self.slow += slow
        self.signals += code < 0 and not slow
        self.outside += outside
        if slow or outside or code < 0:
            self.notes.append(f"{name}: {code} after {seconds:.1f} s {words[-200:]}")

    @property
    def met(self) -> bool:
        return not (self.signals or self.slow or self.outside) and self.rss_mb < MEMORY_MB

    def line(self, where: str) -> str:
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(self.codes.items()))
        lines = [
            f"{self.codes.total()} mutants through {where}: {self.signals} signals, {self.slow} over {SLOW_S:g} s, "
            f"{self.outside} codes outside the table ({codes}), at most {self.rss_mb:.0f} MB"
        ]
        return "\n".join(lines + self.notes[:20])


class Worker:
    """A process that reads the files it is told of; started anew where it dies or hangs."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._files = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robust.reading"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it says when it is ready

    def read(self, path: Path) -> tuple[int, float, float, str]:
        """(code, seconds, MB, words) of one file."""
        if self._files == RENEWED_AFTER:
            self._end()
            self._start()
        self._files += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], HUNG_S)
        line = self._process.stdout.readline() if ready else ""
        if line:
            answer = json.loads(line)
            return answer["code"], answer["seconds"], answer["rss_mb"], answer["words"]
        if not ready:
            self._process.kill()
        code = self._process.wait()
        self._start()
        return code, 0.0 if ready else HUNG_S, 0.0, ""

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()


def through_reader(seeds: list[Path], folder: Path, count: int, seed: int) -> Tally:
    """`count` mutants through the reader."""
    tally, contents = Tally(), [path.read_bytes() for path in seeds]
    with Worker() as worker:
        for number in turns(range(count), "mutants through the reader"):
            origin = seeds[number % len(seeds)]
            path = folder / f"mutant{origin.suffix}"
            path.write_bytes(mutate(contents[number % len(seeds)], generator(seed, number)))
            tally.add(f"mutant {number} of {origin.name}", *worker.read(path))
    return tally


def through_command(
    seeds: list[Path], folder: Path, count: int, seed: int, launcher: Launcher, weights: Path
) -> Tally:
    """`count` mutants through `icnet segment`, to a video and to label pictures in turn."""
    tally, contents = Tally(), [path.read_bytes() for path in seeds]
    for number in turns(range(count), "mutants through icnet segment"):
        origin = seeds[number % len(seeds)]
        path = folder / f"mutant{origin.suffix}"
        path.write_bytes(mutate(contents[number % len(seeds)], generator(seed + 1, number)))
        output = folder / ("out.mkv" if number % 2 else "labels")
        ended = launcher.run(
            "segment", path, "-o", output, "-y", "--weights", weights, "--device", "cpu", limit_s=HUNG_S
        )
        code = 1 if ended.traceback else ended.code
        seconds = HUNG_S if ended.hung else ended.seconds
        tally.add(f"mutant {number} of {origin.name}", code, seconds, ended.rss_mb, ended.err)
    return tally


def main() -> None:
    told = options(__doc__, count=100_000, commands=1000, seed=0)
    with workplace() as (folder, launcher, weights):
        seeds = make_seeds(folder / "seeds")
        read = through_reader(seeds, folder, told.count, told.seed)
        ran = through_command(seeds, folder, told.commands, told.seed, launcher, weights)
    report(read.line("the reader") + "\n" + ran.line("icnet segment"), read.met and ran.met)


if __name__ == "__main__":
    main()
