"""How much memory a piece of work needs at its peak, on a GPU or in the process."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # man 5 proc: resets the peak resident set size


class PeakMemory:
    """Peak memory since it was made, over what was held then.

    On a GPU: the tensors' bytes, as torch's allocator counts them. On a CPU under Linux: the growth of the process's
    resident memory, so network, activations and the convolutions' own buffers, without the interpreter and torch.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        self._start: float | None
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self._start = torch.cuda.memory_allocated(device) / 2**20
        else:
            _give_back_freed_memory()
            self._start = _resident_mb("VmRSS") if _reset_peak() else None

    def peak_mb(self) -> float | None:
        """Mebibytes; None where the system does not tell."""
        if self._start is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20 - self._start
        peak = _resident_mb("VmHWM")
        return None if peak is None else max(0.0, peak - self._start)


def _give_back_freed_memory() -> None:
    # The command line's allocator keeps what is freed; the row before would then be counted in none of its successors.
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (AttributeError, OSError):
            return


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _resident_mb(key: str) -> float | None:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
