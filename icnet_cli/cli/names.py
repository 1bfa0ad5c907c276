"""File names that no file can have: told before a command looks for one, which would end it as a bug."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from icnet_cli.config import Config, flag_of
from icnet_cli.config.live import is_live_name
from icnet_cli.errors import IcnetError, input_error, printable, usage_error, weights_error
from icnet_cli.outputs import is_too_long

_WRITTEN = ("output", "stats", "plot", "report", "predictions", "diff")
_SHOWN = 60  # characters: where it is cut, it is seen which name is meant


def refuse_too_long(config: Config) -> None:
    """See that the system takes every file name that was given.

    Raises:
        IcnetError: USAGE for an output or a setting, WEIGHTS for weights, INPUT for what is read.
    """
    for item in fields(config):
        for name in _file_names(item, getattr(config, item.name)):
            if is_too_long(name):
                raise _refusal(item, name)


def _file_names(item: Field[Any], value: Any) -> Iterator[str]:
    metavar = str(item.metadata.get("metavar", ""))
    is_file = any(word in metavar for word in ("FILE", "DIR", "OUT")) or "Path" in str(item.type)
    if not is_file and not item.metadata.get("argument"):
        return
    for part in value if isinstance(value, tuple) else (value,):
        if part is not None and not is_live_name(str(part)):
            yield str(part)


def _refusal(item: Field[Any], name: str) -> IcnetError:
    if item.name in _WRITTEN:
        return usage_error(f"cannot write {printable(name, _SHOWN)}: the name is too long; use a shorter one")
    words = f"cannot read {printable(name, _SHOWN)}: the name is too long for a file"
    if item.metadata.get("completes") == "weights":
        return weights_error(words)
    if item.metadata.get("argument") or "Path" in str(item.type):
        return input_error(words)
    return usage_error(f"{flag_of(item)} {words}")
