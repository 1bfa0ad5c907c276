"""Exceptions become words and exit codes here, and nowhere else."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from icnet_cli.cli.console import StdoutClosedError, discard, say, stdout_closed
from icnet_cli.errors import ENDED, AlreadyToldError, ExitCode, IcnetError, ending_signals, is_out_of_memory
from icnet_cli.training.launch import Place, find_place

# Typer does not export the base of its usage errors, and older releases keep it in click.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
# An address with a user or a query; what ends the sentence is not part of it.
_ADDRESS = re.compile(
    r"\b([a-z][a-z0-9+.-]+):/{1,2}(?!/)([^\s'\"]*[@?][^\s'\"]*?)(?=[,:;.)]*(?:[\s'\"]|$))", re.IGNORECASE
)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class TerminatedError(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt it passes every `except Exception` on its way out."""


class HungUpError(TerminatedError):
    """SIGHUP arrived: the terminal was closed."""


_SIGNALS = (KeyboardInterrupt, TerminatedError)
_asked: list[BaseException] = []  # the signals that were raised in this command


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that nothing is left half-written.

    All are remembered.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    ours = os.getpid()
    _asked.clear()

    def interrupt(*_: Any) -> None:
        _asked.append(KeyboardInterrupt())
        raise KeyboardInterrupt

    stopping = [number for number in ending_signals() if number != signal.SIGINT]

    def stop(number: int, _: Any) -> None:
        if os.getpid() != ours:  # a forked data loader, which its parent ends this way
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in stopping:  # once: the way out is not to be cut short
            signal.signal(each, signal.SIG_IGN)
        _asked.append(ended_by(number))
        raise ended_by(number)

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in stopping}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background jobs ignore it
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    report = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, _SIGNALS) else report(lost)
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


def ended_by(number: int) -> TerminatedError:
    """What SIGTERM or SIGHUP raises."""
    return TerminatedError() if number == signal.SIGTERM else HungUpError()


def heed() -> None:
    """Raise the signal that came amid a library's callback, where Python could only report it."""
    if _asked:
        raise type(_asked[-1])


def explain(error: BaseException, debug: bool) -> int:
    """Say on stderr, in one line, what ended the command; return the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if _is_closed_stdout(error):
        discard(sys.stdout)
        return ExitCode.OK
    if debug:
        traceback.print_exception(error)
    error = _asked_to_end(error) or error
    line, code = _words(error)
    line = "; ".join([line, *getattr(error, "__notes__", ())])  # what a stopped run leaves, and how to go on
    if not _told_elsewhere(error):
        say(f"icnet: {_without_secrets(line)}")
    return code


def _without_secrets(line: str) -> str:
    """The line with no password or token of an address in it; as a path it has lost one of its slashes."""

    def shown(found: re.Match[str]) -> str:
        from icnet_cli.video.live_address import public_url  # of a package that loads FFmpeg

        return public_url(f"{found[1]}://{found[2]}")

    return _ADDRESS.sub(shown, line)


def _asked_to_end(error: BaseException) -> BaseException | None:
    """The signal behind an error that is none of ours.

    Libraries turn one that comes amid their own code into something else: pybind11 an import that was interrupted into
    an ImportError, torch an interrupted look at a tensor into a ValueError.
    """
    if not _asked or not isinstance(error, Exception) or isinstance(error, IcnetError | _UsageError):
        return None
    for note in getattr(error, "__notes__", ()):
        _asked[-1].add_note(note)
    return _asked[-1]


def _told_elsewhere(error: BaseException) -> bool:
    """Whether another process of the same run says this: what ends all of them is one line, not one each."""
    if isinstance(error, AlreadyToldError):
        return True
    if _place().speaks or getattr(error, "agreed", False):
        return False
    # Before the processes have met, and when all are stopped, each of them meets the same.
    return isinstance(error, IcnetError | _UsageError | KeyboardInterrupt | TerminatedError)


def _place() -> Place:
    try:
        return find_place()
    except IcnetError:
        return Place()


def _words(error: BaseException) -> tuple[str, ExitCode]:
    if isinstance(error, IcnetError):
        return str(error), error.code
    if isinstance(error, _UsageError):
        return _usage(error), ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return ENDED[ExitCode.INTERRUPTED], ExitCode.INTERRUPTED
    if isinstance(error, TerminatedError):
        code = ExitCode.HUNG_UP if isinstance(error, HungUpError) else ExitCode.TERMINATED
        return ENDED[code], code
    if is_out_of_memory(error):
        return "out of memory; try a smaller --size or --batch, or another --device", ExitCode.DEVICE
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; make room, or write elsewhere", ExitCode.OUTPUT
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"internal error (a bug): {words}; --debug shows where", ExitCode.BUG


def _is_closed_stdout(error: BaseException) -> bool:
    if isinstance(error, SystemExit):  # Rich's own answer to a closed pipe, for the help
        return isinstance(error.__context__, BrokenPipeError)
    return isinstance(error, StdoutClosedError) or (isinstance(error, BrokenPipeError) and stdout_closed())


def _usage(error: Any) -> str:
    """Typer's own complaint (an unknown option, a missing argument) in our style."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path} --help`" if context else message
