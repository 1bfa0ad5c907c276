"""A config dataclass becomes a command's options.

    def segment(config: SegmentConfig, console: LoopConsole) -> None: ...

    app.command("segment")(as_command("segment", segment))

Every value comes to Typer as text and is parsed here, so a flag, an environment variable
and a line of a config file go through one parser, and all that is wrong with any of them
is said at once. Flag beats environment (`ICNET_*`) beats config file beats default.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from icnet_cli.cli import files, names, values
from icnet_cli.cli.console import Console, say
from icnet_cli.cli.streams import was_closed
from icnet_cli.cli.values import env_name
from icnet_cli.config import COMMANDS, EXPORT_SUFFIXES, Config, flag_of
from icnet_cli.errors import AlreadyToldError, ExitCode, IcnetError, UnreadError, output_error, usage_error
from icnet_cli.training.launch import find_place

C = TypeVar("C", bound=Config)
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass
class _Gathered:
    """Values found for the fields of one dataclass, where each came from, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, item: Field[Any], text: str, origin: str) -> None:
        self.origins[flag_of(item)] = origin
        try:
            self.values[item.name] = values.parse(item, text)
        except ValueError as error:
            self.problems.append(f"{flag_of(item)} {error}")

    def wrong(self, text: str) -> bool:
        """Whether a problem is about an option that did not parse: it was given, though it looks as if it was not."""
        unread = {problem.split(" ")[0] for problem in self.problems}
        return bool(unread & set(re.findall(r"--[a-z-]+", text)))

    def located(self) -> list[str]:
        """The problems, each that does not come from the command line with its place."""
        places = ((text, self.origins.get(text.split(" ")[0], "")) for text in self.problems)
        return [f"{text} ({place})" if place else text for text, place in places]


def _declarations(item: Field[Any]) -> list[str]:
    names = list(item.metadata.get("flags", (flag_of(item),)))
    # A flag that the environment or a file can switch on needs a way to be switched off again.
    if values.type_of(item) == "bool" and env_name(item) and not names[0].startswith("--no-"):
        names[0] += "/--no-" + names[0].removeprefix("--")
    return names


def _parameter(item: Field[Any]) -> inspect.Parameter:
    """One field as the Typer parameter that help and parsing are made from."""
    # Square brackets in a help text would be read as Rich's markup.
    help = values.help_of(item).replace("[", r"\[")
    if item.metadata.get("argument"):
        info: Any = typer.Argument(metavar=values.metavar_of(item), help=help, show_default=False)
        if values.type_of(item) == "tuple[str, ...]":
            many = Annotated[list[str] | None, info]
            return inspect.Parameter(item.name, _KEYWORD, default=None, annotation=many)
        if item.default is MISSING:
            return inspect.Parameter(item.name, _KEYWORD, annotation=Annotated[str, info])
        return inspect.Parameter(item.name, _KEYWORD, default=None, annotation=Annotated[str | None, info])
    is_flag = values.type_of(item) == "bool"
    info = typer.Option(
        *_declarations(item),
        help=help,
        metavar=None if is_flag else values.metavar_of(item),
        show_default=False,
        rich_help_panel=item.metadata.get("panel"),
    )
    kind = bool | None if is_flag else str | None
    return inspect.Parameter(item.name, _KEYWORD, default=None, annotation=Annotated[kind, info])


def _gather(kind: type[Config], given: Mapping[str, Any], file: Mapping[str, str], place: str) -> _Gathered:
    """Each field of `kind` from the first that has it: `given` (the flags), the environment, `file`."""
    found = _Gathered()
    for item in fields(kind):
        env, name = env_name(item), flag_of(item).lstrip("-")
        if isinstance(given.get(item.name), list):  # an argument that may be repeated: names, commas and all
            found.values[item.name] = tuple(given[item.name]) or None
        elif given.get(item.name) is not None:
            # Typer hands flags over as True and False, all else as text.
            found.take(item, str(given[item.name]), "")
        elif env and os.environ.get(env, "").strip():
            found.take(item, os.environ[env], f"from {env}")
        elif env and name in file:
            found.take(item, file[name], place)
        elif item.default is MISSING:
            found.problems.append(
                f"{flag_of(item)} is missing: {item.metadata['help'][0].lower()}"
                f"{item.metadata['help'][1:].rstrip('.')}"
            )
    return found


def build(kind: type[C], given: Mapping[str, Any], file: Mapping[str, str], place: str = "") -> C:
    """The merged config of a command, checked; raises one usage error that names every problem."""
    found = _gather(kind, given, file, place)
    if found.problems:
        # What did parse is checked too, so that one run shows everything.
        required = {item.name: None for item in fields(kind) if item.default is MISSING}
        others = kind(**{**required, **found.values}).problems()
        found.problems += [text for text in others if not found.wrong(text)]
        raise usage_error("; ".join(found.located()))
    config = kind(**found.values)
    of_before = {flag_of(item) for item in fields(config) if item.name in config.begun_with()}
    config = _without(config, {flag for flag in of_before if found.origins.get(flag)})
    unread = config.unread()
    found.problems = config.problems() + _torch_problems(config, found.origins)
    found.problems += _typed(unread, found.origins).values()
    if found.problems:
        raise usage_error("; ".join(found.located()))
    return _without(config, unread)


def _typed(unread: Mapping[str, str], origins: Mapping[str, str]) -> dict[str, str]:
    """Of options that nothing reads those that were typed for this run: the others are said for all runs."""
    return {flag: text for flag, text in unread.items() if origins.get(flag) == ""}


def _without(config: C, unread: Container[str]) -> C:
    """The config as if options that nothing reads had not been said: whoever looks at the output could refuse them."""
    return replace(config, **{item.name: item.default for item in fields(config) if flag_of(item) in unread})


def _torch_problems(config: Config, origins: Mapping[str, str]) -> list[str]:
    """What speaks against a --backend torch that was given: an exported file is run by what it was exported for.

    Only here is it known that it was: it is also what `eval` and `compare` take by themselves. A .pt2 is run by torch.
    """
    if "--backend" not in origins or getattr(config, "backend", None) != "torch":
        return []
    runners = {suffix: name for name, suffix in EXPORT_SUFFIXES.items() if name != "pt2"}
    named = [str(getattr(config, item.name)) for item in fields(config) if _names_weights(item)]
    return [
        f"--backend torch: {name} is run by {runners[suffix]}; leave it out"
        for name in named
        if (suffix := os.path.splitext(name)[1].lower()) in runners
    ]


def _names_weights(item: Field[Any]) -> bool:
    return item.metadata.get("completes") == "weights"


def _note_unread_variables() -> None:
    """Say which ICNET_* variables do nothing; one process of those that train together says it."""
    try:
        speaks = find_place().speaks
    except IcnetError:  # to be told by the command that needs to know its place
        speaks = True
    unread = [f"{name} is not read ({meant or why})" for name, why, meant in values.unread_variables()]
    if unread and speaks:
        say(f"note: {'; '.join(unread)}")


# Options of which several may be meant; of all others it is plain that what is typed last counts.
_ONE_OF_MANY = {"bench": ("size", "model", "weights")}


class Command(TyperCommand):
    """A command that says where one option of these is typed more than once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer parses them."""
        _, _, typed = self.make_parser(ctx).parse_args(list(args))
        # By the name that was typed: bench's --size is --resolution, too.
        words = {arg.partition("=")[0] for arg in args}
        names = [
            next((name for name in param.opts if name in words), param.opts[0])
            for param in typed
            if param.name in _ONE_OF_MANY.get(ctx.info_name, ())
        ]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            say(f"note: {', '.join(twice)}: typed more than once, and only the last one counts")
        return super().parse_args(ctx, args)


def as_command(words: str, run: Callable[[Any, Any], None]) -> Callable[..., None]:
    """A function of (config, console) as Typer takes it: one parameter a field.

    `words` are the command's own, a key of config.COMMANDS. The docstring is the help, and the
    annotation of `console` says which of the console's options the command has.
    """
    kind = COMMANDS[words]
    talk: type[Console] = get_type_hints(run)["console"]

    def body(**given: Any) -> None:
        if words != "doctor":  # which lists them all
            _note_unread_variables()
        named = build(talk, given, {}).config_file
        file, place = files.options_for(words, named)
        config, console = build(kind, given, file, place), build(talk, given, file, place)
        names.refuse_too_long(config)
        if given.get("json") and was_closed("stdout"):  # known before the work whose report would be lost
            raise output_error(
                "--json writes to stdout, which is closed; leave it out, or redirect it to a file"
            )
        origins = _gather(kind, given, file, place).origins
        try:
            _run(run, config, console, origins)
        except IcnetError as error:
            _add_places(error, origins)
            raise

    # The help has a command's own options first, then those that it has from a base.
    ordered = sorted(fields(kind), key=lambda item: item.name not in inspect.get_annotations(kind))
    parameters = [_parameter(item) for item in (*ordered, *fields(talk))]
    body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    body.__doc__ = _flowing(run.__doc__ or "")
    return body


def _run(
    run: Callable[[Any, Any], None], config: Config, console: Console, origins: Mapping[str, str]
) -> None:
    """Run a command; where the source and the output show that nothing reads what was not typed, without that."""
    try:
        run(config, console)
    except UnreadError as error:
        refused = _typed(error.unread, origins)
        if refused:
            raise UnreadError(refused) from error
        run(_without(config, error.unread), console)


def _add_places(error: IcnetError, origins: Mapping[str, str]) -> None:
    """Behind a usage error that names options of the environment or a config file: where they were set.

    What does not go with the source or the output shows only when these are looked at, and who set an option once
    for all runs has not typed it in this one.
    """
    named = dict.fromkeys(re.findall(r"--[a-z-]+", str(error)))
    places = [f"{flag} is {origins[flag]}" for flag in named if origins.get(flag)]
    if error.code is ExitCode.USAGE and places and not isinstance(error, AlreadyToldError):
        error.args = (f"{error} ({', '.join(places)})",)


def _flowing(text: str) -> str:
    """A docstring whose paragraphs have no line breaks of their own, but for those that begin with \\b.

    The terminal breaks them; Typer would break them where the source does as well.
    """
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("\b") else " ".join(part.split()) for part in parts)
