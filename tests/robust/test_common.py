"""A long version says how far it is, and ends early with what it has reached."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.robust import common
from tests.robust.launcher import Launcher


@pytest.fixture
def long_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[common.LongRun]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    run = common.LongRun()
    monkeypatch.setattr(common, "LONG", run)
    run.begin()
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_long_run_between_two_turns(long_run: common.LongRun, number: int) -> None:
    done = []
    for turn in common.turns(range(10), "turns"):
        if turn == 3:
            signal.raise_signal(number)
        done.append(turn)
    assert done == [0, 1, 2, 3]
    assert long_run.stopped
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_how_far_it_is(
    long_run: common.LongRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(common.turns(range(4), "turns")) == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(common, "_TOLD_EVERY_S", -1.0)
    assert list(common.turns(range(4), "turns")) == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines()[2] == "2 of 4 turns"


def test_under_pytest_nothing_is_said_and_nothing_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert not common.LONG.on
    assert list(common.turns(range(4), "turns")) == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""


def sleep_for_ever() -> None:
    while True:
        time.sleep(60)


def test_a_launcher_ends_with_a_run_that_nobody_waits_for() -> None:
    with Launcher() as launcher:
        run = launcher.start(call="tests.robust.test_common:sleep_for_ever")
        assert _lives(run.pid)
    deadline = time.monotonic() + 30  # on a busy machine a killed process has to come round to its end
    while _lives(run.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(run.pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
