"""What can go wrong, in the words and the exit codes a user sees.

One exception type carries both, so that every layer below the command line can
say what happened without knowing how it will be printed.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The command's exit codes; they are part of the public interface."""

    OK = 0
    BUG = 1  # an internal error
    USAGE = 2  # a wrong or refused argument, known before work began
    INPUT = 3  # input missing, damaged or not decodable
    WEIGHTS = 4  # weights or model file invalid
    OUTPUT = 5  # output could not be written
    DEVICE = 6  # no such device, out of memory
    CHECK = 7  # ran, but the result failed its own check
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


# What a run says that a signal ended.
ENDED = {ExitCode.HUNG_UP: "hung up", ExitCode.INTERRUPTED: "interrupted", ExitCode.TERMINATED: "terminated"}


def ending_signals() -> dict[int, ExitCode]:
    """The signals that end a run, and with which code: Ctrl-C, SIGTERM, and SIGHUP, of a terminal that was closed.

    SIGHUP is none on Windows, and none where it is ignored: `nohup` is there for that.
    """
    found = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found[signal.SIGHUP] = ExitCode.HUNG_UP
    return {int(number): code for number, code in found.items()}


class IcnetError(Exception):
    """An error a user can act on: one line saying what, where and what to do next."""

    # Of several processes that work together, the one to say this: those that agreed on it set it on their error.
    agreed = False

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, its notes too, on its way out of another process: a kind of its own may be made of other things."""
        return _same_again, (type(self), self.args, self.__dict__)


def _same_again(kind: type[IcnetError], said: tuple[Any, ...], state: dict[str, Any]) -> IcnetError:
    error = kind.__new__(kind, *said)
    error.__dict__ |= state
    return error


class AlreadyToldError(IcnetError):
    """Another process of the same run has said why, or will; this one only ends, with the code."""


class UnreadError(IcnetError):
    """Options that nothing will read, as only the source and the output tell; found before any work.

    `unread` has what to say of each, by its name, as `Config.unread` has it of those that show earlier.
    """

    def __init__(self, unread: Mapping[str, str]) -> None:
        super().__init__("; ".join(unread.values()), ExitCode.USAGE)
        self.unread = dict(unread)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in whatever way torch or Python says so. No torch is imported for it."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # asked for only where it is already loaded
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # The CPU allocator, cuDNN and cuBLAS say it in words only.
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)


_NO_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed", "allocation_failed")


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: object, limit: int = 200) -> str:
    """`text` with control characters replaced and its length bounded, safe to show on a terminal."""
    clean = _CONTROL.sub("?", str(text))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def why(error: OSError) -> str:
    """The system's own words for what failed, as they stand amid a line of ours."""
    return (error.strerror or str(error)).lower()


def usage_error(message: str) -> IcnetError:
    """For a wrong or refused argument, exit 2: to be raised by the caller."""
    return IcnetError(message, ExitCode.USAGE)


def input_error(message: str) -> IcnetError:
    """For an input that is missing, damaged or not decodable, exit 3: to be raised by the caller."""
    return IcnetError(message, ExitCode.INPUT)


def weights_error(message: str) -> IcnetError:
    """For an invalid weights or model file, exit 4: to be raised by the caller."""
    return IcnetError(message, ExitCode.WEIGHTS)


def output_error(message: str) -> IcnetError:
    """For an output that could not be written, exit 5: to be raised by the caller."""
    return IcnetError(message, ExitCode.OUTPUT)


def device_error(message: str) -> IcnetError:
    """For a device that is not there or whose memory does not suffice, exit 6: to be raised by the caller."""
    return IcnetError(message, ExitCode.DEVICE)


def check_error(message: str) -> IcnetError:
    """For a result that failed its own check, exit 7: to be raised by the caller."""
    return IcnetError(message, ExitCode.CHECK)
