"""The same input gives the same labels: `icnet segment` run again in another process, its label files compared.

python -m tests.robust.twice --runs 5
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.robust.common import BASE, run_long, ticks, turns
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip

FRAMES = 24


@dataclass
class Tally:
    """Label pictures of each run, as one hash."""

    hashes: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        return len(self.hashes) > 1 and len(set(self.hashes)) == 1

    @property
    def line(self) -> str:
        return f"{len(self.hashes)} runs over {FRAMES} frames on the CPU: {len(set(self.hashes))} different result(s)"


def hash_of(folder: Path) -> str:
    """Of every file's name and bytes."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def measure(folder: Path, runs: int, launcher: Launcher, weights: Path) -> Tally:
    tally, source = Tally(), make_clip(folder / "in.mp4", ticks(FRAMES), BASE)
    for number in turns(range(runs), "runs"):
        output = folder / f"labels{number}"
        ended = launcher.run("segment", source, "-o", output, "--weights", weights, "--device", "cpu")
        assert ended.code == 0, ended.err
        assert len(list(output.glob("*.png"))) == FRAMES
        tally.hashes.append(hash_of(output))
    return tally


if __name__ == "__main__":
    run_long(measure, __doc__, runs=5)
