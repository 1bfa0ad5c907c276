"""A full disk is exit code 5, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robust import full_disk
from tests.robust.launcher import ROOT, Ended, Launcher
from tests.video.video_clips import make_clip


def test_a_limit_on_the_size_of_files(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = full_disk.limited_files(tmp_path, 20, launcher, weights)
    figure(tally.line)
    assert not tally.wrong, tally.line
    assert tally.runs == 20
    assert min(tally.states["absent"], tally.states["complete"]) >= 4


def test_a_disk_that_is_really_full(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = full_disk.small_disks(tmp_path, 8, launcher, weights)
    if tally is None:
        pytest.skip("mounting a small file system needs root")
    figure(tally.line)
    assert not tally.wrong, tally.line


def test_a_small_disk_goes_with_whoever_had_it(tmp_path: Path) -> None:
    """A kill in the middle too, which no `finally` outlives."""
    script = (
        "import sys; from pathlib import Path; from tests.robust.full_disk import mounted\n"
        "with mounted(Path(sys.argv[1]), 8192) as there: print(there, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        if process.stdout.readline() != "True\n":
            pytest.skip("mounting a small file system needs root")
        assert tmp_path.is_mount()
        process.kill()
    deadline = time.monotonic() + 30
    while tmp_path.is_mount() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not tmp_path.is_mount()


def test_what_is_left_behind_would_be_seen(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "out.mkv")
    clip.write_bytes(clip.read_bytes()[:2000])
    failed = Ended(5, False, 0.1, 100.0, "", "icnet: the disk is full")
    tally = full_disk.Tally("a test")
    tally.add(failed, clip, set(), 1)
    tally.add(failed, tmp_path / "none.mkv", {".none.part"}, 1)
    tally.add(Ended(1, False, 0.1, 100.0, "", "a bug"), tmp_path / "none.mkv", set(), 1)
    assert len(tally.wrong) == 3
    tally.add(failed, tmp_path / "none.mkv", set(), 1)
    assert len(tally.wrong) == 3
