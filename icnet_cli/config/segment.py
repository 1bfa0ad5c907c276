"""What `icnet segment` and `icnet paint` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.gpu import batch_option, gpu_problems, hwaccel_option
from icnet_cli.config.kinds import LABEL_CODEC, default_view, holds_labels, named_kind
from icnet_cli.config.live import (
    NOWHERE,
    address_problems,
    every_frame_option,
    is_live_name,
    live_contradictions,
    max_latency_option,
    output_or_window,
    reconnect_option,
    show_option,
    timeout_option,
)
from icnet_cli.config.shared import (
    STDOUT,
    VIEWS,
    WHAT,
    alpha_option,
    backend_option,
    blur_option,
    codec_option,
    crf_option,
    device_option,
    format_option,
    fps_option,
    frames_option,
    ids_option,
    legend_option,
    max_pixels_option,
    no_audio_option,
    only_option,
    overwrite_option,
    palette_option,
    pix_fmt_option,
    precision_option,
    preset_option,
    resume_option,
    size_option,
    stream_option,
    video_output,
    view_option,
    weights_option,
)
from icnet_cli.config.temporal import (
    deadline_option,
    pace_problems,
    realtime_option,
    reuse_kind_option,
    reuse_option,
    reuse_problems,
    smooth_option,
)

_NO_LOOK = "labels are numbers, not a picture; use another --view"


@dataclass(frozen=True, kw_only=True)
class PaintedConfig(Config):
    """How the classes are shown, and how a video of them is written."""

    alpha: float = alpha_option()
    only: tuple[str, ...] | None = only_option()
    blur: tuple[str, ...] | None = blur_option()
    legend: bool = legend_option()
    palette: str | None = palette_option()

    codec: str | None = codec_option()
    crf: int | None = crf_option()
    preset: str | None = preset_option()
    pix_fmt: str | None = pix_fmt_option()
    format: str | None = format_option()
    fps: Fraction | None = fps_option()

    def _unread_looks(self, view: str | None) -> dict[str, str]:
        """What a view (None where it is not known yet) does not read of how the classes are shown."""
        found = {}
        if view in ("color", "labels"):
            words = f"is for classes over the picture, and --view {view} shows none"
            found = {flag: f"{flag} {words}" for flag in self.given(("alpha",))}
        if view == "color":
            words = "hides what the picture shows, and --view color shows no picture"
            found |= {flag: f"{flag} {words}" for flag in self.given(("blur",))}
        return found


@dataclass(frozen=True)
class SegmentConfig(PaintedConfig):
    """`icnet segment`: road video or pictures in, per-pixel classes out."""

    source: str = argument(
        "SOURCE",
        "A video file, an image, a folder of images, a quoted glob of them, - for a video on stdin, camera:0, "
        "or an address (rtsp, rtmp, http, https, udp or tcp://...).",
    )
    output: Path = output_or_window()
    show: bool = show_option()
    more: tuple[str, ...] | None = argument(
        "MORE", "More videos: each goes to the output folder under its own name.", default=None
    )
    overwrite: bool = overwrite_option()
    resume: bool = resume_option()
    stats: Path | None = option(
        None,
        "Also write a row a frame, the share of each class in it, to this .csv or .jsonl.",
        metavar="FILE",
        env=False,
        panel=WHAT,
    )
    confidence: bool = option(
        False, "With --stats: also the mean probability of each pixel's first class.", env=False, panel=WHAT
    )
    ids: str = ids_option()
    start_s: float | None = option(
        None, "Begin here: seconds, or [h:]m:s.", flags=("--start",), kind="time", minimum=0, panel=WHAT
    )
    end_s: float | None = option(
        None, "End here: seconds, or [h:]m:s.", flags=("--end",), kind="time", above=0, panel=WHAT
    )
    frames: int | None = frames_option()
    every: int = option(1, "Take only each Nth frame; its duration is stretched.", minimum=1, panel=WHAT)
    stream: int | None = stream_option()
    max_pixels: int = max_pixels_option()
    hwaccel: str = hwaccel_option()
    no_audio: bool = no_audio_option()

    max_latency_s: float | None = max_latency_option()
    every_frame: bool = every_frame_option()
    timeout_s: float | None = timeout_option()
    reconnect: int | None = reconnect_option()

    weights: str = weights_option()
    size: tuple[int, int] | None = size_option(
        "Size of the network's input, height x width. The output keeps the source's size.",
        shows="the source's aspect at the training pixel count, enlarged three times at most",
    )
    device: str = device_option()
    precision: str = precision_option()
    backend: str = backend_option()
    batch: str = batch_option()

    reuse: str | None = reuse_option()
    reuse_kind: str = reuse_kind_option()
    smooth: float = smooth_option()
    deadline_s: float | None = deadline_option()
    realtime: bool = realtime_option()

    view: str | None = view_option(VIEWS, None, "overlay; labels for a folder or a name like labels.*")

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        kind = named_kind(self.output)
        if self.more:
            return self.unread_as(*self.of_many())
        if kind in (None, "folder"):  # labels, pictures or many videos: the source tells
            return self.unread_as(None, self.view)
        return self.unread_as(kind, self.view or default_view(kind, self.output))

    def of_many(self) -> tuple[str, str]:
        """The kind and the view of what is written of each of many videos."""
        return ("folder" if self.view == "labels" else "video"), self.view or "overlay"

    def unread_as(self, kind: str | None, view: str | None) -> dict[str, str]:
        """What an output of this kind and view does not read (see `unread`); None is one that is not known yet."""
        found = self._unread_looks(view) | _unread_encoding(self, kind, view)
        if view == "labels":
            looks = self.given(("legend", "only", "blur", "pix_fmt"))
            found |= {flag: f"{flag}: {_NO_LOOK}" for flag in looks}
            if kind == "video" and holds_labels(self.output) and self.codec != LABEL_CODEC:
                words = f"a video of labels is {LABEL_CODEC}, which loses nothing; use --view color for another codec"
                found |= {flag: f"{flag}: {words}" for flag in self.given(("codec",))}
        elif view is not None:
            found |= dict.fromkeys(self.given(("ids",)), "--ids dataset is for --view labels")
        return found

    def _contradictions(self) -> list[str]:
        found = []
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            found.append(f"--end {self.end_s:g} s is not after --start {self.start_s:g} s")
        if self.start_s and self.source == STDOUT:
            found.append("--start needs a file: what comes through a pipe cannot be sought")
        if self.output == NOWHERE and not self.show:
            found.append("--output is missing: where to write a video, a picture or a folder; or --show")
        if self.output == NOWHERE and self.show and self.resume:
            found.append("--resume goes on with a file or a folder; name it with -o")
        sources = (self.source, *(self.more or ())) if self.source else ()
        if self.show and len(sources) > 1:
            found.append("--show is for one source")
        found += live_contradictions(
            sources, self.live_options_given, every_frame=self.every_frame,
            limited=self.max_latency_s is not None,
        )  # fmt: skip
        found += gpu_problems(self.batch, self.uses_motion)
        found += reuse_problems(self.reuse, self.reuse_kind)
        found += pace_problems(self.reuse, self.deadline_s, self.realtime)
        return found + _stdout_problems(self) + self._stats_problems()

    def _stats_problems(self) -> list[str]:
        found = []
        if self.stats is not None and self.stats.suffix.lower() not in (".csv", ".jsonl"):
            found.append(f"--stats writes a .csv or a .jsonl, not {self.stats.name}")
        if self.confidence and self.stats is None:
            found.append("--confidence is a column of --stats FILE")
        return found

    @property
    def uses_motion(self) -> bool:
        """Whether frames are labelled with what those before them gave."""
        paced = self.deadline_s is not None or self.realtime
        return self.reuse is not None or self.smooth > 0 or paced

    @property
    def needs_torch(self) -> bool:
        """Whether the network must come in halves, or at several sizes."""
        return self.reuse_kind == "deep" or self.deadline_s is not None or self.realtime

    @property
    def live_options_given(self) -> tuple[str, ...]:
        """The options that only live sources have, of those that were given."""
        given = {
            "--max-latency": self.max_latency_s is not None,
            "--every-frame": self.every_frame,
            "--timeout": self.timeout_s is not None,
            "--reconnect": self.reconnect is not None,
        }
        return tuple(name for name, is_given in given.items() if is_given)


def _unread_encoding(
    config: SegmentConfig | PaintConfig, kind: str | None, view: str | None
) -> dict[str, str]:
    """What an output does not read of how a video is encoded; a folder (None) may be one of many videos."""
    if kind == "video":
        is_lossless = view == "labels" or config.codec == LABEL_CODEC
        quality = config.given(("crf", "preset")) if is_lossless else ()
        return {flag: f"{flag}: {LABEL_CODEC} is lossless and takes none" for flag in quality}
    if kind is None:
        return {}
    where = {"stream": "stdout", "window": "a window"}.get(kind, str(config.output))
    names = ("codec", "crf", "preset") if kind == "stream" else ("codec", "crf", "preset", "pix_fmt")
    return {flag: f"{flag}: for a video file, and {where} is none" for flag in config.given(names)}


def _stdout_problems(config: SegmentConfig | PaintConfig) -> list[str]:
    found = []
    if config.resume and str(config.output) == STDOUT:
        found.append("--resume is for files and folders: what went to stdout is gone")
    if config.format is not None and str(config.output) != STDOUT:
        found.append("--format is for -o -; a file's name says what it is")
    return found


@dataclass(frozen=True)
class PaintConfig(PaintedConfig):
    """`icnet paint`: labels that were written before, over their video again."""

    labels: Path = argument(
        "LABELS", "A label video: what `icnet segment -o labels.mkv --view labels` wrote."
    )
    source: str = argument("SOURCE", "The video, or the folder of pictures, that the labels were made from.")
    output: Path = video_output()
    overwrite: bool = overwrite_option()
    resume: bool = resume_option()
    frames: int | None = frames_option()
    stream: int | None = stream_option()
    max_pixels: int = max_pixels_option()
    no_audio: bool = no_audio_option()

    view: str = view_option(VIEWS[:3], "overlay")

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        return self._unread_looks(self.view) | _unread_encoding(self, named_kind(self.output), self.view)

    def _contradictions(self) -> list[str]:
        found = _stdout_problems(self) + address_problems("LABELS", self.labels)
        if self.source and is_live_name(self.source):
            found.append("SOURCE must be the file that the labels were made from, not an address")
        return found
