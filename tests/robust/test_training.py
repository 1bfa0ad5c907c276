"""A kill at any moment of a training leaves a checkpoint that loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from icnet_cli.checkpoints.state import list_states, save_state
from tests.robust import tracing, training
from tests.robust.launcher import Launcher


def test_killed_at_random(tmp_path: Path, launcher: Launcher, figure: Callable[[str], None]) -> None:
    tally = training.measure(training.Bench(tmp_path, launcher), 4, 0, 0)
    figure(tally.line)
    assert not tally.broken, tally.line
    assert tally.kills == 4


def test_killed_at_system_calls_of_a_save(
    tmp_path: Path, launcher: Launcher, figure: Callable[[str], None]
) -> None:
    if not tracing.possible():
        pytest.skip("processes cannot be traced here (ptrace is not allowed)")
    tally = training.measure(training.Bench(tmp_path, launcher), 0, 5, 0)
    figure(tally.line)
    assert not tally.broken, tally.line
    assert (tally.kills, tally.inside) == (5, 5)
    assert tally.calls > 20  # open, write, sync, rename, remove: in and out of each


def test_a_checkpoint_lost_or_damaged_would_be_seen(tmp_path: Path, launcher: Launcher) -> None:
    bench = training.Bench(tmp_path, launcher)
    bench.run.mkdir()
    save_state(bench.run, 3, {"step": 3})
    bench._check("then")
    assert not bench.tally.broken
    bench.newest = 4
    bench._check("then")
    assert len(bench.tally.broken) == 1
    for path in list_states(bench.run):
        path.write_bytes(path.read_bytes()[:100])
    bench._check("then")
    assert len(bench.tally.broken) == 2
