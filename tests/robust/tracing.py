"""A process stopped at each of its system calls (ptrace), so that it can be killed at any one of them. Linux alone."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

_SEIZE, _INTERRUPT, _SYSCALL, _SYSCALL_INFO = 0x4206, 0x4207, 24, 0x420E
_TRACE_SYSGOOD, _EXIT_KILL = 0x1, 0x100000
_WALL = 0x40000000
_ENTRY = 1
# Told to prctl, which knows no such wish and does nothing: how a traced process says where it is.
BEGIN, END = 0x1CE70001, 0x1CE70002


def say(mark: int) -> None:
    """In the traced process: here is BEGIN, or END."""
    ctypes.CDLL(None).prctl(ctypes.c_int(mark), 0, 0, 0, 0)


class Tracer:
    """Follows the main thread of a process that this one may trace; a child's child is one."""

    def __init__(self, pid: int) -> None:
        self.pid, self._libc = pid, ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long
        self._ask(_SEIZE, 0, _TRACE_SYSGOOD | _EXIT_KILL)
        self._ask(_INTERRUPT)
        self._stopped()

    def _ask(self, request: int, address: int = 0, data: int = 0) -> int:
        answer = self._libc.ptrace(request, self.pid, address, data)
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"ptrace: {os.strerror(number)}")
        return int(answer)

    def _stopped(self) -> int:
        """Wait for a stop; returns the signal that a stop is for, 0 for the tracer's own."""
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError(f"the traced process ended: {os.waitstatus_to_exitcode(status)}")
        number = os.WSTOPSIG(status)
        return 0 if number == signal.SIGTRAP | 0x80 or status >> 16 else number

    def next(self) -> None:
        """Go on to the next entry to a system call, or return from one."""
        pending = 0
        while True:
            self._ask(_SYSCALL, 0, pending)
            pending = self._stopped()
            if not pending:
                return

    def mark(self) -> int | None:
        """The mark that the process is just saying, if it says one."""
        buffer = ctypes.create_string_buffer(128)
        self._ask(_SYSCALL_INFO, len(buffer), ctypes.addressof(buffer))
        if buffer.raw[0] != _ENTRY:
            return None
        _, first = struct.unpack_from("<QQ", buffer.raw, 24)  # number and first argument of the call
        return first if first in (BEGIN, END) else None

    def until(self, mark: int) -> int:
        """Go on to a mark; returns how many stops there were on the way."""
        count = 0
        while True:
            self.next()
            if self.mark() == mark:
                return count
            count += 1

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, _WALL)


def possible() -> bool:
    """Whether a process here may trace a child of its own."""
    if not sys.platform.startswith("linux"):
        return False
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        Tracer(pid).kill()
        return True
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False
