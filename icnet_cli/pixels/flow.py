"""Dense optical flow between two frames of a video, at reduced size, and what it is used for.

Axes: (h, w) is the reduced grey picture on which flow is computed, (H, W) any other size.

A flow is float32 (h, w, 2), x then y, in pixels of its own grid: the spot of the scene that is at (x, y) in `current`
was at (x + flow[y, x, 0], y + flow[y, x, 1]) in `previous`. So carrying something along is looking it up there
(`warp`), which leaves no holes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cv import cv2

Array = NDArray[Any]
Grey = NDArray[np.uint8]  # (h, w)
Flow = NDArray[np.float32]  # (h, w, 2)

LONGEST_SIDE = 480  # of the grey picture: half of 960x540, where flow takes about a millisecond
SMALLEST_SIDE = 32  # below this the patches of the flow do not fit, and nothing is taken to move
UNEXPLAINED = 12.0  # grey levels by which a pixel may miss what the flow says that it is
# Another scene is told by a larger share of pixels that are off by a smaller error. On road clips and rendered streets
# neighbouring frames reach a share of 0.13, frames ten apart 0.37, and frames of two scenes begin at 0.59.
CUT_ERROR, CUT_SHARE = 6.0, 0.45
PATCHES = 12  # patches that the longer side has room for, see `worst_patch`
_WINDOW = 5  # pixels a side over which the photometric error is averaged: noise goes, things stay


def reduced_size(size: tuple[int, int], longest: int = LONGEST_SIDE) -> tuple[int, int]:
    """The (h, w) at which flow is computed for pictures of `size` (height, width)."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def reduced_grey(rgb: Array, longest: int = LONGEST_SIDE) -> Grey:
    """(H, W, 3) RGB uint8 to the small grey picture (h, w) that flow is computed on."""
    height, width = reduced_size((rgb.shape[0], rgb.shape[1]), longest)
    if (height, width) != rgb.shape[:2]:
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def flow_between(previous: Array, current: Array) -> Flow:
    """Where each pixel of `current` was in `previous`: float32 (h, w, 2), see the module's text.

    Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's ultrafast preset; the same pictures give the same flow.

    Args:
        previous, current: grey pictures uint8 (h, w) of one size, as `reduced_grey` makes them, whose size the flow
            then has; or RGB (H, W, 3), which are reduced here.

    Raises:
        ValueError: for pictures of two sizes.
    """
    if previous.shape != current.shape:
        raise ValueError(f"flow needs two pictures of one size, not {previous.shape} and {current.shape}")
    if previous.ndim == 3:
        previous, current = reduced_grey(previous), reduced_grey(current)
    if min(current.shape) < SMALLEST_SIDE:
        return np.zeros((*current.shape, 2), np.float32)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return np.asarray(search.calc(current, previous, None), np.float32)


def resize_flow(flow: Flow, size: tuple[int, int]) -> Flow:
    """The same motion on a grid of another `size` (height, width): resampled, and its vectors scaled."""
    height, width = flow.shape[:2]
    if (height, width) == tuple(size):
        return flow
    shrinks = size[0] < height
    resized = cv2.resize(
        flow, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).reshape(*size, 2)
    return np.asarray(resized * np.array((size[1] / width, size[0] / height), np.float32))


def warp(array: Array, flow: Flow, nearest: bool = False) -> Array:
    """What `array`, which belongs to the previous frame, looks like in the current one.

    Args:
        array: (H, W) or (H, W, C), any number of channels, uint8 or float32.
        flow: from the current frame to the previous; brought to the array's size where it has another.
        nearest: take the nearest value instead of interpolating; for labels, which must not be mixed.

    Returns:
        An array of the same shape and type. Where the flow leads out of the picture the border is repeated.
    """
    rows, columns = _sources(resize_flow(flow, (array.shape[0], array.shape[1])))
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    if array.ndim == 2 or array.shape[2] <= 4:
        return np.asarray(cv2.remap(array, columns, rows, how, borderMode=cv2.BORDER_REPLICATE))
    # OpenCV takes four channels at a time.
    planes = [
        cv2.remap(
            np.ascontiguousarray(array[..., c : c + 4]), columns, rows, how, borderMode=cv2.BORDER_REPLICATE
        )
        for c in range(0, array.shape[2], 4)
    ]
    return np.concatenate([plane.reshape(*array.shape[:2], -1) for plane in planes], axis=2)


def compose(first: Flow, second: Flow) -> Flow:
    """Two steps as one: `first` leads from the middle frame to the oldest, `second` from the newest to the middle."""
    return np.asarray(second + warp(first, second), np.float32)


def leaves_picture(flow: Flow) -> NDArray[np.bool_]:
    """(h, w): where the flow leads out of the picture, so that the previous frame did not show it."""
    height, width = flow.shape[:2]
    rows, columns = _sources(flow)
    return np.asarray((rows < -0.5) | (rows > height - 0.5) | (columns < -0.5) | (columns > width - 0.5))


def photometric_error(previous: Grey, current: Grey, flow: Flow) -> NDArray[np.float32]:
    """How badly the flow explains each pixel of `current`: float32 (h, w), grey levels; 255 out of the picture.

    The distance of a pixel from the range of values around the place where it comes from, so that half a pixel's
    error of the flow costs nothing at an edge, averaged over a small window.
    """
    came = warp(previous, flow)
    window = np.ones((3, 3), np.uint8)
    # Saturating subtraction: what lies within the range has no error on either side.
    above = cv2.subtract(current, cv2.dilate(came, window))
    below = cv2.subtract(cv2.erode(came, window), current)
    error = cv2.blur(cv2.add(above, below).astype(np.float32), (_WINDOW, _WINDOW))
    error = np.asarray(error, np.float32).reshape(current.shape)
    error[leaves_picture(flow)] = 255
    return error


def patch_side(size: tuple[int, int]) -> int:
    """Pixels a side of the patch that is looked at for itself, in grey pictures of `size`."""
    return max(1, round(max(size) / PATCHES))


def worst_patch(unexplained: NDArray[np.bool_]) -> float:
    """The largest share of a patch, anywhere in the picture (h, w), that the flow does not explain.

    Where a car drove off or out of the picture most of a patch is amiss, though little of the picture is.
    """
    height, width = unexplained.shape
    side = min(patch_side((height, width)), height, width)
    shares = cv2.blur(unexplained.astype(np.float32), (side, side))
    # The patches that lie in the picture whole; cv2.blur counts them by their middle.
    first, last = side // 2, side - 1 - side // 2
    return float(shares[first : height - last, first : width - last].max())


def is_cut(error: NDArray[np.float32]) -> bool:
    """Whether the photometric error (h, w) is that of another scene, not of motion."""
    return float((error > CUT_ERROR).mean()) > CUT_SHARE


def _sources(flow: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The (h, w) row and column that each pixel's flow leads to."""
    rows, columns = _grid(flow.shape[0], flow.shape[1])
    return rows + flow[..., 1], columns + flow[..., 0]


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return rows, columns
