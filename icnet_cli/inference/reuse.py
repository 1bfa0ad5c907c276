"""Scores of a video's frames, most of them carried along from frames before instead of computed.

The network runs on key frames. Between them its low-resolution scores are looked up where the optical flow,
composed from frame to frame, says that each spot was; then they become labels as always. Where the flow does not
explain the picture the network runs again. With ICNet the map of its two deep branches can be carried in place of
the scores, and the high-resolution branch sees each frame.

`--smooth` averages probabilities along the same flow: what a spot was counts, unless the picture there has changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from icnet_cli.errors import usage_error

from .cascade import cascade_of
from .engine import Labels, Picture
from .motion import Fit, Motion, motion_on
from .segmenter import Segmenter

# Frames: on road clips labels carried this far agree with the network's as neighbouring frames do.
AUTO_SPAN = 5
UNEXPLAINED_SHARE = 0.12  # of the picture: more, and the network runs again
# Of a small patch: more, and something has gone from there, or come, whose labels would stay behind.
PATCH_SHARE = 0.9
DRIFT_SHARE = 0.06  # of the picture's longer side, on average: further, and `auto` has the network run again
# A probability, before its logarithm: the least that float32 holds, for the scores of sure networks span 60 and more.
_LEAST = 1.2e-38


@dataclass(frozen=True)
class Reuse:
    """How long what the network found is used.

    Attributes:
        span: at most so many frames from one key frame to the next; 1 runs the network on each.
        auto: also end a span where things have moved far.
        kind: what is carried: `scores`, or ICNet's `deep` branches.
    """

    span: int = 1
    auto: bool = False
    kind: str = "scores"

    @classmethod
    def of(cls, word: str, kind: str = "scores") -> Reuse:
        """From what `--reuse` was given: a number of frames, or `auto`."""
        return cls(AUTO_SPAN, True, kind) if word == "auto" else cls(int(word), False, kind)


class Trail:
    """Something the network gave for an earlier frame, and the way from the newest frame back to it."""

    def __init__(self, value: Tensor, grey: Any) -> None:
        self.value, self.grey = value, grey
        self.age = 0
        self._newest, self._flow = grey, None  # no flow: the newest frame is this one

    def advance(self, motion: Motion, grey: Any, step: Any = None) -> Any:
        """The next frame has come; the flow of this step, which may be given where it is known already."""
        step = motion.flow(self._newest, grey) if step is None else step
        self._flow = step if self._flow is None else motion.compose(self._flow, step)
        self._newest, self.age = grey, self.age + 1
        return step

    def fit(self, motion: Motion) -> Fit:
        """How well the way back explains the newest frame."""
        return motion.fit(self.grey, self._newest, self._flow)

    def carried(self, motion: Motion) -> Tensor:
        """The value as it lies in the newest frame."""
        return self.value if self._flow is None else motion.carry(self.value, self._flow)

    def fits(self, grey: Any) -> bool:
        """Whether that frame has the size of those before."""
        return bool(self.grey.shape == grey.shape)


@dataclass
class FrameScores:
    """Gives the scores of one frame after another.

    Args:
        segmenter: what computes them; it must give scores, not labels.
        reuse: how long they are used.
        smooth: how much of a spot's earlier probabilities counts, 0 to below 1; 0 leaves the scores as they are.
        size: the (h, w) at which the network sees pictures, where it is not the segmenter's; it may be changed.

    Attributes:
        counts: frames by what became of them: `carried`, or why the network ran: `first`, `due`, `unexplained`,
            `drifted`, `cut`.

    Raises:
        IcnetError: USAGE for `deep` with anything but a whole ICNet that torch itself runs.
    """

    segmenter: Segmenter
    reuse: Reuse = field(default_factory=Reuse)
    smooth: float = 0.0
    motion: Motion | None = None
    counts: Counter[str] = field(default_factory=Counter)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._motion = self.motion or motion_on(self.segmenter.device)
        self._cascade = cascade_of(self.segmenter.engine) if self.reuse.kind == "deep" else None
        if self.reuse.kind == "deep" and self._cascade is None:
            raise usage_error(
                "--reuse-kind deep needs weights of an ICNet with all three branches on --backend torch; "
                "leave it out to carry scores"
            )
        self.reset()

    def reset(self) -> None:
        """Forget what was: the next frame has nothing before it."""
        self._key: Trail | None = None
        self._memory: Trail | None = None  # of --smooth, where what is carried are not the scores
        self._step: Any = None  # the flow from the frame before to this one, where it was needed

    def labels(self, rgb: Picture) -> Labels:
        """The class of every pixel of the next frame: (H, W, 3) RGB to uint8 (H, W)."""
        return self.segmenter.postprocess(self.scores(rgb), (rgb.shape[0], rgb.shape[1]))[0]

    @torch.inference_mode()
    def scores(self, rgb: Picture) -> Tensor:
        """The scores (1, K, h', w') of the next frame, on the segmenter's device."""
        grey = self._motion.grey(rgb)
        why, fit = self._look(grey)
        self.counts[why] += 1
        if self._cascade is not None:
            return self._cascaded(rgb, grey, why)
        if why == "carried":
            assert self._key is not None
            return self._as_scores(self._key.carried(self._motion))
        return self._run(rgb, grey, fit)

    def _run(self, rgb: Picture, grey: Any, fit: Fit | None) -> Tensor:
        """The network on this frame, which is then the key; `fit` is of the one before, where it is known."""
        fresh = self._network(rgb, self.size)
        if self.smooth:
            fresh = self._blend(fresh, self._key if fit and not fit.cut else None, fit)
        self._key = Trail(fresh, grey)
        return self._as_scores(fresh)

    def _network(self, rgb: Picture, size: tuple[int, int] | None) -> Tensor:
        # Copied: what runs the network may write its next scores where these are.
        return self.segmenter.forward(self.segmenter.prepare([rgb], size)).clone()

    def _look(self, grey: Any) -> tuple[str, Fit | None]:
        """Why the network is to run on this frame, or `carried`; and how the flow fits, where that was asked."""
        key, self._step = self._key, None
        if key is None or not key.fits(grey):
            self.reset()
            return "first", None
        due = key.age + 1 >= self.reuse.span
        if due and not self._blends_keys:
            return "due", None  # nothing of before is needed, flow neither
        self._step = key.advance(self._motion, grey)
        fit = key.fit(self._motion)
        if fit.cut:
            return "cut", fit
        if due:
            return "due", fit
        if fit.unexplained > UNEXPLAINED_SHARE or fit.worst_patch > PATCH_SHARE:
            return "unexplained", fit
        return ("drifted" if self.reuse.auto and fit.drift > DRIFT_SHARE else "carried"), fit

    @property
    def _blends_keys(self) -> bool:
        return bool(self.smooth) and self._cascade is None

    def _cascaded(self, rgb: Picture, grey: Any, why: str) -> Tensor:
        assert self._cascade is not None
        x = self.segmenter.prepare([rgb], self.size)
        if why == "carried":
            assert self._key is not None
            deep = self._key.carried(self._motion)
        else:
            deep = self._cascade.deep(x)
            self._key = Trail(deep, grey)
        fresh = self._cascade.finish(deep, x)
        if not self.smooth:
            return fresh
        memory, fit = self._memory, None
        if memory is not None:
            memory.advance(self._motion, grey, self._step)
            fit = memory.fit(self._motion)
        blended = self._blend(fresh, memory if fit and not fit.cut else None, fit)
        self._memory = Trail(blended, grey)
        return self._as_scores(blended)

    def _blend(self, fresh: Tensor, before: Trail | None, fit: Fit | None) -> Tensor:
        """Probabilities of this frame, averaged with those before where the picture is the same."""
        if before is None or fit is None:
            return fresh.float().softmax(dim=1)
        return self._mix(fresh, before.carried(self._motion), fit)

    def _mix(self, fresh: Tensor, carried: Tensor, fit: Fit) -> Tensor:
        now = fresh.float().softmax(dim=1)
        size = (now.shape[2], now.shape[3])
        if carried.shape != now.shape:  # the network ran at another size
            carried = torch.nn.functional.interpolate(carried, size, mode="bilinear", align_corners=False)
        return torch.lerp(now, carried, self.smooth * self._motion.gate(fit.error, size))

    def _as_scores(self, value: Tensor) -> Tensor:
        """Logarithms of probabilities rank and interpolate as the scores do that they came from."""
        return value.clamp(min=_LEAST).log() if self.smooth else value

    @property
    def runs(self) -> int:
        """On how many frames the whole network ran."""
        return self.counts.total() - self.counts["carried"]

    @property
    def awaited(self) -> int:
        """How many of the frames waited for a run; one beside them is none's."""
        return self.runs - self.counts["beside"]
