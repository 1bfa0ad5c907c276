"""The `icnet` command: its verbs, and the one way in and out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from icnet_cli.cli import (
    again,
    bench,
    compare,
    completion,
    data,
    doctor,
    eval,
    export,
    failures,
    paint,
    prune,
    report,
    segment,
    train,
    weights,
)
from icnet_cli.cli.options import Command, as_command
from icnet_cli.errors import ExitCode

HELP = """\b
Examples:
  icnet segment street.mp4 -o out.mp4         paint the classes over a video
  icnet segment "*.png" -o labels/            a label PNG for each picture
  icnet paint labels.mkv street.mp4 -o p.mp4  paint labels in another look
  icnet train camvid/ --keep 0.5              train ICNet at half its width
  icnet prune --keep 0.5                      cut the newest run to half
  icnet eval camvid/ --split val              measure the bundled weights
  icnet compare A B street.mp4 -o ab.mp4      two weights side by side
  icnet bench                                 how fast the networks are here
  icnet data check camvid/                    what is wrong with a dataset
  icnet weights list                          what comes with the tool
  icnet export icnet-camvid --to onnx --with-argmax -o icnet.onnx
  icnet doctor                                what this machine has

\b
Road video to per-pixel classes in real time. `icnet VERB --help` lists its
options; those that are not about one run alone can also be set in the
environment (ICNET_DEVICE=cpu) or in a config file (-c FILE)."""

# Words on the command line (keys of config.COMMANDS) and the function that does them.
VERBS: dict[str, Callable[..., None]] = {
    "segment": segment.segment,
    "paint": paint.paint,
    "train": train.train,
    "prune": prune.prune,
    "eval": eval.evaluate,
    "bench": bench.bench,
    "compare": compare.compare,
    "report": report.report,
    "export": export.export,
    "data check": data.check,
    "weights list": weights.list_bundled,
    "weights show": weights.show,
    "weights path": weights.path,
    "weights verify": weights.verify,
    "weights import": weights.import_foreign,
    "doctor": doctor.doctor,
}
GROUPS = {"data": "Look after datasets.", "weights": "Look after weights files."}


def _new(help: str) -> typer.Typer:
    return typer.Typer(
        help=help,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def build_app() -> typer.Typer:
    """The Typer app, put together from VERBS."""
    app = _new(HELP)
    app.callback()(_top)
    groups = {name: _new(help) for name, help in GROUPS.items()}
    for words, run in VERBS.items():
        *group, verb = words.split()
        (groups[group[0]] if group else app).command(verb, cls=Command)(as_command(words, run))
    for name, group_app in groups.items():
        app.add_typer(group_app, name=name)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from icnet_cli import __version__
        from icnet_cli.cli.console import emit

        emit(f"icnet {__version__}")
        raise typer.Exit


def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    install_completion: Annotated[
        bool,
        typer.Option(completion.INSTALL, help="Complete words in bash, zsh or fish: name one, or yours is."),
    ] = False,
    show_completion: Annotated[
        bool, typer.Option(completion.SHOW, help="Print the shell's script for that instead.")
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; everything it has to say is said, and its exit code returned."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    again.remember(words)
    debug = "--debug" in words or bool(os.environ.get("ICNET_DEBUG"))
    try:
        with failures.terminable():
            if completion.ASKED in os.environ:
                shell = os.environ[completion.ASKED]
                completion.answer(shell, list(arguments or sys.argv[1:]), completion.consoles_of(VERBS))
                return ExitCode.OK
            if completion.set_up(words):
                return ExitCode.OK
            # Not main(): it would turn Ctrl-C and a closed pipe into codes of its own.
            command = typer.main.get_command(build_app())
            with command.make_context("icnet", words) as context:
                command.invoke(context)
            sys.stdout.flush()
    except BaseException as error:
        return failures.explain(error, debug)
    return ExitCode.OK
