"""What can go wrong, in the words and the exit codes a user sees.

One exception type carries both, so that every layer below the command line can
say what happened without knowing how it will be printed.
"""

from __future__ import annotations

from enum import IntEnum


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
    INTERRUPTED = 130
    TERMINATED = 143


class IcnetError(Exception):
    """An error a user can act on: one line saying what, where and what to do next."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def usage_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.USAGE)


def input_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.INPUT)


def weights_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.WEIGHTS)


def output_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.OUTPUT)


def device_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.DEVICE)


def check_error(message: str) -> IcnetError:
    return IcnetError(message, ExitCode.CHECK)
