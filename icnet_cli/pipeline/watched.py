"""What whoever watches a run has in hand: its newest picture, and its end before the source's own."""

from __future__ import annotations

from collections.abc import Callable

from .show import Screen


class Watched:
    """A handle on a run: a key that was pressed or a signal ends it, and its file is whole.

    Attributes:
        screen: where the newest picture is left; None: nowhere.
        is_live: whether the run's source has no end of its own; then Ctrl-C is how it is meant to end.
        asked: whether the run was asked to end.
    """

    def __init__(self, screen: Screen | None = None) -> None:
        self.screen = screen
        self._end: Callable[[], None] | None = None
        self.is_live = self.asked = False

    def begin(self, end: Callable[[], None], *, is_live: bool) -> None:
        """From here on the run can be ended, by `end`, which may be called in any thread or a signal's handler."""
        self._end, self.is_live = end, is_live

    def ask(self) -> bool:
        """End the run now; False where it has not begun."""
        if self._end is None:
            return False
        self.asked = True
        self._end()
        return True
