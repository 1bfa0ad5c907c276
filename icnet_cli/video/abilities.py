"""What the installed FFmpeg can decode and encode, in software and with this machine's hardware: by trying it."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import av
import numpy as np

from icnet_cli.video.containers import CODECS, TRIED

FAMILIES = ("h264", "hevc", "av1", "vp9", "ffv1")
_FRAMES = 5


class Ability(NamedTuple):
    """Whether a decoder, an encoder or a hardware device works here; `why` is FFmpeg's word where it does not."""

    name: str
    works: bool
    why: str = ""


def ffmpeg_version() -> str:
    """FFmpeg's own version where PyAV tells it, else that of its codec library."""
    known = getattr(av, "ffmpeg_version_info", None)
    return str(known) if known else "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"]))


def decoders() -> list[Ability]:
    """One of each codec family, in software."""
    return [_has(name, "r") for name in FAMILIES]


def encoders() -> list[Ability]:
    """The encoder that each of `CODECS` names, in software."""
    return [_has(codec.encoder, "w") for codec in CODECS.values() if not codec.hardware]


def hardware_encoders() -> list[Ability]:
    """Those that the build has, each tried on a few frames: many are built in and find no device."""
    built = [codec.encoder for codec in CODECS.values() if codec.hardware and _has(codec.encoder, "w").works]
    return [Ability(name, *_tried(partial(_encoded, name))) for name in built]


def hardware_decoders() -> list[Ability]:
    """Each kind of device that the build knows, tried on a few frames of h264."""
    from av.codec.hwaccel import HWAccel, hwdevices_available

    try:
        video = _encoded("libx264")
    except (av.FFmpegError, ValueError) as error:
        return [Ability(kind, False, f"nothing to try it on: {error}") for kind in hwdevices_available()]

    def decode(kind: str) -> None:
        accelerated = HWAccel(device_type=kind, allow_software_fallback=False)
        with av.open(io.BytesIO(video), "r", hwaccel=accelerated) as container:
            if len(list(container.decode(video=0))) != _FRAMES:
                raise ValueError("frames are missing")

    return [Ability(kind, *_tried(partial(decode, kind))) for kind in hwdevices_available()]


def _has(name: str, mode: str) -> Ability:
    try:
        av.Codec(name, mode)  # type: ignore[arg-type]
    except (av.FFmpegError, ValueError):
        return Ability(name, False, "not in this build of FFmpeg")
    return Ability(name, True)


def _tried(trial: Callable[[], object]) -> tuple[bool, str]:
    level = av.logging.get_level()
    av.logging.set_level(None)  # what a driver says of itself is no news here
    try:
        trial()
    except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
        return False, " ".join(str(error).split())[:120] or type(error).__name__
    finally:
        av.logging.set_level(level)
    return True, ""


def _encoded(encoder: str) -> bytes:
    """A few frames of grey noise in mp4, encoded in memory."""
    width, height = TRIED
    taken = av.Codec(encoder, "w").video_formats or ()
    pix_fmt = taken[0].name if taken else "yuv420p"  # Intel's takes nv12 alone
    target = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream(encoder, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for _ in range(_FRAMES):
            frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()
