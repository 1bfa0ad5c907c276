"""Which container holds what, and how each codec is asked for: known before any work begins."""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av

from icnet_cli.config.kinds import MUXERS
from icnet_cli.errors import IcnetError, device_error, printable, usage_error
from icnet_cli.video.source import codec_name


@dataclass(frozen=True)
class Container:
    """A container by its suffix: FFmpeg's muxer, the video codecs it holds (its default first)."""

    muxer: str
    codecs: tuple[str, ...]


_CODECS = {  # by muxer
    "mp4": ("h264", "hevc", "av1", "vp9", "ffv1"),
    "mov": ("h264", "hevc"),
    "matroska": ("h264", "hevc", "av1", "vp9", "ffv1"),
    "webm": ("vp9", "av1"),
}
CONTAINERS = {suffix: Container(muxer, _CODECS[muxer]) for suffix, muxer in MUXERS.items()}
_SUGGESTED = (".mp4", ".mkv", ".mov", ".webm")
TRIED = (320, 256)  # width and height of what an encoder is tried on: hardware refuses smaller pictures
# Containers that are read but not written, and why.
_REFUSED = {
    ".avi": "avi stores no frame times",
    ".ts": "a transport stream cannot begin at the source's times",
}


@dataclass(frozen=True)
class Codec:
    """How a codec is asked of one encoder. Rates are for 'about as good as the input, about as large'."""

    encoder: str
    family: str  # h264, hevc, av1, vp9, ffv1
    crf: int | None = None
    max_crf: int = 51
    crf_option: str = "crf"
    preset: str | None = None
    preset_option: str = "preset"
    presets: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    # Added under a rate cap: after a gap in time x264 starves single pictures unless there is a floor.
    capped: tuple[tuple[str, str], ...] = ()
    hardware: bool = False


_X26X = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
CODECS: dict[str, Codec] = {
    "h264": Codec("libx264", "h264", 23, preset="veryfast", presets=_X26X, capped=(("crf_max", "35"),)),
    "hevc": Codec(
        "libx265",
        "hevc",
        26,
        preset="veryfast",
        presets=_X26X,
        options=(("x265-params", "log-level=0"),),
        capped=(("x265-params", "log-level=0:crf-max=38"),),
    ),
    "av1": Codec("libsvtav1", "av1", 35, 63, preset="9", presets=tuple(map(str, range(14)))),
    "vp9": Codec(
        "libvpx-vp9",
        "vp9",
        33,
        63,
        preset="5",
        preset_option="cpu-used",
        presets=tuple(map(str, range(9))),
        options=(("deadline", "good"), ("row-mt", "1")),
    ),
    "ffv1": Codec("ffv1", "ffv1", options=(("level", "3"), ("slicecrc", "1"), ("g", "1"))),
}
# Encoders in hardware take their quality by other names.
_HARDWARE_QUALITY = {
    "nvenc": "cq",
    "qsv": "global_quality",
    "amf": "qvbr_quality_level",
    "videotoolbox": "q:v",
}
for _family in ("h264", "hevc", "av1"):
    for _maker, _option in _HARDWARE_QUALITY.items():
        _name = f"{_family}_{_maker}"
        CODECS[_name] = Codec(_name, _family, 23, crf_option=_option, hardware=True)


@dataclass(frozen=True)
class OutputPlan:
    """What `check_output` settled: the container, and the codec with its encoder."""

    container: Container
    codec: Codec
    suffix: str


def check_output(
    path: str | Path, codec: str | None = None, *, crf: int | None = None, preset: str | None = None
) -> OutputPlan:
    """Settle container and codec of a video output by its name, before any work.

    Raises:
        IcnetError: usage_error (exit 2) for a suffix or codec that is not known, a container that cannot hold the
            codec (naming one that can), a quality or preset out of range; device_error (exit 6) for a hardware encoder
            that this build of FFmpeg lacks, or that finds no hardware.
    """
    suffix = Path(path).suffix.lower()
    container = CONTAINERS.get(suffix)
    if container is None:
        if suffix in _REFUSED:
            raise usage_error(f"{_REFUSED[suffix]}; name the output .mp4 or .mkv")
        raise usage_error(
            f"{printable(path)} does not name a video container; use one of {', '.join(_SUGGESTED)}"
        )
    name = codec or container.codecs[0]
    chosen = CODECS.get(name)
    if chosen is None:
        raise usage_error(f"unknown codec {printable(name, 40)}; use one of {', '.join(CODECS)}")
    if chosen.family not in container.codecs:
        fitting = " or ".join(s for s in _SUGGESTED if chosen.family in CONTAINERS[s].codecs)
        raise usage_error(
            f"a {suffix} file cannot hold {name} video; name the output {fitting}, "
            f"or choose --codec {container.codecs[0]}"
        )
    if chosen.encoder not in av.codecs_available:
        raise device_error(f"the encoder {chosen.encoder} is not built in; use --codec {container.codecs[0]}")
    _check_quality(name, chosen, crf, preset)
    if chosen.hardware and not starts(chosen.encoder):
        raise no_hardware(chosen.encoder, container.codecs[0])
    return OutputPlan(container, chosen, suffix)


@cache
def starts(encoder: str) -> bool:
    """Whether an encoder opens here, tried once on a small picture: many are built in and find no device."""
    level = av.logging.get_level()
    av.logging.set_level(None)  # the driver's own words, which say less than ours
    try:
        context: Any = av.CodecContext.create(encoder, "w")
        context.width, context.height = TRIED
        context.pix_fmt = context.codec.video_formats[0].name
        context.time_base = Fraction(1, 25)
        context.open()
    except (av.FFmpegError, ValueError, RuntimeError, OSError):
        return False
    finally:
        av.logging.set_level(level)
    return True


def no_hardware(encoder: str, instead: str) -> IcnetError:
    """For an encoder whose hardware is missing: to be raised by the caller."""
    return device_error(f"the encoder {encoder} could not start on this machine; use --codec {instead}")


def _check_quality(name: str, codec: Codec, crf: int | None, preset: str | None) -> None:
    if crf is not None and codec.crf is None:
        raise usage_error(f"{name} is lossless and takes no --crf")
    if crf is not None and not 0 <= crf <= codec.max_crf:
        raise usage_error(f"--crf {crf} is out of range: {name} takes 0 (best) to {codec.max_crf}")
    if preset is None or codec.hardware:
        return
    if not codec.presets:
        raise usage_error(f"{name} takes no --preset")
    if preset not in codec.presets:
        raise usage_error(
            f"{name} has no preset {printable(preset, 40)}; use one of {', '.join(codec.presets)}"
        )


_HIGHEST_RATE = 10**9  # bits a second; encoders keep twice as many in 32 bits


def rate_cap(source_rate: int | None, source_family: str, codec: Codec, pixels: float) -> int | None:
    """Bits a second that the encoder may not exceed, so that a file stays about as large as its source's.

    `pixels` is output pixels over source pixels. None where the source's rate says nothing.
    """
    if not source_rate or codec.crf is None:
        return None
    # H.264 needs about twice the bits of its successors for the same picture.
    modern = ("hevc", "av1", "vp9", "vvc")
    factor = 1.75 if (codec.family in modern) == (source_family in modern) or codec.family in modern else 3.0
    return min(max(int(source_rate * factor * pixels), 200_000), _HIGHEST_RATE)


def encoder_options(
    plan: OutputPlan, crf: int | None, preset: str | None, cap: int | None, pix_fmt: str
) -> dict[str, str]:
    """The options dictionary for the encoder; an explicit `crf` lifts the cap."""
    codec = plan.codec
    options = dict(codec.options)
    quality = codec.crf if crf is None else crf
    if quality is not None:
        options[codec.crf_option] = str(quality)
    if preset or codec.preset:
        options[codec.preset_option] = preset or codec.preset or ""
    if codec.encoder == "libx264" and pix_fmt == "yuv420p":
        options["profile"] = "high"  # what every player and browser decodes
    if codec.encoder == "libvpx-vp9":
        options["b"] = str(cap or 0) if crf is None else "0"  # with crf, the rate is a ceiling
    elif cap and crf is None:
        options |= {"maxrate": str(cap), "bufsize": str(2 * cap), **dict(codec.capped)}
    return options


def muxer_options(plan: OutputPlan, time_bases: list[Fraction], metadata: dict[str, str]) -> dict[str, str]:
    """The options dictionary for the container."""
    # Packets are woven here already, so the muxer need not wait for sparse tracks such as captions.
    common = {"max_interleave_delta": "1"}
    if plan.container.muxer not in ("mp4", "mov"):
        # An encoder's priming before zero (aac, ac3) would move every track by its length.
        return {**common, "avoid_negative_ts": "disabled"}
    flags = "+faststart"
    if any(key.startswith("com.") for key in metadata):
        flags += "+use_metadata_tags"  # keys of phones, location and make among them
    return {**common, "movflags": flags, "movie_timescale": str(_movie_timescale(time_bases))}


def _movie_timescale(time_bases: list[Fraction]) -> int:
    """Edit lists, which carry start offsets, are written in the movie's own timescale: exact for the video
    (the first time base) always, and for the other tracks where the common multiple is no absurd number."""
    scale = time_bases[0].denominator
    while scale < 1000:
        scale *= 2
    for base in time_bases[1:]:
        common = math.lcm(scale, base.denominator)
        if common <= 10_000_000:
            scale = common
    return scale


# Which loudspeakers so many channels are for, where a source does not say (FFmpeg's own assumption).
_LOUDSPEAKERS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


def twin(output: Any, stream: Any) -> Any:
    """A stream of `output` for the packets of another container's stream."""
    made = output.add_stream_from_template(stream, opaque=True)
    made.disposition = stream.disposition
    # avi, mkv and mxf only count the channels of PCM; mp4 takes none without a layout, and says so at the very end.
    if stream.type == "audio" and output.format.name == "mp4":
        layout = stream.codec_context.layout
        count = layout.nb_channels
        if layout.name == f"{count} channels" and 1 <= count <= len(_LOUDSPEAKERS):
            made.layout = _LOUDSPEAKERS[count - 1]
    return made


def holds(muxer: str, stream: Any) -> bool:
    """Whether a container can take a stream's packets as they are: asked by writing a header to memory."""
    if muxer == "webm" and stream.type == "attachment":
        return False  # FFmpeg takes it without a word and writes nothing of it
    # Or nothing that would say what it is: only what came from such a file has its mark there.
    if muxer in ("mp4", "mov") and stream.type == "data" and codec_name(stream) != "bin_data":
        return False
    logger = logging.getLogger("libav")
    disabled, logger.disabled = logger.disabled, True
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            twin(trial, stream)
            trial.start_encoding()
        return True
    except Exception:
        return False
    finally:
        logger.disabled = disabled


def container_for_audio(stream: Any, family: str) -> str | None:
    """A suffix whose container holds this audio together with `family` video."""
    for suffix in _SUGGESTED:
        if family in CONTAINERS[suffix].codecs and holds(CONTAINERS[suffix].muxer, stream):
            return suffix
    return None
