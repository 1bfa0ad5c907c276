"""Standard streams that are closed when the process starts (`icnet ... >&-`, a service without a terminal).

Python has None for them, and the next files that are opened take their numbers: a library's message to stdout would
land in a video. So what is closed becomes the null device, before anything is opened.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}  # by their numbers: 0, 1, 2
_closed: set[str] = set()


def fill_closed() -> None:
    """Put the null device where a standard stream is closed; `was_closed` remembers it."""
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is not None:
            continue
        _closed.add(name)
        nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number: the closed stream's own
        setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8", closefd=nowhere != number))
        os.set_inheritable(nowhere, nowhere == number)


def escape_unwritable() -> None:
    """Have what stdout's encoding lacks written as an escape, as stderr does: of a name in Chinese, under Latin-1, say.

    Windows gives a pipe the encoding of old programs, and some servers have one in their locale. In the C locale Python
    writes the bytes of a name that is no text as they are, and refuses the rest: the former stays so.
    """
    codecs.register_error("icnet", _byte_or_escape)
    ways = {"strict": "backslashreplace", "surrogateescape": "icnet"}
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ways:
        sys.stdout.reconfigure(errors=ways[sys.stdout.errors])


def _byte_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def was_closed(name: str) -> bool:
    """Whether `stdin`, `stdout` or `stderr` was closed when the process started."""
    return name in _closed
