"""Never half a file under the final name, whatever ends the run."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robust import kills
from tests.robust.common import outputs_whole
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip


@pytest.fixture
def bench(tmp_path: Path, launcher: Launcher, weights: Path) -> kills.Bench:
    return kills.Bench(tmp_path, launcher, weights)


def test_a_kill_leaves_all_or_nothing(bench: kills.Bench, figure: Callable[[str], None]) -> None:
    tally = kills.kills(bench, 10, seed=0)
    figure(tally.line)
    assert not tally.wrong, tally.line
    assert tally.states["absent"] > 0


@pytest.mark.parametrize("number", kills.CODES)
def test_a_signal_leaves_nothing(
    bench: kills.Bench, number: signal.Signals, figure: Callable[[str], None]
) -> None:
    tally = kills.signals(bench, number, 10, seed=0)
    figure(tally.line)
    assert not tally.wrong, tally.line
    assert tally.codes[kills.CODES[number]] > 0


def test_half_a_file_would_be_seen(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "whole.mkv")
    half = tmp_path / "half.mkv"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    assert outputs_whole(clip, 12) is True
    assert outputs_whole(clip, 13) is False
    assert outputs_whole(half, 12) is False
    assert outputs_whole(tmp_path / "none.mkv", 12) is None
