"""`--show`: the newest picture of a run, and a window that shows it.

The lane that renders leaves each picture in a slot; the window belongs to the main thread, as every system wants it,
and takes the newest one when it draws.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icnet_cli.errors import device_error, usage_error
from icnet_cli.pixels.cv import cv2, windows_of
from icnet_cli.pixels.yuv import Planes, subsampling

from .items import Picture
from .sinks import Rendered

_LARGEST = (1600, 900)  # of a window, width and height; larger pictures are shown smaller
_PACE_OVER_S = 2.0
_PROBE_S = 30.0
_PROBE = "import cv2; cv2.namedWindow('icnet'); cv2.waitKey(1); cv2.destroyAllWindows()"
_NO_KEY = 255
QUIT_KEYS, PAUSE_KEYS = (ord("q"), ord("Q"), 27), (ord(" "),)


class Shown(NamedTuple):
    """What is on the screen: the picture as it is written, and its time."""

    rendered: Rendered
    seconds: float | None


class Screen:
    """A slot for the newest picture.

    Attributes:
        colours: (256, 3) RGB of the values of a label picture.
    """

    def __init__(self) -> None:
        self.colours: NDArray[np.uint8] = np.full((256, 3), 128, np.uint8)
        self._newest: deque[Shown] = deque(maxlen=1)

    def put(self, picture: Picture, rendered: Rendered) -> None:
        self._newest.append(Shown(rendered, picture.seconds))

    def take(self) -> Shown | None:
        """The newest picture, once."""
        return self._newest.pop() if self._newest else None


def as_bgr(rendered: Rendered, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) in OpenCV's order from whatever is written: RGB, planes, or labels."""
    if isinstance(rendered, Planes):
        return _planes_as_bgr(rendered)
    if rendered.ndim == 2:
        return np.ascontiguousarray(colours[rendered][..., ::-1])
    return cv2.cvtColor(np.ascontiguousarray(rendered), cv2.COLOR_RGB2BGR)


def _planes_as_bgr(planes: Planes) -> NDArray[np.uint8]:
    """For the eye alone: BT.601, limited range, with chroma enlarged by the nearest sample."""
    height, width = planes.y.shape
    rows, columns = subsampling(planes)
    chroma = [np.repeat(np.repeat(p, rows, 0), columns, 1)[:height, :width] for p in (planes.v, planes.u)]
    return cv2.cvtColor(np.dstack([planes.y, *chroma]), cv2.COLOR_YCrCb2BGR)


class Window:
    """A window of OpenCV's, to be used in the main thread only.

    Args:
        gui, clock: stand-ins for OpenCV's functions and for `time.monotonic`.
    """

    def __init__(self, title: str, gui: Any = cv2, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._gui, self._clock = title, gui, clock
        self._drawn: deque[float] = deque()
        self._is_open = False

    def draw(self, picture: NDArray[np.uint8], note: str = "") -> None:
        """Show a (H, W, 3) BGR picture with the frames a second and a note written into its corner."""
        now = self._clock()
        self._drawn.append(now)
        while now - self._drawn[0] > _PACE_OVER_S:
            self._drawn.popleft()
        picture = _fitted(picture)
        words = f"{self.fps:.1f} fps{note}"
        for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(
                picture,
                words,
                (10, len(picture) - 12),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.7,
                colour,
                thickness,
                cv2.LINE_AA,
            )
        if not self._is_open:
            self._gui.namedWindow(self._title, self._gui.WINDOW_AUTOSIZE | self._gui.WINDOW_GUI_NORMAL)
            self._is_open = True
        self._gui.imshow(self._title, picture)

    @property
    def fps(self) -> float:
        """Pictures a second, of those drawn of late."""
        over = self._drawn[-1] - self._drawn[0] if self._drawn else 0.0
        return (len(self._drawn) - 1) / over if over > 0 else 0.0

    def now(self) -> float:
        """Seconds of the clock that frames a second are counted by."""
        return self._clock()

    def key(self, wait_ms: int = 1) -> str | None:
        """What the person wants: `quit` (q, escape, or the window closed), `pause`, `other`, or nothing (None)."""
        if not self._is_open:
            return None
        pressed = self._gui.waitKey(max(1, wait_ms)) & 0xFF
        if pressed in QUIT_KEYS or self._gui.getWindowProperty(self._title, self._gui.WND_PROP_VISIBLE) < 1:
            return "quit"
        if pressed in PAUSE_KEYS:
            return "pause"
        return None if pressed == _NO_KEY else "other"

    def close(self) -> None:
        if self._is_open:
            self._gui.destroyAllWindows()
            self._is_open = False


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy that fits on a screen."""
    height, width = picture.shape[:2]
    scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    if scale == 1.0:
        return picture.copy()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def require_display(gui: Any = cv2, platform: str = sys.platform) -> None:
    """Make sure, before any work, that a window can be opened.

    Raises:
        IcnetError: USAGE where OpenCV is the build without windows; DEVICE where there is no display.
    """
    if windows_of(gui.getBuildInformation()) is None:
        raise usage_error(
            "--show needs windows, and this OpenCV is the headless build; `pip uninstall -y opencv-python-headless "
            "&& pip install opencv-python`, or write to a file with -o and leave --show out"
        )
    if not platform.startswith("linux"):
        return
    # Its own messages are of fonts and themes.
    os.environ.setdefault("QT_LOGGING_RULES", "*.debug=false;*.warning=false")
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise device_error(
            "--show needs a display, and there is none here (DISPLAY is not set); write to a file with -o"
        )
    # Where a display does not answer, the toolkit ends the whole process: so another one tries first.
    try:
        found = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, timeout=_PROBE_S
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        found = -1
    if found != 0:
        name = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        raise device_error(f"--show needs a display, and {name} cannot be opened; write to a file with -o")
