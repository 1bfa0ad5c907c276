"""Memory is flat."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robust import soak
from tests.robust.launcher import Launcher


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_memory_and_files_of_a_long_video(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = soak.measure(tmp_path, 1000, launcher, weights)
    figure(tally.line)
    assert tally.code == 0
    assert tally.written == 1000
    assert tally.growth < 8, tally.memory  # a short run shows a leak of a frame each, not one of bytes
    assert max(tally.files) < 40, tally.files


def test_growth_would_be_seen() -> None:
    leaking = soak.Tally(
        100_000, 100_000, memory=[300 + number / 10 for number in range(1000)], files=[9] * 1000
    )
    assert leaking.growth == pytest.approx(10, rel=0.05)
    assert leaking.step == pytest.approx(0.1)
    assert not leaking.met
    assert soak.Tally(100_000, 100_000, memory=[300.0] * 1000, files=[9] * 1000).met
    assert not soak.Tally(100_000, 100_000, memory=[300.0] * 1000, files=list(range(1000))).met
    assert not soak.Tally(100_000, 99_999, memory=[300.0] * 1000, files=[9] * 1000).met
    stepped = soak.Tally(100_000, 100_000, memory=[300.0] * 700 + [308.0] * 300, files=[9] * 1000)
    assert stepped.step == 8
    assert not stepped.met
