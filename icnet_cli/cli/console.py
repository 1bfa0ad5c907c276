"""How the command line talks: data to stdout, everything else to stderr.

`icnet ... | head` closes stdout early, which is the reader's right: `emit` then ends the
command quietly. A closed stderr must not end a run that is doing its work: `say` goes silent.
"""

# ruff: noqa: RUF009  (as in config/)

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from icnet_cli.config import Config, option
from icnet_cli.outputs import json_line

if TYPE_CHECKING:
    from rich.console import RenderableType

PANEL = "Talking to you"


@dataclass(frozen=True)
class Console(Config):
    """The options that every command has."""

    json: bool = option(False, "Print one JSON document on stdout.", panel=PANEL)
    debug: bool = option(False, "Show the traceback of an error.", env=False, panel=PANEL)
    config_file: Path | None = option(
        None,
        "Options from this YAML file.",
        flags=("--config", "-c"),
        metavar="FILE",
        panel=PANEL,
        shows="icnet/config.yaml in your config folder",
    )


@dataclass(frozen=True)
class LoopConsole(Console):
    """The options of a command that takes a while."""

    progress: str | None = option(
        None,
        "How progress is shown, on stderr.",
        choices=("bar", "plain", "json", "none"),
        panel=PANEL,
        shows="bar on a terminal, else plain",
    )


class StdoutClosedError(Exception):
    """Nobody reads stdout any more."""


def emit(text: str) -> None:
    """Write a line of data to stdout."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise StdoutClosedError from None


def emit_json(document: Mapping[str, Any]) -> None:
    """Write the one JSON document of a command run with --json."""
    emit(_json_for(sys.stdout, document))


def _json_for(stream: TextIO, document: Mapping[str, Any]) -> str:
    """A document as one line, with JSON's own escapes where the stream's encoding lacks a letter of it."""
    values = plain(document)
    line = json_line(values)
    try:
        line.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(values, allow_nan=False)
    return line


def emit_table(table: RenderableType) -> None:
    """Write a Rich table to stdout, in colour on a terminal unless NO_COLOR is set."""
    from rich.console import Console as RichConsole

    console = RichConsole(file=sys.stdout, highlight=False)
    with console.capture() as capture:
        console.print(table)
    emit(capture.get().rstrip("\n"))


def say(text: str) -> None:
    """Write a line for the person to stderr; one that cannot be written (a log on a full disk) ends nothing."""
    try:
        sys.stderr.write(one_line(text) + "\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def say_json(document: Mapping[str, Any]) -> None:
    """Write a JSON document on a line of stderr."""
    say(_json_for(sys.stderr, document))


def one_line(text: str) -> str:
    """The text without line breaks and control characters: file names and messages come from outside."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def score(value: float | None) -> str:
    """0..1 with four digits; a dash where nothing was there to measure, which is not a zero."""
    return "-" if value is None else f"{value:.4f}"


def plain(value: Any) -> Any:
    """A value as JSON has it: numpy numbers and arrays, paths and tuples unwrapped, nan and inf as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def stdout_closed() -> bool:
    """Whether the reader of stdout has gone."""
    import select

    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return True
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard(stream: TextIO) -> None:
    """Send what is still to be written to a closed stream nowhere, so that the exit is quiet too."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
