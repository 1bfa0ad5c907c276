"""OpenCV, imported in one place.

`opencv-python` links against libGL and glib, which slim Linux servers lack. Its
ImportError names a shared object and no cure, so every module here takes `cv2`
from this file, and a user reads both cures in one line.
"""

from __future__ import annotations

import os
import re
from typing import Any

from icnet_cli.errors import ExitCode, IcnetError

try:
    import cv2 as _cv2
except ImportError as error:  # pragma: no cover - needs a machine without libGL; a test fakes it
    raise IcnetError(
        f"OpenCV could not be loaded ({error}); install its two libraries with "
        "`apt-get install libgl1 libglib2.0-0`, or take the headless build, with which everything but --show works: "
        "`pip uninstall -y opencv-python && pip install opencv-python-headless`",
        ExitCode.USAGE,
    ) from error

# OpenCV's stubs promise arrays of "any number", which fits no annotation of ours.
cv2: Any = _cv2

# One picture at a time is worked on by several threads of ours (decode, network, encode);
# OpenCV's own pool on top of them only makes them wait for one another.
cv2.setNumThreads(1)

# What it cannot read is told in our words; its own lines on stderr (a 32-bit TIFF's, say) name its source files:
# the level 1 is fatal.
if "OPENCV_LOG_LEVEL" not in os.environ:
    # Before OpenCV 5 it is a function of the module itself, and the levels have no names.
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(1)

__all__ = ["cv2", "windows_of"]


def windows_of(build: str) -> str | None:
    """What opens the windows of OpenCV, by its `getBuildInformation()` (`QT5`); None for the headless build."""
    found = re.search(r"^ *GUI: *(\S*)", build, re.MULTILINE)
    return found[1] if found and found[1] not in ("", "NO", "NONE") else None
