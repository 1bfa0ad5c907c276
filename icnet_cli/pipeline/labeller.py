"""What labels a run's pictures: each for itself, or with what the frames before it gave."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from icnet_cli.config import SegmentConfig
from icnet_cli.config.temporal import CHOSEN
from icnet_cli.errors import usage_error

from .deadline import SLACK, Pace, Setting
from .items import Labels, Picture
from .sources import VideoSource

if TYPE_CHECKING:
    from torch import Tensor

    from icnet_cli.inference.segmenter import Segmenter

_GAP_S = (
    1.0  # nothing for so long after a frame's own time, and the next one is taken to be of something else
)
_MULTIPLE = 32


class Labeller(Protocol):
    """Called with one picture after another, in their order."""

    def label(self, picture: Picture) -> tuple[Labels, float | None]:
        """The picture's labels (H, W), and the mean confidence where it is asked for."""
        ...

    def report(self) -> dict[str, Any]:
        """What the run's report says of it beyond the stages."""
        ...

    def close(self) -> None:
        """Nothing is under way any more."""
        ...


def labeller_of(config: SegmentConfig, segmenter: Segmenter, source: Any) -> Labeller:
    """The one that the configuration asks for.

    Raises:
        IcnetError: USAGE where the network or the source cannot do what is asked.
    """
    needing = [
        name
        for name, given in (
            ("--confidence", config.confidence),
            ("--reuse", config.reuse is not None),
            ("--smooth", config.smooth > 0),
            ("--deadline", config.deadline_s is not None),
            ("--realtime", config.realtime),
        )
        if given
    ]
    if needing and not getattr(segmenter.engine, "gives_scores", True):
        raise usage_error(
            f"{needing[0]} needs scores, and {config.weights} gives labels; export it without --with-argmax"
        )
    if config.uses_motion:
        return MotionLabeller(config, segmenter, source)
    return SingleLabeller(segmenter, config.confidence)


def confidence_of(scores: Tensor) -> float:
    """The mean over a small score map of the largest softmax: near that of every pixel."""
    return float(scores.float().softmax(dim=1).amax(dim=1).mean())


class SingleLabeller:
    """Each picture for itself."""

    def __init__(self, segmenter: Segmenter, confidence: bool) -> None:
        self._segmenter, self._confidence = segmenter, confidence

    def label(self, picture: Picture) -> tuple[Labels, float | None]:
        if not self._confidence:
            return self._segmenter.labels(picture.rgb), None
        scores = self._segmenter.forward(self._segmenter.prepare([picture.rgb]))
        return self._segmenter.postprocess(scores, picture.size)[0], confidence_of(scores)

    def report(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Nothing ever is."""


class MotionLabeller:
    """With scores carried along the flow, by `--reuse`, `--smooth`, `--deadline` or `--realtime`."""

    def __init__(self, config: SegmentConfig, segmenter: Segmenter, source: Any) -> None:
        from icnet_cli.inference.beside import BesideScores
        from icnet_cli.inference.reuse import Reuse

        self._config, self._segmenter = config, segmenter
        self.pace = _pace(config, segmenter, source)
        reuse = Reuse.of(config.reuse or "1", config.reuse_kind)
        self.scores = BesideScores(segmenter, reuse, config.smooth)
        self._before: Picture | None = None
        self._sizes: dict[Setting, tuple[int, int]] = {}
        if self.pace is not None:
            self._learn(source)

    def label(self, picture: Picture) -> tuple[Labels, float | None]:
        is_gap = self._is_gap(picture)  # asked of each: the next one is held against this one
        if picture.starts_segment or is_gap:
            self.scores.reset()
        setting = None if self.pace is None else self.pace.take(picture.seconds)
        awaited = self.scores.awaited
        scores = self._scores(picture, setting)
        labels = self._segmenter.postprocess(scores, picture.size)[0]
        if self.pace is not None:
            self.pace.done(network=self.scores.awaited > awaited)
        return labels, confidence_of(scores) if self._config.confidence else None

    def _scores(self, picture: Picture, setting: Setting | None) -> Tensor:
        if setting is None:
            return self.scores.scores(picture.rgb)
        from icnet_cli.inference.reuse import Reuse

        self.scores.size = self._size_at(setting, picture.size)
        self.scores.reuse = Reuse(setting.span, kind=self._config.reuse_kind)
        if setting.beside:
            return self.scores.scores_beside(picture.rgb, partial(self._took_beside, setting))
        return self.scores.scores(picture.rgb)

    def _size_at(self, setting: Setting, size: tuple[int, int]) -> tuple[int, int] | None:
        self._sizes[setting] = self._scaled(setting.scale, size)
        return None if setting.scale == 1 else self._sizes[setting]

    def _scaled(self, scale: float, size: tuple[int, int]) -> tuple[int, int]:
        full = self._segmenter.input_size(*size)
        if scale == 1:
            return full
        height, width = (max(_MULTIPLE, round(side * scale / _MULTIPLE) * _MULTIPLE) for side in full)
        return height, width

    def _is_gap(self, picture: Picture) -> bool:
        """Whether the clock stood, went back or left much out: a source that was connected again, a jump."""
        now, before = picture.seconds, self._before
        self._before = picture
        if before is None or before.seconds is None or now is None:
            return False
        lasts = float((before.duration or 0) * (before.time_base or 0))
        return not before.seconds < now <= before.seconds + lasts + _GAP_S

    def _took_beside(self, setting: Setting, seconds: float) -> None:
        """A run has arrived that was begun in this setting, which need not be that of now."""
        assert self.pace is not None
        self.pace.costs.add_network(seconds, setting)

    def _learn(self, source: Any) -> None:
        """What the network takes, before the first picture has to be in time: the first run of all is slow.

        On a GPU a size's second run is slower still, as it captures a graph: that would be taken for what the size
        costs, so each size that may be chosen has it behind it.
        """
        assert self.pace is not None
        height, width = source.size
        for scale in {setting.scale for setting in self.pace.settings}:
            self._segmenter.warm(height, width, self._scaled(scale, (height, width)))
        blank = np.zeros((height, width, 3), np.uint8)
        for _ in range(2):
            start = time.perf_counter()
            self._segmenter.labels(blank)
            seconds = time.perf_counter() - start
        self.pace.costs.add_network(seconds, Setting())
        self._segmenter.reset_times()

    def report(self) -> dict[str, Any]:
        """`reuse`, and `deadline` where there is one."""
        counts = dict(self.scores.counts)
        beside = counts.pop("beside", 0)
        found: dict[str, Any] = {
            "reuse": {
                "span": self._config.reuse or (CHOSEN if self.pace else "1"),
                "kind": self._config.reuse_kind,
                "smooth": self._config.smooth,
                "network_runs": self.scores.runs,
                "runs_beside": beside,
                "frames": counts,
            }
        }
        if self.pace is not None:
            found["deadline"] = self._deadline_report(self.pace)
        return found

    def _deadline_report(self, pace: Pace) -> dict[str, Any]:
        frames = pace.chosen.total()
        return {
            "kind": "realtime" if pace.slack else "deadline",
            "ms": pace.interval_s * 1000,
            "frames": frames,
            "missed": pace.missed,
            "kept_share": 1 - pace.missed / frames if frames else None,
            "behind_s": pace.behind_s,
            # A run of a few frames may end amid the guesses of its slow start, though every frame was in time.
            "possible": pace.possible or not pace.missed,
            "changes": pace.changes,
            "chosen": [
                {
                    "size": list(self._sizes.get(setting, ())),
                    "span": setting.span,
                    "beside": setting.beside,
                    "frames": count,
                }
                for setting, count in pace.chosen.most_common()
            ],
        }

    def close(self) -> None:
        self.scores.close()


def _pace(config: SegmentConfig, segmenter: Segmenter, source: Any) -> Pace | None:
    if config.deadline_s is None and not config.realtime:
        return None
    name = "--realtime" if config.realtime else "--deadline"
    if not isinstance(source, VideoSource):
        raise usage_error(f"{name} is for video: {config.source} has no time to keep")
    on_torch = segmenter.backend == "torch"
    # A file's network, or one that was built for a size, has no other; nor are corners aligned at another.
    sizes = on_torch and not segmenter.engine.align_corners
    # On a GPU the frames' own work waits for the network's.
    beside = on_torch and segmenter.device.type == "cpu"
    if config.deadline_s is not None:
        pause = None if source.is_live else time.sleep
        return Pace(config.deadline_s, sizes=sizes, beside=beside, pause=pause)
    rate = source.reader.info.frame_rate
    if not rate:
        raise usage_error(f"--realtime: {config.source} does not say its rate; give --deadline TIME")
    return Pace(config.every / float(rate), SLACK, sizes=sizes, beside=beside)
