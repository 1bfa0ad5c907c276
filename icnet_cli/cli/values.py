"""Words on the command line, in the environment or in a config file, turned into a field's value."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import COMMANDS, flag_of
from icnet_cli.config.fields import words_of
from icnet_cli.config.live import NOWHERE

_SIZE = re.compile(r"(\d{1,6})[xX×](\d{1,6})")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)")
_RATE = re.compile(r"(\d{1,7})/(\d{1,7})|(\d{1,4}(?:\.\d{1,6})?)")
_UNITS = re.compile(r"(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s?)?", re.IGNORECASE)
_THOUSANDTHS = re.compile(r"(\d+(?:\.\d*)?)ms", re.IGNORECASE)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from `512x1024`; ValueError says what was expected."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"must be HEIGHTxWIDTH, such as 512x1024, not {text!r}")
    return int(match[1]), int(match[2])


def parse_seconds(text: str) -> float:
    """Seconds from `12.5`, `1:02.5`, `0:01:02`, `90m`, `2h30m`, `45s` or `100ms`; ValueError otherwise."""
    stripped = text.strip()
    thousandths = _THOUSANDTHS.fullmatch(stripped)
    if thousandths is not None:
        return float(thousandths[1]) / 1000
    clock, units = _CLOCK.fullmatch(stripped), _UNITS.fullmatch(stripped)
    match = clock or units
    if match is None or not stripped:
        raise ValueError(f"must be a time, such as 12.5, 1:02 or 90m, not {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_rate(text: str) -> Fraction:
    """Frames a second, exactly, from `25`, `29.97` or `30000/1001`; ValueError says what was expected."""
    match = _RATE.fullmatch(text.strip())
    if match is None or (match[2] and not int(match[2])):
        raise ValueError(f"must be frames a second, such as 25 or 30000/1001, not {text!r}")
    return Fraction(match[3]) if match[3] else Fraction(int(match[1]), int(match[2]))


def parse_flag(text: str) -> bool:
    """True or False from the words config files use; ValueError says what was expected."""
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"must be true or false, not {text!r}")
    return word in _TRUE


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, not {text!r}") from None


def _parse_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # nan and inf parse as floats, and pass every comparison or none: no option means them.
    if not math.isfinite(value):
        raise ValueError(f"must be a number, not {text!r}")
    return value


def _parse_text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _parse_path(text: str) -> Path:
    return Path(os.path.expanduser(_parse_text(text)))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


PARSERS: dict[str, Any] = {
    "bool": parse_flag,
    "int": _parse_int,
    "float": _parse_float,
    "str": _parse_text,
    "Path": _parse_path,
    "Fraction": parse_rate,
    "tuple[int, int]": parse_size,
    "tuple[float, ...]": lambda text: tuple(_parse_float(part) for part in _parts(text)),
    "tuple[str, ...]": lambda text: tuple(_parts(text)),
}
_PREFIX = "ICNET_"
# Environment variables that are no options.
_OTHERS = {"ICNET_DEBUG", "ICNET_CACHE_DIR"}
_METAVARS = {"int": "N", "float": "X", "str": "TEXT", "Path": "PATH", "tuple[int, int]": "HxW"}


def type_of(item: Field[Any]) -> str:
    """The field's type as written, `| None` apart (annotations are strings in config/)."""
    return str(item.type).removesuffix(" | None")


def env_name(item: Field[Any]) -> str | None:
    """ICNET_TIME_BUDGET for --time-budget; None where the environment is not asked."""
    return _variable(item) if item.metadata.get("env", True) else None


def _variable(item: Field[Any]) -> str | None:
    if item.metadata.get("argument"):
        return None
    return _PREFIX + flag_of(item).lstrip("-").replace("-", "_").upper()


def _options() -> Iterator[Field[Any]]:
    """Those of every command."""
    for kind in (*COMMANDS.values(), LoopConsole):
        yield from fields(kind)


def known_variables() -> set[str]:
    """Every variable that some command reads."""
    return {name for item in _options() if (name := env_name(item))} | _OTHERS


def unread_variables() -> list[tuple[str, str, str | None]]:
    """The ICNET_ variables that are set and that nothing reads: the name, why, and which is meant, if that shows.

    An empty one is as good as unset, as it is for an option.
    """
    known = known_variables()
    typed = {name: flag_of(item) for item in _options() if (name := _variable(item))}
    found: list[tuple[str, str, str | None]] = []
    for name, value in sorted(os.environ.items()):
        if not name.startswith(_PREFIX) or name in known or not value.strip():
            continue
        if name in typed:
            found.append((name, f"{typed[name]} is taken from the command line only", None))
        else:
            found.append((name, "no option is called so", _meant(name, known)))
    return found


def _meant(name: str, known: set[str]) -> str | None:
    # Without what all begin with, by which any two would be much alike.
    near = get_close_matches(name[len(_PREFIX) :], [other[len(_PREFIX) :] for other in sorted(known)], 1)
    return f"is {_PREFIX}{near[0]} meant?" if near else None


def parse(item: Field[Any], text: str) -> Any:
    """The value of one field; ValueError says, after the option's name, what was expected."""
    if item.metadata.get("kind") == "time":
        return parse_seconds(text)
    return PARSERS[type_of(item)](text)


def metavar_of(item: Field[Any]) -> str:
    """What stands for the value in the help."""
    if "metavar" in item.metadata:
        return str(item.metadata["metavar"])
    if "choices" in item.metadata:
        return item.name.upper()
    return "TIME" if item.metadata.get("kind") == "time" else _METAVARS[type_of(item)]


def help_of(item: Field[Any]) -> str:
    """The field's help, its choices and its default in one paragraph."""
    parts = [item.metadata["help"]]
    if "choices" in item.metadata:
        parts.append(f"One of {', '.join(words_of(item.metadata['choices']))}.")
    default = shown(item)
    if default:
        parts.append(f"({default})" if default == "required" else f"(default: {default})")
    return " ".join(parts)


def shown(item: Field[Any]) -> str | None:
    """The default as the help shows it; None where there is nothing to show."""
    if "shows" in item.metadata:
        return str(item.metadata["shows"])
    if item.default is MISSING:
        return None if item.metadata.get("argument") else "required"
    if item.default is None or item.default == NOWHERE or isinstance(item.default, bool):
        return None
    if isinstance(item.default, tuple):
        return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in item.default)
    return f"{item.default:g}" if isinstance(item.default, float) else str(item.default)
