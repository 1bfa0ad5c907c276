"""The window's keys over a run, its pace, and which options go together."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.cli.failures import TerminatedError
from icnet_cli.cli.live import EndedBySignals, Shower
from icnet_cli.pipeline.lanes import FrameDone
from icnet_cli.pipeline.show import Screen, Shown
from icnet_cli.pipeline.watched import Watched


class FakeWindow:
    """Counts what is drawn; `keys` are what is pressed at each asking; its clock goes on while one waits."""

    def __init__(self, *keys: str | None) -> None:
        self.keys, self.drawn, self.closed = list(keys), 0, False
        self.notes: list[str] = []
        self.seconds = 0.0

    def draw(self, picture: Any, note: str = "") -> None:
        self.drawn += 1
        self.notes.append(note)

    def key(self, wait_ms: int = 1) -> str | None:
        self.seconds += wait_ms / 1000
        return self.keys.pop(0) if self.keys else None

    def now(self) -> float:
        return self.seconds

    def close(self) -> None:
        self.closed = True


class Run:
    """A run of frames a second apart that ends when it is asked to."""

    def __init__(self, frames: int = 5, *, is_live: bool = False, seconds: float | None = 1.0) -> None:
        self.watched = Watched(Screen())
        self.ended = False
        self._frames, self._seconds = frames, seconds
        self.watched.begin(self._end, is_live=is_live)

    def _end(self) -> None:
        self.ended = True

    def events(self) -> Generator[Any, None, Any]:
        assert self.watched.screen is not None
        done = 0
        for number in range(self._frames):
            if self.ended:
                break
            at = None if self._seconds is None else number * self._seconds
            self.watched.screen._newest.append(Shown(np.zeros((4, 6, 3), np.uint8), at))
            done += 1
            yield FrameDone(done, self._frames, number, at, "network", dropped=number)
        return {"frames": done}


def through(run: Run, window: FakeWindow, *, is_all: bool = True) -> dict[str, Any]:
    events = Shower(run.watched, window, is_all=is_all).pass_on(run.events())  # type: ignore[arg-type]
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def test_every_picture_is_drawn_and_the_window_closed() -> None:
    run, window = Run(), FakeWindow()
    assert through(run, window) == {"frames": 5}
    assert window.drawn == 5
    assert window.closed
    assert window.notes[:2] == ["", ", 1 dropped"]


def test_q_ends_the_run() -> None:
    run, window = Run(), FakeWindow("quit")
    assert through(run, window)["frames"] == 1
    assert run.ended
    assert window.closed


def test_a_file_is_shown_no_faster_than_its_time() -> None:
    run, window = Run(frames=4), FakeWindow()
    through(run, window)
    assert 3.0 <= window.seconds < 3.5


@pytest.mark.parametrize(("is_live", "is_all"), [(True, True), (False, False)])
def test_cameras_and_files_that_are_written_are_not_held_up(is_live: bool, is_all: bool) -> None:
    run, window = Run(frames=4, is_live=is_live), FakeWindow()
    through(run, window, is_all=is_all)
    assert window.seconds < 0.1


def test_space_pauses_until_space() -> None:
    window = FakeWindow("pause", *[None] * 40, "pause")
    run = Run(frames=3, is_live=True)
    through(run, window)
    assert window.drawn == 3
    assert window.seconds >= 40 * 0.05  # it waited


def test_while_something_is_written_space_holds_the_picture_alone() -> None:
    run, window = Run(frames=6), FakeWindow("pause", None, None, "pause")
    assert through(run, window, is_all=False) == {"frames": 6}
    assert window.drawn == 3  # not while it stood still


def test_q_ends_a_pause() -> None:
    run, window = Run(frames=6, is_live=True), FakeWindow("pause", None, "quit")
    assert through(run, window)["frames"] == 1


def test_a_picture_without_a_time_stays_until_a_key() -> None:
    window = FakeWindow(*[None] * 9, "other")
    through(Run(frames=1, seconds=None), window)
    assert not window.keys


def test_an_error_closes_the_window() -> None:
    run, window = Run(), FakeWindow()
    events = Shower(run.watched, window, is_all=True).pass_on(run.events())  # type: ignore[arg-type]
    next(events)
    events.close()
    assert window.closed


@pytest.mark.parametrize(
    ("number", "raises"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, True)]
)
def test_the_first_signal_ends_a_live_run(number: int, raises: bool) -> None:
    run = Run(is_live=True)
    signals = EndedBySignals(run.watched)
    with signals:
        signal.raise_signal(number)
        assert run.ended
    if raises:
        with pytest.raises(TerminatedError):
            signals.tell()
    else:
        signals.tell()


def test_the_second_ctrl_c_is_ctrl_c() -> None:
    run = Run(is_live=True)
    with pytest.raises(KeyboardInterrupt), EndedBySignals(run.watched):  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_over_a_file_is_ctrl_c() -> None:
    run = Run(is_live=False)
    with pytest.raises(KeyboardInterrupt), EndedBySignals(run.watched):
        signal.raise_signal(signal.SIGINT)
    assert not run.ended


def test_without_a_display_show_is_refused_in_one_line(
    refused: Callable[..., str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert "--show needs a display" in refused(6, "segment", "none.mp4", "--show", "--weights", weights)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.mp4",), "--output is missing"),
        (("a.mp4", "-o", "b.mp4", "--max-latency", "100ms"), "a.mp4 is neither"),
        (("a.mp4", "b.mp4", "--show", "-o", "out"), "--show is for one source"),
        (("camera:0", "-o", "o.mp4", "--max-latency", "fast"), "must be a time"),
        (("camera:kitchen", "-o", "o.mp4"), "camera:kitchen is none"),
        (("ftp://host/x", "-o", "o.mp4"), "ftp:// is not read here"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: tuple[str, ...], words: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert words in refused(2, "segment", *arguments)


def test_a_camera_that_is_not_there(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert "there is no camera:63" in refused(3, "segment", "camera:63", "-o", "o.mp4")
