"""A long run that is stopped and resumed, however often, gives what an uninterrupted one gives."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.robust import resumes
from tests.robust.launcher import Launcher
from tests.video.video_clips import make_clip

NAMES = ("labels.mkv", "labels")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher, weights: Path) -> resumes.Bench:
    return resumes.Bench(tmp_path_factory.mktemp("long"), launcher, weights, NAMES, size=(96, 64), count=96)


@pytest.mark.parametrize("numbers", [(signal.SIGKILL,), (signal.SIGINT, signal.SIGTERM)])
def test_stopped_again_and_again(
    bench: resumes.Bench, numbers: tuple[signal.Signals, ...], figure: Callable[[str], None]
) -> None:
    tally = resumes.stopped(bench, numbers, 8, seed=0)
    figure(tally.line)
    assert not tally.wrong, tally.line
    assert tally.codes[resumes.CODES[numbers[0]]] > 0


def test_a_result_that_differs_would_be_seen(bench: resumes.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture of one output made otherwise, and the tally says so."""
    expected = bench.expected["labels"]
    name, checksum = expected[5]
    monkeypatch.setitem(bench.expected, "labels", [*expected[:5], (name, checksum ^ 1), *expected[6:]])
    monkeypatch.setattr(bench, "names", ("labels",))
    tally = resumes.stopped(bench, (signal.SIGKILL,), 1, seed=1)
    assert "differs from an uninterrupted" in tally.wrong[0] or "half an output" in tally.wrong[0]


def test_a_shifted_frame_would_be_seen(tmp_path: Path) -> None:
    ticks = list(range(0, 12 * 512, 512))
    one = make_clip(tmp_path / "one.mkv", ticks, codec="ffv1")
    ticks[7] += 13
    other = make_clip(tmp_path / "other.mkv", ticks, codec="ffv1")
    assert resumes.seen(one) == resumes.seen(one)
    differing = [a != b for a, b in zip(resumes.seen(one), resumes.seen(other), strict=True)]
    assert [place for place, differs in enumerate(differing) if differs] == [
        6,
        7,
    ]  # one's end is the other's begin
