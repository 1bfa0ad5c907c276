"""Weights cannot run code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

from tests.robust import hostile
from tests.robust.launcher import Launcher


def test_hostile_weights_are_refused(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = hostile.measure(tmp_path, launcher, weights)
    figure(tally.line)
    assert tally.met, tally.line
    assert tally.files == 30


def test_the_payload_is_live(tmp_path: Path) -> None:
    """Unpickled, it does what the test looks for."""
    name, data = next(iter(hostile.pickles(tmp_path / "mark")))
    assert name.startswith("pickle")
    pickle.loads(data)
    assert (tmp_path / "mark").is_dir()


def test_a_file_put_together_again_is_the_same(weights: Path) -> None:
    header, body = hostile.split(weights.read_bytes())
    assert hostile.split(hostile.join(header, body)) == (header, body)
