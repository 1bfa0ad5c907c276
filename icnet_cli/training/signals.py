"""Signals that wait for the end of a training step, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from icnet_cli.errors import ExitCode, ending_signals


class DeferredSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP only set `code`; a second SIGINT interrupts at once.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.code: ExitCode | None = None
        self._old: dict[int, object] = {}
        self._codes = ending_signals()

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():
            for number in self._codes:
                self._old[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.code is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.code = self._codes[number]

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
