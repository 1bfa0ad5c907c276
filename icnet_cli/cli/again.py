"""The command as it was typed, to be told how to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextvars import ContextVar

_words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


def remember(words: Sequence[str]) -> None:
    """Keep the words of this command line."""
    _words.set(tuple(words))


def with_resume() -> str:
    """The whole command that goes on with this one, to be typed into a shell."""
    words = [*_words.get(), *(() if "--resume" in _words.get() else ("--resume",))]
    return shlex.join(["icnet", *words])
