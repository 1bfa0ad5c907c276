"""Shows on stderr how far a loop is: a live bar, a line now and then, JSON lines, or nothing.

Loops are generators of small events. `watch` consumes one, turns each event into a `Status`
by a function of the command's, and returns the report it ends with. `say_news` is for whatever
is to be said outside of one.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from icnet_cli.cli.console import say, say_json
from icnet_cli.cli.failures import heed

PLAIN_EVERY_S = 5.0  # a log file stays readable
JSON_EVERY_S = 1.0
_WINDOW_S = 10.0  # long enough to be steady, short enough to follow a change of pace


@dataclass(frozen=True)
class Status:
    """How far a loop is. What is None is left out; `left_s` and `rate` are worked out where not given."""

    done: int
    total: int | None = None
    share: float | None = None  # 0..1 of the whole, where units do not tell it
    unit: str = "frames"
    rate: float | None = None  # units a second
    rate_unit: str = "fps"
    left_s: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)  # shown as `name value`; keys of the JSON lines
    news: str | None = None  # worth a line of its own: an evaluation's result


class Display(Protocol):
    """What every way of showing progress does."""

    def show(self, status: Status) -> None: ...

    def finish(self) -> None: ...


def clock(seconds: float) -> str:
    """1:02 or 1:01:02."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _one(unit: str) -> str:
    return unit.removesuffix("es" if unit == "batches" else "s")


def counted(number: int, unit: str = "frames") -> str:
    """`1 frame`, `3 frames`."""
    return f"{number} {_one(unit) if number == 1 else unit}"


def phrase(status: Status) -> str:
    """The status in words: `120/300 frames, 31.2 fps, 0:06 left, slowest encode`."""
    of_total = f"/{status.total}" if status.total is not None else ""
    percent = f" ({status.share:.0%})" if status.share is not None else ""
    unit = _one(status.unit) if status.done == 1 and status.total in (None, 1) else status.unit
    parts = [f"{status.done}{of_total} {unit}{percent}"]
    if status.rate is not None:
        parts.append(f"{status.rate:.1f} {status.rate_unit}")
    if status.left_s is not None:
        parts.append(f"{clock(status.left_s)} left")
    parts += [f"{name} {_number(value)}" for name, value in status.notes.items() if value is not None]
    return ", ".join(parts)


class Pace:
    """Fills in the rate and the time left from how `done` has moved of late."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()

    def complete(self, status: Status) -> Status:
        """The status with `rate` and `left_s` worked out where they were None and can be known."""
        moment = self._now()
        self._seen.append((moment, status.done))
        while moment - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        elapsed, moved = moment - self._seen[0][0], status.done - self._seen[0][1]
        pace = moved / elapsed if elapsed > 0 and moved > 0 else None
        left = status.left_s
        if left is None and pace and status.total is not None:
            left = max(0, status.total - status.done) / pace
        return replace(status, rate=pace if status.rate is None else status.rate, left_s=left)


class _Lines:
    """A line every few seconds, and the last one: for log files and for programs.

    With `brief` a loop that was over before its first line says nothing: its closing line says it all.
    """

    def __init__(self, write: Callable[[Status], None], every_s: float, brief: bool) -> None:
        self._write, self._every_s, self._silent = write, every_s, brief
        self._next = time.monotonic() + every_s
        self._waiting: Status | None = None

    def show(self, status: Status) -> None:
        self._waiting = status
        if status.news or time.monotonic() >= self._next:
            self._flush()

    def finish(self) -> None:
        if not self._silent:
            self._flush()

    def _flush(self) -> None:
        if self._waiting is not None:
            self._write(self._waiting)
            self._waiting, self._silent = None, False
            self._next = time.monotonic() + self._every_s


def _plain_line(status: Status) -> None:
    nothing_begun = not status.done and status.total is None
    if status.news and nothing_begun:
        say(status.news)
    else:
        say(f"{phrase(status)}; {status.news}" if status.news else phrase(status))


def _json_line(status: Status) -> None:
    say_json(
        {
            "done": status.done,
            "total": status.total,
            "share": status.share,
            "unit": status.unit,
            status.rate_unit: status.rate,
            "left_s": status.left_s,
            "news": status.news,
            **status.notes,
        }
    )


def say_news(text: str, mode: str | None) -> None:
    """Write a line for the person to stderr; for a program that follows the progress, one that has `news` alone."""
    if mode == "json":
        say_json({"news": text})
    else:
        say(text)


class _Nothing:
    def show(self, status: Status) -> None:
        pass

    def finish(self) -> None:
        pass


class _Bar:
    """A live bar at the bottom of the terminal; Rich redraws it and honours NO_COLOR."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(stderr=True, highlight=False)
        text = TextColumn("{task.fields[text]}", markup=False)
        self._progress = Progress(
            BarColumn(bar_width=24), text, console=self._console, transient=True, redirect_stdout=False
        )
        self._task = self._progress.add_task("", total=None, text="starting")
        self._progress.start()

    def show(self, status: Status) -> None:
        self._progress.update(
            self._task,
            completed=status.done if status.share is None else status.share,
            total=status.total if status.share is None else 1.0,
            text=phrase(status).replace(", ", "  "),
        )
        if status.news:
            self._console.print(status.news, markup=False)

    def finish(self) -> None:
        self._progress.stop()


def _display(mode: str | None) -> Display:
    if mode is None:
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        mode = "bar" if live else "plain"
    if mode == "plain":
        return _Lines(_plain_line, PLAIN_EVERY_S, brief=True)
    if mode == "json":
        return _Lines(_json_line, JSON_EVERY_S, brief=False)
    return _Bar() if mode == "bar" else _Nothing()


@contextmanager
def shown(mode: str | None) -> Iterator[Display]:
    """A display for the length of a block; None takes a bar on a terminal and lines elsewhere."""
    display = _display(mode)
    try:
        yield display
    finally:
        display.finish()


def watch(events: Iterator[Any], mode: str | None, describe: Callable[[Any], Status | str | None]) -> Any:
    """Run a loop to its end, showing the events that `describe` has a status for; a text is said at once.

    Returns the loop's report: what its generator returns, or, where that is nothing, its last event.
    """
    pace, last = Pace(), None
    try:
        with shown(mode) as display:
            while True:
                try:
                    last = next(events)
                except StopIteration as end:
                    return last if end.value is None else end.value
                heed()
                described = describe(last)
                if isinstance(described, str):
                    say_news(described, mode)
                elif described is not None:
                    display.show(pace.complete(described))
    finally:
        # A loop stopped half-way puts its files away now, before the error is told.
        if isinstance(events, Generator):
            events.close()
