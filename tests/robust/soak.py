"""Memory over a long video: frames, memory and open files counted while `icnet segment` runs.

python -m tests.robust.soak --frames 100000
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.robust.common import LONG, run_long
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip, picture

WARM_UP = 0.3  # of the run: caches fill, the allocator finds its size
GROWTH_MB = 1.0  # allowed in 10,000 frames, and in a run that is shorter


@dataclass
class Tally:
    """What was seen from outside while the run went on: memory in MB and open files at each look."""

    frames: int
    written: int = 0
    code: int = 0
    memory: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """MB in 10,000 frames (or in the whole of a shorter run), by the medians of the run's two halves."""
        steady = self.memory[int(len(self.memory) * WARM_UP) :]
        half = len(steady) // 2
        grown = float(np.median(steady[half:]) - np.median(steady[:half])) if half else 0.0
        frames_between = self.frames * (1 - WARM_UP) / 2
        return grown * min(1.0, 10_000 / frames_between)

    @property
    def step(self) -> float:
        """MB of the largest growth between two looks: near the whole growth, it is no leak."""
        steady = self.memory[int(len(self.memory) * WARM_UP) :]
        return float(np.diff(steady).max()) if len(steady) > 1 else 0.0

    @property
    def met(self) -> bool:
        """Memory is flat, and files, of which a segment opens some now and then, are not left open."""
        steady = self.files[int(len(self.files) * WARM_UP) : -1]
        half = len(steady) // 2
        open_before, open_after = (sum(part) / max(1, len(part)) for part in (steady[:half], steady[half:]))
        return (
            self.growth < GROWTH_MB
            and open_after - open_before < 1
            and (self.code, self.written) == (0, self.frames)
        )

    @property
    def line(self) -> str:
        steady = self.files[int(len(self.files) * WARM_UP) : -1]
        return (
            f"{self.written} of {self.frames} frames: memory {max(self.memory):.0f} MB, growing {self.growth:.2f} MB "
            f"in 10,000 frames, by {self.step:.1f} MB at most between two looks; "
            f"{'/'.join(map(str, sorted(set(steady))))} files open; {len(self.memory)} looks"
        )


def look(pid: int) -> tuple[float, int]:
    """(resident MB, open files) of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd"))


def make_long(path: Path, frames: int) -> Path:
    """A video of many small frames."""
    base = [picture(number, 64, 32) for number in range(16)]
    ticks = tuple(range(0, frames * 512, 512))
    return make_clip(path, ticks, size=(64, 32), pictures=(base[number % 16] for number in range(frames)))


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def measure(folder: Path, frames: int, launcher: Launcher, weights: Path) -> Tally:
    source = make_long(folder / "long.mp4", frames)
    tally = Tally(frames)
    arguments: list[Any] = [
        "segment",
        source,
        "-o",
        folder / "out.mp4",
        "--weights",
        weights,
        "--device",
        "cpu",
    ]
    run = launcher.start(*arguments, "--json", "--progress", "none", limit_s=24 * 3600)
    time.sleep(0.5)
    while _lives(run.pid) and LONG.goes_on(len(tally.memory), 0, "looks"):
        try:
            memory, files = look(run.pid)
        except (OSError, IndexError):
            break
        if memory:
            tally.memory.append(memory)
            tally.files.append(files)
        time.sleep(0.05 if frames < 10_000 else 1.0)
    if LONG.stopped:
        run.kill()
    ended = run.wait()
    tally.code = ended.code
    tally.written = json.loads(ended.out)["frames"] if ended.out else 0
    return tally


if __name__ == "__main__":
    run_long(measure, __doc__, frames=100_000)
