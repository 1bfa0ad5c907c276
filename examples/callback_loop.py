"""The shape of a robot's node: pictures arrive on a callback, the newest is labelled, results leave on another.

The camera's thread must never wait for the network, so there is one slot: a picture that is not taken in time is
replaced by the next, and counted. With ROS, `on_image` is the subscriber's callback and `publish` the publisher's.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import numpy as np

import icnet_cli


class LabelNode:
    """Labels the newest picture it has been given, in a thread of its own."""

    def __init__(
        self, publish: Callable[[np.ndarray, float], None], weights: str = "fast-scnn-camvid"
    ) -> None:
        self.segmenter, self.publish = icnet_cli.load(weights), publish
        self.dropped = 0
        self._slot: queue.Queue[tuple[np.ndarray, float] | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def on_image(self, image: np.ndarray, stamp: float) -> None:
        """Called by the camera: (H, W, 3) RGB uint8 and its time."""
        try:
            self._slot.put_nowait((image, stamp))
        except queue.Full:
            try:
                self._slot.get_nowait()
                self.dropped += 1
            except queue.Empty:
                pass  # the worker took it just now
            self._slot.put((image, stamp))

    def _work(self) -> None:
        while (item := self._slot.get()) is not None:
            image, stamp = item
            self.publish(self.segmenter.labels(image), stamp)

    def close(self) -> None:
        self._slot.put(None)
        self._thread.join()
