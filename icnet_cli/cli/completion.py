"""Shell completion: `icnet --install-completion`, and what the shells then ask for.

The script of each shell runs `icnet` with the words so far, the one being typed last, and `_ICNET_COMPLETE` set to the
shell's name; the answer is a line a candidate. Where there is none the shell completes file names. Everything that
is offered comes from the config dataclasses, so nothing heavy is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from icnet_cli.cli import values
from icnet_cli.cli.console import Console, emit, say
from icnet_cli.config import COMMANDS, flag_of
from icnet_cli.config.fields import words_of
from icnet_cli.errors import output_error, usage_error, why

ASKED = "_ICNET_COMPLETE"
INSTALL, SHOW = "--install-completion", "--show-completion"

BASH = """\
_icnet() {
    local IFS=$'\\n'
    COMPREPLY=( $(_ICNET_COMPLETE=bash "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) )
}
complete -o bashdefault -o default -F _icnet icnet
"""
ZSH = """\
#compdef icnet
_icnet() {
    local -a found
    [[ ${words[CURRENT]} == --*=* ]] && compset -P '*='
    found=("${(@f)$(_ICNET_COMPLETE=zsh "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( $#found )); then _describe icnet found; else _files; fi
}
if [[ $funcstack[1] == _icnet ]]; then _icnet "$@"; else compdef _icnet icnet; fi
"""
FISH = """\
function __icnet_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l flag (string match -r '^--[^=]+=' -- $current)
    set -l found (env _ICNET_COMPLETE=fish $before[1] $before[2..-1] "$current" 2>/dev/null)
    if test (count $found) -eq 0
        set found (__fish_complete_path (string replace -r '^--[^=]+=' '' -- "$current"))
    end
    for one in $found
        printf '%s\\n' "$flag$one"
    end
end
complete -c icnet -f -a '(__icnet_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


class Candidate(NamedTuple):
    """A word that may stand here, and what it means."""

    word: str
    help: str = ""


def answer(shell: str, words: Sequence[str], consoles: dict[str, type[Console]]) -> None:
    """Print the candidates for the last of `words`, as `shell` takes them."""
    for word, help in candidates(words, consoles):
        if shell == "zsh":
            emit(word.replace(":", "\\:") + (f":{help}" if help else ""))
        else:
            emit(f"{word}\t{help}" if shell == "fish" and help else word)


def candidates(words: Sequence[str], consoles: dict[str, type[Console]]) -> list[Candidate]:
    """What may stand in the place of the last word. `consoles`: the commands' own console options."""
    *before, current = words or [""]
    # Bash takes --weights=NAME apart into three words.
    before = [word for word in before if word != "="]
    current = "" if current == "=" else current
    flag, equals, part = current.partition("=")
    if equals and flag.startswith("--"):
        before, current = [*before, flag], part
    command = next((words for n in (2, 1) if (words := " ".join(before[:n])) in COMMANDS), None)
    if command is None:
        found = _first_words(before)
    else:
        rest = before[len(command.split()) :]
        items = (*fields(COMMANDS[command]), *fields(consoles[command]))
        found = _of_command(items, rest, current)
    return [one for one in found if one.word.startswith(current)]


def _first_words(before: Sequence[str]) -> list[Candidate]:
    if len(before) == 1:
        return [
            Candidate(name.split()[1], _brief(name)) for name in COMMANDS if name.startswith(f"{before[0]} ")
        ]
    if before:
        return []
    verbs = {name.split()[0]: _brief(name) for name in reversed(COMMANDS)}
    top = ("--help", "--version", INSTALL, SHOW)
    return [Candidate(*verb) for verb in reversed(verbs.items())] + [Candidate(flag) for flag in top]


def _brief(command: str) -> str:
    """The first line of the command's dataclass, after its own words."""
    said = (COMMANDS[command].__doc__ or "").splitlines()[0]
    return said.rpartition("`: ")[2].rstrip(".")


def _of_command(items: Sequence[Field[Any]], rest: Sequence[str], current: str) -> list[Candidate]:
    options = {name: item for item in items if not item.metadata.get("argument") for name in _names(item)}
    last = options.get(rest[-1]) if rest else None
    if last is not None and values.type_of(last) != "bool":
        return _values(last)
    if current.startswith("-"):
        given = {id(options[word]) for word in rest if word in options}
        shown = [item for item in items if not item.metadata.get("argument") and id(item) not in given]
        return [Candidate(flag_of(item), _sentence(item)) for item in shown] + [Candidate("--help")]
    takes_value = {name for name, item in options.items() if values.type_of(item) != "bool"}
    places = [
        word
        for index, word in enumerate(rest)
        if not word.startswith("-") and (index == 0 or rest[index - 1] not in takes_value)
    ]
    arguments = [item for item in items if item.metadata.get("argument")]
    return _values(arguments[len(places)]) if len(places) < len(arguments) else []


def _names(item: Field[Any]) -> Iterable[str]:
    return item.metadata.get("flags", (flag_of(item),))


def _sentence(item: Field[Any]) -> str:
    return str(item.metadata["help"]).splitlines()[0].rstrip(".")


def _values(item: Field[Any]) -> list[Candidate]:
    known = item.metadata.get("completes", item.metadata.get("choices", ()))
    if known == "weights":
        from icnet_cli.checkpoints.bundled import bundled_weights, local_weights

        known = sorted({*bundled_weights(), *local_weights()})
    elif known == "recipes":
        known = sorted(
            path.stem for path in (Path(__file__).parents[1] / "training" / "recipes").glob("*.yaml")
        )
    return [Candidate(word) for word in words_of(known)]


def consoles_of(verbs: dict[str, Any]) -> dict[str, type[Console]]:
    """The console options of each command, from the annotation of its function."""
    return {name: get_type_hints(run)["console"] for name, run in verbs.items()}


def set_up(words: Sequence[str]) -> bool:
    """Do what --install-completion or --show-completion asks; False where it is neither.

    Raises:
        IcnetError: 2 for a shell that is unknown or cannot be found out, 5 where nothing can be written.
    """
    if not words or words[0] not in (INSTALL, SHOW):
        return False
    shell = words[1] if len(words) > 1 else _this_shell()
    if shell not in SCRIPTS:
        named = f"{shell!r} is not one of them" if shell else "yours could not be found out"
        raise usage_error(
            f"completion is for {', '.join(SCRIPTS)}, and {named}; say which: icnet {words[0]} bash"
        )
    if words[0] == SHOW:
        emit(SCRIPTS[shell].rstrip("\n"))
        return True
    try:
        path = _install(shell)
    except OSError as error:
        raise output_error(f"completion cannot be installed: {error.filename}: {why(error)}") from error
    say(f"{shell} completion is in {path}; it takes effect in the next shell")
    return True


def _this_shell() -> str:
    try:
        import shellingham

        return str(shellingham.detect_shell()[0])
    except Exception:  # not there, or it knows no way to tell: what the user logs in with will do
        return Path(os.environ.get("SHELL", "")).name


def _install(shell: str) -> Path:
    """Write the script where the shell, or a line that is added to its start-up file, finds it."""
    home = _home()
    if shell == "fish":
        path = _folder("XDG_CONFIG_HOME", ".config") / "fish" / "completions" / "icnet.fish"
        _write(path, FISH)
    elif shell == "bash":
        path = _folder("XDG_DATA_HOME", ".local/share") / "icnet" / "completion.bash"
        _write(path, BASH)
        _add_line(home / ".bashrc", f"[ -f '{path}' ] && source '{path}'  # icnet")
    else:
        path = home / ".zfunc" / "_icnet"
        _write(path, ZSH)
        start = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
        _add_line(start, "fpath+=~/.zfunc; autoload -Uz compinit; compinit  # icnet")
    return path


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or _home() / default)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container's user, say, that has a number only
        raise usage_error("it is not known where your home is, where shells look: set HOME") from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _add_line(path: Path, line: str) -> None:
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    if line not in there.splitlines():
        gap = "" if not there or there.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{line}\n")
