"""A run that is watched: ended by Ctrl-C with a whole file where its source is live, and shown in a window."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from icnet_cli.cli.failures import ended_by
from icnet_cli.config import SegmentConfig
from icnet_cli.config.live import NOWHERE
from icnet_cli.errors import ending_signals

if TYPE_CHECKING:
    from icnet_cli.pipeline.show import Window
    from icnet_cli.pipeline.watched import Watched

_PAUSE_MS = 50


class EndedBySignals:
    """While it is entered, the first Ctrl-C, SIGTERM or SIGHUP ends a live run as if its source had ended.

    A second one, and any while the source is not live or not yet open, does what it does elsewhere.
    """

    def __init__(self, run: Watched) -> None:
        self._run = run
        self._before: dict[int, Any] = {}
        self._ended_by: int | None = None

    def __enter__(self) -> EndedBySignals:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            for number in ending_signals():
                self._before[number] = signal.signal(number, self._answer)
        return self

    def _answer(self, number: int, frame: Any) -> None:
        if self._run.is_live and not self._run.asked:
            self._ended_by = number
            self._run.ask()
            return
        before = self._before[number]
        if callable(before):
            before(number, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def tell(self) -> None:
        """Raise its error where SIGTERM or SIGHUP ended the run: its file is whole, and the code is 143 or 129."""
        if self._ended_by not in (None, signal.SIGINT):
            raise ended_by(self._ended_by)


class Shower:
    """Passes a run's events on, and shows its pictures on the way.

    Without an output the window is all there is: it pauses the run, and shows a file no faster than its own time.
    With one, the run goes on behind a picture that stands still.
    """

    def __init__(self, run: Watched, window: Window, *, is_all: bool) -> None:
        self._run, self._window, self._is_all = run, window, is_all
        self._paused = False
        self._last: Any = None  # the frame that was shown last
        self._start: float | None = None  # when the first one would have been shown

    def pass_on(self, events: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
        """The events, and their report at the end."""
        try:
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    self._linger()
                    return end.value
                self._see(event)
                yield event
        finally:
            events.close()
            self._window.close()

    def _see(self, event: Any) -> None:
        if self._run.asked:
            return
        shown = self._run.screen.take() if self._run.screen and not self._paused else None
        if shown is not None:
            self._draw(event, shown)
            self._keep_time(shown.seconds)
        self._answer(self._window.key())
        while self._paused and self._is_all and not self._run.asked:
            self._answer(self._window.key(_PAUSE_MS))
            self._start = None

    def _draw(self, event: Any, shown: Any) -> None:
        from icnet_cli.pipeline.show import as_bgr

        self._last = shown
        dropped = getattr(event, "dropped", 0)
        assert self._run.screen is not None
        picture = as_bgr(shown.rendered, self._run.screen.colours)
        self._window.draw(picture, f", {dropped} dropped" if dropped else "")

    def _keep_time(self, seconds: float | None) -> None:
        """Wait until a file's picture is due."""
        if seconds is None or not self._is_all or self._run.is_live:
            return
        now = self._window.now()
        if self._start is None:
            self._start = now - seconds
        while (early := self._start + seconds - self._window.now()) > 0 and not self._run.asked:
            self._answer(self._window.key(max(1, round(min(early, 0.05) * 1000))))
            if self._paused:
                return
        if early < -1:
            self._start = None  # too slow to keep time: do not rush to catch up

    def _answer(self, key: str | None) -> None:
        if key == "quit":
            self._run.ask()
        elif key == "pause":
            self._paused = not self._paused

    def _linger(self) -> None:
        """A picture stays until a key is pressed: it has no time of its own."""
        if self._last is None or self._last.seconds is not None or not self._is_all or self._run.asked:
            return
        while self._window.key(_PAUSE_MS) is None:
            pass


def watched_run(config: SegmentConfig) -> Watched:
    """The handle of a run that is to be shown, or not.

    Raises:
        IcnetError: where it is to be shown and cannot be.
    """
    from icnet_cli.pipeline.show import Screen, require_display
    from icnet_cli.pipeline.watched import Watched

    if not config.show:
        return Watched()
    require_display()
    return Watched(Screen())


def shown(
    events: Generator[Any, None, Any], run: Watched, config: SegmentConfig
) -> Generator[Any, None, Any]:
    """The events of a run, its pictures shown on the way where that is asked for."""
    if run.screen is None:
        return events
    from icnet_cli.pipeline.live import public_name
    from icnet_cli.pipeline.show import Window

    title = f"icnet: {public_name(config.source)}"
    return Shower(run, Window(title), is_all=config.output == NOWHERE).pass_on(events)
