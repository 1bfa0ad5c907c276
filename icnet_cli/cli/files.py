"""The config file: YAML, options by their long names, for all commands or under a command's own.

device: cuda
segment:
  alpha: 0.4
data check:
  json: true
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from icnet_cli.cli.console import LoopConsole
from icnet_cli.cli.values import env_name
from icnet_cli.config import COMMANDS, flag_of
from icnet_cli.errors import usage_error, why
from icnet_cli.outputs import own_folder

_MAX_BYTES = 1 << 20  # a file with every option is 5 kB


def default_path() -> Path:
    """Where a config file is looked for when none is named (XDG Base Directory Specification)."""
    return own_folder("XDG_CONFIG_HOME", "~/.config") / "config.yaml"


def options_for(command: str, path: Path | None) -> tuple[dict[str, str], str]:
    """The options that the file gives to `command`, as text, and a phrase saying where they stand.

    The command's own section beats the top level. Raises a usage error for a file that
    is not there, is not YAML, or has a name that no option has.
    """
    if path is None:
        path = default_path()
        if not path.is_file():
            return {}, ""
    document = _read(path)
    known = _names(command)
    shared = {name: value for name, value in document.items() if name not in COMMANDS}
    _refuse_unknown(path, shared, set().union(*(_names(verb) for verb in COMMANDS)))
    own = document.get(command) or {}
    if not isinstance(own, Mapping):
        raise usage_error(f"{path}: '{command}' must hold options, such as 'device: cpu'")
    own = _hyphenated(own)
    _refuse_unknown(path, own, known)
    merged = {name: value for name, value in {**shared, **own}.items() if name in known}
    return {name: _text(value) for name, value in merged.items() if value is not None}, f"from {path}"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise usage_error(f"--config {path} is larger than {_MAX_BYTES} bytes, which no config file is")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise usage_error(f"--config {path} cannot be read: {why(error)}; name a file") from error
    except UnicodeDecodeError as error:
        raise usage_error(f"--config {path} is not text, which a config file is; name another") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise usage_error(f"--config {path} is not YAML{where}") from error
    if not isinstance(document or {}, Mapping):
        raise usage_error(f"--config {path} must hold 'option: value' lines")
    return _hyphenated(document or {})


def _hyphenated(section: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).replace("_", "-"): value for name, value in section.items()}


def _names(command: str) -> set[str]:
    items = (*fields(COMMANDS[command]), *fields(LoopConsole))
    return {flag_of(item).lstrip("-") for item in items if env_name(item) and item.name != "config_file"}


def _refuse_unknown(path: Path, section: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(section) - known)
    if unknown:
        near = [name for word in unknown for name in get_close_matches(word, sorted(known), 1)]
        hint = f"is {' and '.join(near)} meant?" if near else f"it may say {', '.join(sorted(known))}"
        raise usage_error(f"{path}: no such option: {', '.join(unknown)}; {hint}")


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
