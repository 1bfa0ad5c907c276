"""A disk that is full: the largest file that may be written is limited to twenty sizes below and above the output's.

    python -m tests.robust.full_disk --sizes 20

Each run ends with exit code 5 and leaves nothing, or its output is complete. Where a small file system can be mounted
(root on Linux), the same again with a disk that is really full.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.robust.common import BASE, listing, options, outputs_whole, report, ticks, turns, workplace
from tests.robust.launcher import Ended, Launcher
from tests.video.video_clips import make_clip

FRAMES = 24
OUTPUTS = ("out.mp4", "out.mkv", "out.webm", "labels")


@dataclass
class Tally:
    """What runs without room left behind."""

    way: str
    runs: int = 0
    states: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, ended: Ended, output: Path, left: set[str], size: int) -> None:
        self.runs += 1
        whole = outputs_whole(output, FRAMES)
        self.states["absent" if whole is None else "complete" if whole else "half"] += 1
        good = ended.code == (0 if whole else 5) and not ended.traceback
        if not good or whole is False or left:
            self.wrong.append(
                f"{output.name} at {size} bytes: {ended.code}, left {sorted(left)}; {ended.err.strip()[-300:]}"
            )

    @property
    def line(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        bad = "".join(f"\n  {text}" for text in self.wrong)
        return f"{self.runs} runs with {self.way}: {states}, {len(self.wrong)} wrong{bad}"


def _source(folder: Path) -> Path:
    return make_clip(folder / "in.mp4", ticks(FRAMES), BASE)


def _size(path: Path) -> int:
    return max(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _discard(path: Path) -> None:
    if path.exists():
        path.unlink() if path.is_file() else shutil.rmtree(path)


def limited_files(folder: Path, sizes: int, launcher: Launcher, weights: Path) -> Tally:
    """Under RLIMIT_FSIZE: writing beyond it fails as on a full disk (EFBIG)."""
    tally, source = Tally("a limit on the size of files"), _source(folder)
    arguments = ("--weights", weights, "--device", "cpu")
    for name in OUTPUTS:
        output = folder / name
        ended = launcher.run("segment", source, "-o", output, *arguments)
        assert ended.code == 0, ended.err
        whole = _size(output)
        _discard(output)
        count = max(1, sizes // len(OUTPUTS))
        for step in turns(range(count), f"sizes of {name}"):
            limit = whole * step // max(1, count - 1) + (step == count - 1) * 4096
            before = listing(folder)
            ended = launcher.run("segment", source, "-o", output, *arguments, limits={"RLIMIT_FSIZE": limit})
            tally.add(ended, output, listing(folder) - before - {name}, limit)
            _discard(output)
    return tally


def small_disks(folder: Path, sizes: int, launcher: Launcher, weights: Path) -> Tally | None:
    """On file systems of some pages; None where none can be mounted."""
    tally, source = Tally("a full disk"), _source(folder)
    place = folder / "disk"
    place.mkdir()
    for step in turns(range(sizes), "full disks"):
        size = (1 + step * 2) * 4096
        name = OUTPUTS[step % len(OUTPUTS)]
        with mounted(place, size) as there:
            if not there:
                return None
            ended = launcher.run(
                "segment", source, "-o", place / name, "--weights", weights, "--device", "cpu"
            )
            tally.add(ended, place / name, listing(place) - {name}, size)
    return tally


# Waits for the end of its input, which comes however this process ends, a kill included. Lazily, because something else
# on the machine may look into it at that moment.
_GUARD = """
mount -t tmpfs -o "size=$2" tmpfs "$1" 2>&- || exit
echo mounted
read _
umount --lazy "$1"
"""


@contextmanager
def mounted(place: Path, size: int) -> Iterator[bool]:
    """A file system of `size` bytes for as long as the block lasts; False where none may be mounted here."""
    with subprocess.Popen(
        ["sh", "-c", _GUARD, "sh", str(place), str(size)], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as guard:  # fmt: skip
        assert guard.stdout is not None
        yield guard.stdout.readline() == "mounted\n"


def main() -> None:
    told = options(__doc__, sizes=20)
    with workplace() as (folder, launcher, weights):
        measures: list[Callable[..., Tally | None]] = [limited_files, small_disks]
        tallies = [measure(folder, told.sizes, launcher, weights) for measure in measures]
    lines = [tally.line if tally else "no file system could be mounted" for tally in tallies]
    report("\n".join(lines), not any(tally.wrong for tally in tallies if tally))


if __name__ == "__main__":
    main()
