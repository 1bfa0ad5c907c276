"""glibc's allocator told to keep its memory, so that large tensors reuse pages instead of faulting them in.

glibc gives blocks over 32 MB back to the kernel on every free, so each large operator page-faults its whole
output. Called by the command line's entry before torch loads, never by importing the package: a program that
embeds us chooses for itself. No torch is imported here.
"""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask malloc to serve all sizes from its heap and not to shrink it. False where there is no glibc.

    It costs resident memory, because the heap stays at its highest mark: 629 MB against 507 after ICNet (keep 0.5)
    at 1024x2048, and no more than without at 512x960. A large M_TOP_PAD besides, which grows the heap in larger steps,
    saves nothing once it has grown, and let a long video's memory grow by 22 MB in 10,000 frames.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  (musl has a mallopt that does nothing)
        mallopt = libc.mallopt
    except (AttributeError, OSError):
        return False
    wishes = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER_TRIM))
    return all(mallopt(ctypes.c_int(what), ctypes.c_int(value)) == 1 for what, value in wishes)
