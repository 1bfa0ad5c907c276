"""The command as it was typed, to be told how to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextvars import ContextVar

from icnet_cli.config.live import is_live_name

_words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


def remember(words: Sequence[str]) -> None:
    """Keep the words of this command line."""
    _words.set(tuple(words))


def with_resume() -> str:
    """The whole command that goes on with this one, to be typed into a shell; of an address only what may be shown."""
    words = [_shown(word) for word in _words.get()]
    end = words.index("--") if "--" in words else len(words)  # what follows it is no option
    if "--resume" not in words[:end]:
        words.insert(end, "--resume")
    return shlex.join(["icnet", *words])


def _shown(word: str) -> str:
    if not is_live_name(word):
        return word
    from icnet_cli.video.live_address import public_url

    return public_url(word) if "://" in word else word
