"""A run whose pictures go to a device as planes and come back as labels or painted planes (`flights`).

Whatever a device has no stages for, pictures of their own files, odd sizes, blurring, motion between frames, goes the
other way: each picture through the Segmenter, painted by the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError, usage_error
from icnet_cli.pixels.yuv import Planes
from icnet_cli.video import VideoReader, open_video
from icnet_cli.video.hwaccel import HardwareReader, reader_for

from .artist import Artist
from .items import Picture
from .sinks import Rendered
from .sources import PictureSource, VideoSource

if TYPE_CHECKING:
    from icnet_cli.inference.device_steps import DeviceJob, Landed
    from icnet_cli.inference.segmenter import Segmenter

    from .flights import Flights
    from .network import StageTimes

AUTO_BATCH = 8  # for files on a GPU: its memory moves a batch's weights once, its kernels are fewer
Note = Callable[[Picture, Any, float | None], None]


class OnBoard:
    """The two ends of the flights: what sends pictures, and what makes of them what the sink takes.

    Args:
        notes: what the engine could not do as it should; `notes` are then these and the flights' own.
        note: told of each picture that has landed the pixels of each of 256 classes, and the mean confidence.
        on_rgb: paint the picture's RGB on the host, though there are planes.
        keeps: whether the sink holds what it was given beyond `write`.
    """

    def __init__(
        self, flights: Flights, notes: Sequence[str], artist: Artist, note: Note, *, on_rgb: bool, keeps: bool
    ) -> None:
        self.flights, self.notes = flights, [*flights.notes, *notes]
        self._artist, self._note, self._on_rgb, self._keeps = artist, note, on_rgb, keeps

    def render(self, picture: Picture, landed: Landed) -> Rendered:
        """What is written for one picture."""
        pixels = np.zeros(256)
        pixels[: len(landed.counts)] = landed.counts
        self._note(picture, pixels, landed.confidence)
        if landed.planes is not None:
            self._artist.output_size = landed.planes.y.shape
            return Planes(*(plane.copy() for plane in landed.planes)) if self._keeps else landed.planes
        assert landed.labels is not None
        labels = landed.labels.copy() if self._keeps else landed.labels
        return self._artist.render(replace(picture, planes=None) if self._on_rgb else picture, labels)

    def stage_times(self, host: Mapping[str, StageTimes]) -> dict[str, tuple[float, ...]]:
        """The milliseconds of the last pictures, a stage, in a picture's order; `host`: of the host's lanes."""
        own = {name: times.recent for name, times in self.flights.times.items()}
        down = own.pop("download")
        if "render" in own:
            return {"decode": host["decode"].recent, **own, "download": down, "encode": host["encode"].recent}
        painted = {"render": host["render"].recent, "encode": host["encode"].recent}
        return {"decode": host["decode"].recent, **own, "download": down, **painted}

    def report(self) -> dict[str, Any]:
        """What a report tells beside the stages: the batch, and which stages follow one another in which lane."""
        stages = [name for name in self.flights.times if name not in ("upload", "download")]
        last = ["encode"] if "render" in stages else ["render", "encode"]
        lanes = {"decode": ["decode"], "upload": ["upload"], "device": stages, "download": ["download"]}
        return {"batch": self.flights.batch, "lanes": {**lanes, "encode": last}, "notes": self.notes}


def on_board(
    config: SegmentConfig,
    segmenter: Segmenter,
    source: VideoSource | PictureSource,
    artist: Artist,
    note: Note,
    *,
    keeps: bool = False,
) -> OnBoard | None:
    """The flights of a run; None where it goes the other way. What the source has to give is set by it.

    Raises:
        IcnetError: DEVICE where the device's memory does not suffice; USAGE for a batch on the other way.
    """
    has_stages = warms_itself(config, segmenter)
    if not has_stages or not isinstance(source, VideoSource) or source.size[0] % 2 or source.size[1] % 2:
        if config.batch not in ("auto", "1"):
            where = "on a CPU" if segmenter.device.type == "cpu" else "of such a source"
            raise usage_error(f"--batch {config.batch} is for videos on a GPU: {where} frames go one by one")
        return None
    painter = artist.painter_on_planes(source.size) if source.wants_planes else None
    on_rgb = artist.paints and not source.wants_planes
    if painter is not None and painter.blurs:
        painter = None  # labels come down, and the host paints on planes that are upright
    else:
        source.wants_coded = True
    flights = _flights(config, segmenter, source, artist, painter)
    source.wants_planes, source.wants_rgb = True, on_rgb
    notes = getattr(segmenter.engine, "notes", ())
    return OnBoard(flights, notes, artist, note, on_rgb=on_rgb, keeps=keeps)


def _flights(
    config: SegmentConfig, segmenter: Segmenter, source: VideoSource, artist: Artist, painter: Any
) -> Flights:
    from icnet_cli.inference.device_steps import DeviceJob

    info = source.reader.info
    turn = (info.rotation, info.mirrored) if source.wants_coded else (0, False)
    job = DeviceJob(
        source.size, segmenter.input_size(*source.size), artist.colour, painter,
        batch_of(config, is_device=segmenter.device.type != "cpu", is_live=source.is_live, total=source.total),
        *turn, confidence=config.confidence,
    )  # fmt: skip
    while True:
        try:
            return _with_job(segmenter, job)
        except IcnetError as error:
            if error.code != ExitCode.DEVICE or config.batch != "auto" or job.batch == 1:
                raise
            job = replace(job, batch=job.batch // 2)


def _with_job(segmenter: Segmenter, job: DeviceJob) -> Flights:
    from icnet_cli.inference.device import device_words
    from icnet_cli.inference.streams import streams_of

    from .flights import Flights

    with device_words(segmenter.device):
        steps = segmenter.engine.device_steps(job)  # type: ignore[attr-defined]
    return Flights(steps, streams_of(segmenter.device))


def warms_itself(config: SegmentConfig, segmenter: Segmenter) -> bool:
    """Whether flights will do for themselves what the Segmenter's first picture would wait for."""
    return hasattr(segmenter.engine, "device_steps") and not config.uses_motion


def opener(config: SegmentConfig) -> Callable[..., VideoReader]:
    """What opens a video file: `--hwaccel`, on the GPU of the network."""
    wanted = config.hwaccel
    if wanted == "none" or (wanted == "auto" and config.device == "cpu"):
        return open_video
    return partial(reader_for, hwaccel=wanted, device=config.device.partition(":")[2] or "0")


def decoder_note(config: SegmentConfig, source: Any) -> str | None:
    """Why in software what was to be decoded on a GPU, one line; None where it is there, or was not to be."""
    reader = getattr(source, "reader", None)
    if isinstance(reader, HardwareReader):
        return reader.fallback
    if config.hwaccel == "cuda" and isinstance(source, VideoSource):
        return "--hwaccel is for files: what is piped or live is decoded in software"
    return None


def decoder_report(config: SegmentConfig, source: Any) -> dict[str, Any]:
    """What a report tells of decoding: `hwaccel` (cuda or none), and `hwaccel_note`."""
    note = decoder_note(config, source)
    on_gpu = note is None and isinstance(getattr(source, "reader", None), HardwareReader)
    return {"hwaccel": "cuda" if on_gpu else "none"} | ({"hwaccel_note": note} if note else {})


def batch_of(config: SegmentConfig, *, is_device: bool, is_live: bool, total: int | None = None) -> int:
    """Pictures at once: as asked; by itself one, but for files on a GPU, where a batch is worth waiting for."""
    if config.batch != "auto":
        return int(config.batch)
    if is_live or not is_device:
        return 1
    return min(AUTO_BATCH, total or AUTO_BATCH)
