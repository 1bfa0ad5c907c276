"""What the CPU can do, as the system tells it."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

# x86: tiles, or vectors alone (AVX-512, AVX10); Arm: products of matrices, or vectors.
_BF16 = {"amx_bf16", "avx512_bf16", "bf16"}


def processor() -> str:
    """What compiled code depends on: a home folder may be shared by unlike machines."""
    # Not platform.processor(), which starts `uname`; on Windows this is what it gives.
    model = os.environ.get("PROCESSOR_IDENTIFIER", "")
    return f"{platform.system()} {platform.machine()} {model} {_features()}"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bf16 itself, where others are slower in it than in fp32. Linux alone tells."""
    return not _BF16.isdisjoint(_features().split())


def cpu_lacks_bf16() -> bool:
    """Whether the CPU is known to have no bf16: where nobody tells what it has, nothing is known."""
    return bool(_features()) and not cpu_has_bf16()


@cache
def _features() -> str:
    found = None
    with suppress(OSError):
        found = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[0] if found else ""
