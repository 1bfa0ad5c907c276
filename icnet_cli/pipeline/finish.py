"""Ending a run before its source ends, with a whole file."""

from __future__ import annotations

from collections.abc import Callable


class Finish:
    """A handle on a run for whoever watches it: a key that was pressed, a signal.

    Attributes:
        is_live: whether the run's source has no end of its own; then Ctrl-C is how it is meant to end.
        asked: whether the run was asked to end.
    """

    def __init__(self) -> None:
        self._end: Callable[[], None] | None = None
        self.is_live = self.asked = False

    def allow(self, end: Callable[[], None], *, is_live: bool) -> None:
        """From here on the run can be ended, by `end`, which may be called in any thread or a signal's handler."""
        self._end, self.is_live = end, is_live

    def ask(self) -> bool:
        """End the run now; False where it has not begun."""
        if self._end is None:
            return False
        self.asked = True
        self._end()
        return True
