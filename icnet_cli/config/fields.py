"""What a field of a command's configuration is: its words, its bounds, and how they are checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.errors import usage_error

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def argument(metavar: str, help: str, completes: object = (), **default: Any) -> Any:
    """A field given by its place on the command line; required unless it has a `default`."""
    known = {"help": help, "metavar": metavar, "argument": True, "completes": completes}
    return field(metadata=known, **default)


def required(help: str, **metadata: Any) -> Any:
    """A field that must be given, by name."""
    return field(metadata={"help": help, **metadata})


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A field with a default.

    Metadata: `flags` (names on the command line; default the field's own, hyphenated), `metavar`,
    `choices`, `minimum`, `maximum`, `above` (exclusive lower bound; of each element where the value is a
    tuple), `kind` ("time": 12.5, 1:02.5 or 90m), `env` (False: not from the environment), `panel`
    (heading in the help), `shows` (the default in words, where the value says too little), `completes` (what a shell
    offers where there are no `choices`: words, or "weights" or "recipes" for the names of those that are there).
    """
    return field(default=default, metadata={"help": help, **metadata})


def flag_of(item: Field[Any]) -> str:
    """What the user calls this field: SOURCE, or its long option."""
    if item.metadata.get("argument"):
        return str(item.metadata["metavar"])
    long = [name for name in item.metadata.get("flags", ()) if name.startswith("--")]
    return long[0] if long else "--" + item.name.replace("_", "-")


def words_of(choices: Iterable[Any]) -> list[str]:
    """What a field may be, as it is typed: 1, not 1.0."""
    return [f"{choice:g}" if isinstance(choice, float) else str(choice) for choice in choices]


def device_problem(value: Any) -> str | None:
    """What is wrong with the word for a device; whether there is such a one is not looked at."""
    if _DEVICE.fullmatch(str(value)):
        return None
    return f"--device must be auto, cpu, cuda or cuda:N, not {value!r}"


def _field_problems(item: Field[Any], value: Any) -> Iterator[str]:
    name, bounds = flag_of(item), item.metadata
    for part in value if isinstance(value, tuple) else (value,):
        if part is None:
            continue
        if "choices" in bounds and part not in bounds["choices"]:
            yield f"{name} must be one of {', '.join(words_of(bounds['choices']))}, not {part!r}"
        if "above" in bounds and not part > bounds["above"]:
            yield f"{name} must be above {bounds['above']}, not {part}"
        if "minimum" in bounds and not part >= bounds["minimum"]:
            yield f"{name} must be at least {bounds['minimum']}, not {part}"
        if "maximum" in bounds and not part <= bounds["maximum"]:
            yield f"{name} must be at most {bounds['maximum']}, not {part}"
    if value == ():
        yield f"{name} needs at least one value"
    if item.name == "device" and (wrong := device_problem(value)):
        yield wrong


def _plain(value: Any) -> Any:
    if isinstance(value, Path | Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Config:
    """What all commands' configurations share: checking themselves and being written down."""

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without touching the disk or a device, in words."""
        found = [text for item in fields(self) for text in _field_problems(item, getattr(self, item.name))]
        return list(dict.fromkeys(found + self._contradictions()))  # 0x0 is too small once, not twice

    def _contradictions(self) -> list[str]:
        return []

    def unread(self) -> dict[str, str]:
        """Options that nothing will read, by name, and what to say of each.

        Where one was typed it is refused. The environment and a config file may say it for all commands.
        """
        return {}

    def begun_with(self) -> tuple[str, ...]:
        """Fields that a run which goes on has from its beginning: what is typed is held against that.

        What the environment or a config file says of them for all commands is passed over.
        """
        return ()

    def given(self, names: Iterable[str]) -> list[str]:
        """Of these fields those that differ from their defaults, by the user's names for them."""
        wanted = set(names)
        differing = (item for item in fields(self) if getattr(self, item.name) != item.default)
        return [flag_of(item) for item in differing if item.name in wanted]

    def check(self) -> None:
        """Raise one usage error that names every problem."""
        found = self.problems()
        if found:
            raise usage_error("; ".join(found))

    def to_dict(self) -> dict[str, Any]:
        """The merged configuration as JSON-able values, for a run to store."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
