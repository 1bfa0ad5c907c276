"""Checkpoints survive a kill -9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from icnet_cli.checkpoints.state import list_states, save_state
from tests.robust import checkpoints
from tests.robust.launcher import Launcher


def test_a_loadable_checkpoint_is_always_there(
    tmp_path: Path, launcher: Launcher, figure: Callable[[str], None]
) -> None:
    tally = checkpoints.measure(tmp_path, 12, 0, launcher)
    figure(tally.line)
    assert not tally.broken, tally.line
    assert tally.inside > 0


def test_a_checkpoint_lost_would_be_seen(tmp_path: Path) -> None:
    tally = checkpoints.Tally()
    save_state(tmp_path, 3, checkpoints.state_of(3))
    assert checkpoints._check(tmp_path, 3, 0, tally) == 3
    assert not tally.broken
    checkpoints._check(tmp_path, 4, 1, tally)
    assert len(tally.broken) == 1
    path = list_states(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:1000])
    checkpoints._check(tmp_path, 3, 2, tally)
    assert len(tally.broken) == 2
