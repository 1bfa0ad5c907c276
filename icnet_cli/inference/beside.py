"""The network beside the frames: it runs in a thread of its own, and no frame waits for it.

Each frame takes the scores of the last one that the network has finished, carried along to now; as soon as it has
finished, it is given the newest frame. So a frame takes as long as flow and labels do, however long the network
takes; what it shows is older. Which frames the network sees depends on the machine's speed, so two runs may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .engine import Picture
from .motion import Fit
from .reuse import FrameScores, Reuse, Trail
from .segmenter import Segmenter


class Done(NamedTuple):
    """What a run of the network gave, and the seconds that it took."""

    scores: Tensor
    seconds: float


class Background(Protocol):
    """Something that runs one thing after another while the caller goes on."""

    def submit(self, work: Callable[[], Done], /) -> Future[Done]: ...

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...


class _Coming(NamedTuple):
    """A run that is under way."""

    trail: Trail  # of its frame; the value is not there yet
    run: Future[Done]
    took: Callable[[float], None]  # told its seconds when it has arrived
    before: Tensor | None  # of --smooth: the probabilities carried to that frame, and how they fitted
    fit: Fit


class BesideScores(FrameScores):
    """`FrameScores` that can also have the network run beside the frames, `scores_beside`.

    Args:
        background: runs the network; a thread by default.
    """

    def __init__(
        self, segmenter: Segmenter, reuse: Reuse, smooth: float = 0.0, *, background: Background | None = None
    ) -> None:
        self._coming: _Coming | None = None
        self._background: Background | None = background
        super().__init__(segmenter, reuse, smooth)

    def reset(self) -> None:
        super().reset()
        self._coming = None

    @torch.inference_mode()
    def scores(self, rgb: Picture) -> Tensor:
        """See `FrameScores.scores`."""
        self._coming = None  # what it would say of an older frame is not asked any more
        return super().scores(rgb)

    @torch.inference_mode()
    def scores_beside(self, rgb: Picture, took: Callable[[float], None] = lambda seconds: None) -> Tensor:
        """The scores of the next frame; only the first frame, and that after a cut, waits for the network.

        Args:
            took: told the seconds of the run that begins with this frame, if one does and its result is used.
        """
        grey = self._motion.grey(rgb)
        if self._key is None or not self._key.fits(grey):
            self.reset()
            self.counts["first"] += 1
            return self._run(rgb, grey, None)
        step = self._key.advance(self._motion, grey)
        if self._coming is not None:
            self._coming.trail.advance(self._motion, grey, step)
            self._arrive(self._coming)
        fit = self._key.fit(self._motion)
        if fit.cut:
            self._coming = None
            self.counts["cut"] += 1
            return self._run(rgb, grey, fit)
        carried = self._key.carried(self._motion)
        if self._coming is None:
            self._send(rgb, grey, carried, fit, took)
        self.counts["carried"] += 1
        return self._as_scores(carried)

    def _send(
        self, rgb: Picture, grey: Any, carried: Tensor, fit: Fit, took: Callable[[float], None]
    ) -> None:
        size = self.size  # of now: when the run begins, another may be asked for

        def work() -> Done:
            start = time.perf_counter()
            scores = self._network(rgb, size)
            return Done(scores, time.perf_counter() - start)

        if self._background is None:
            self._background = ThreadPoolExecutor(1, thread_name_prefix="icnet-network")
        # A trail that goes on without its value, which is there when the run is over.
        trail = Trail(carried, grey)
        before = carried if self.smooth else None
        self._coming = _Coming(trail, self._background.submit(work), took, before, fit)

    def _arrive(self, coming: _Coming) -> None:
        """Where the run is over, its frame is the key from now on."""
        if not coming.run.done():
            return
        fresh, seconds = coming.run.result()
        if self.smooth:
            assert coming.before is not None
            fresh = self._mix(fresh, coming.before, coming.fit)
        coming.trail.value = fresh
        self._key, self._coming = coming.trail, None
        self.counts["beside"] += 1
        coming.took(seconds)

    @property
    def frames(self) -> int:
        """Frames so far; runs beside are no frames of their own."""
        return self.counts.total() - self.counts["beside"]

    def close(self) -> None:
        """Wait for the thread, whatever it is at."""
        if self._background is not None:
            self._background.shutdown(wait=True, cancel_futures=True)
