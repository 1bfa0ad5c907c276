"""Opening files that strangers made: the only place where a container is opened for reading.

What an untrusted file may do is decided here, before FFmpeg sees it. A `.mp4` can be an
ffconcat script that names other files, or a playlist that names servers, so local paths get
a `file:` prefix and only real containers and the `file` protocol are allowed; PyAV ignores
`codec_whitelist`, so a codec's name is checked against our own set.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from icnet_cli.errors import ExitCode, IcnetError, input_error, printable
from icnet_cli.video.pyav import open_input, time_base_of

DEFAULT_MAX_PIXELS = 8192 * 4320

# Real containers and elementary streams. Nothing here opens a second file (no concat, hls, dash,
# image2, sdp), draws a picture from text, or runs a filter graph.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,nut,ivf,obu,"
    "h264,hevc,vvc,m4v,vc1,mjpeg,dv,yuv4mpegpipe,gif,apng,rm,wtv,gxf,av1,amv,3gpp,dirac,h263,h261"
)

# Decoders of moving pictures that a camera, an editor or a phone writes. By FFmpeg's codec names.
CODECS = frozenset(
    [
        "h264",
        "hevc",
        "vvc",
        "av1",
        "vp8",
        "vp9",
        "vp6",
        "vp6f",
        "vp6a",
        "vp7",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "msmpeg4v1",
        "msmpeg4v2",
        "msmpeg4v3",
        "h261",
        "h263",
        "h263i",
        "h263p",
        "flv1",
        "mjpeg",
        "mjpegb",
        "ljpeg",
        "jpeg2000",
        "prores",
        "prores_raw",
        "dnxhd",
        "dvvideo",
        "cfhd",
        "ffv1",
        "huffyuv",
        "ffvhuff",
        "utvideo",
        "magicyuv",
        "lagarith",
        "rawvideo",
        "v210",
        "v210x",
        "v308",
        "v408",
        "v410",
        "r210",
        "png",
        "qtrle",
        "svq1",
        "svq3",
        "cinepak",
        "rpza",
        "indeo3",
        "theora",
        "vc1",
        "wmv1",
        "wmv2",
        "wmv3",
        "rv10",
        "rv20",
        "rv30",
        "rv40",
        "dirac",
        "gif",
        "apng",
        "amv",
        "bmp",
        "tiff",
        "webp",
        "hap",
        "speedhq",
        "snow",
    ]
)

# By name, for better words: under any other one FFmpeg is not let.
_PLAYLISTS = (".m3u8", ".m3u", ".mpd", ".pls")

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (FileNotFoundError, "there is no such file"),
    (PermissionError, "it may not be read (permission denied)"),
    (IsADirectoryError, "it is a folder, not a video file"),
    (TimeoutError, "it stopped answering"),
    (MemoryError, "it needs more memory than there is"),
    (av.error.DecoderNotFoundError, "no decoder for its codec is built in"),
    (av.error.DemuxerNotFoundError, "its format is not known"),
    (av.error.ProtocolNotFoundError, "it is not a plain media file (it refers to other files or addresses)"),
    (av.error.PatchWelcomeError, "it uses a feature that is not supported"),
    (EOFError, "it ends before its first picture"),
    (OSError, "the system could not read it"),
)


def reading_error(path: str | Path, error: BaseException) -> IcnetError:
    """An input error (exit 3) for whatever escaped while `path` was opened or decoded.

    FFmpeg's own sentences name functions and bug trackers, so the type of the error is put into words instead.
    """
    if isinstance(error, IcnetError):
        return error
    reason = next((words for kind, words in _WORDS if isinstance(error, kind)), None)
    if reason is None:
        reason = "it is not a video file, or it is damaged (check it with another player)"
    return input_error(f"cannot read {printable(path)}: {reason}")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn everything that FFmpeg and PyAV raise on bad media into one input error.

    Besides `av.FFmpegError`, mutated files were seen to raise UnicodeDecodeError and IndexError, so the net is
    wide on purpose; what is not an Exception (KeyboardInterrupt, GeneratorExit) passes.
    """
    try:
        yield
    except IcnetError:
        raise
    except Exception as error:
        raise reading_error(path, error) from error


def require_regular_file(path: Path) -> None:
    """Refuse folders, pipes, devices and empty files before FFmpeg is asked; they would hang or mislead it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise reading_error(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise input_error(f"cannot read {printable(path)}: it is a folder, not a video file")
    if stat.S_ISFIFO(status.st_mode):
        raise input_error(
            f"cannot read {printable(path)}: it is a pipe, not a file; save it to a file first, or name - and redirect "
            f"it: icnet segment - < {printable(path)}"
        )
    if not stat.S_ISREG(status.st_mode):
        raise input_error(f"cannot read {printable(path)}: it is not a regular file; save it to a file first")
    if status.st_size == 0:
        raise input_error(f"cannot read {printable(path)}: the file is empty")
    if path.suffix.lower() in _PLAYLISTS:
        raise input_error(
            f"cannot read {printable(path)}: playlists on the disk are not followed; give its address instead"
        )


def decoder_limit(max_pixels: int) -> str:
    """FFmpeg's `max_pixels` option for our limit. Decoders count padding in, so it is laxer; the exact
    limit is checked by the reader, which then can say what the size was."""
    return str(2 * max_pixels + 2**20)


def open_source(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS, hwaccel: Any = None) -> Any:
    """Open a local media file for demuxing with every allow-list in force.

    Args:
        hwaccel: a PyAV HWAccel to decode with.

    Returns an `av.container.InputContainer`. Raises input_error (exit 3) for anything that cannot be opened.
    """
    local = Path(path)
    require_regular_file(local)
    with reading(local):
        return open_input(
            "file:" + os.path.abspath(local),
            # This bounds what probing decodes; the decoder proper gets its own.
            options={"max_pixels": decoder_limit(max_pixels)},
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            timeout=30.0,
            hwaccel=hwaccel,
        )


class NoSuchStreamError(IcnetError):
    """The file has video, but not at the index that was asked for."""


def is_cover(stream: Any) -> bool:
    """Whether a video stream is only a cover picture or a thumbnail, not the video."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def is_still(stream: Any) -> bool:
    """Whether a video stream is a single picture without a track of its own: of an animated AVIF or HEIC the one that
    viewers without animation show, which comes before the track."""
    return stream.frames == 1 and stream.duration is None and time_base_of(stream) == 1


def codec_name(stream: Any) -> str:
    """What a stream's codec is called in messages: `unknown` where no decoder is built in, as for teletext.

    PyAV has no name then, and of captions fails to say so.
    """
    return printable(getattr(stream, "name", None) or "unknown", 40)


def choose_video(container: Any, path: str | Path, number: int | None) -> Any:
    """The video stream to work on: the container's first that is no cover, or the one with index `number`."""
    videos = [stream for stream in container.streams if stream.type == "video" and not is_cover(stream)]
    if not videos:
        raise input_error(f"cannot read {printable(path)}: {_instead(container)}, but no video")
    if number is None:
        videos = [stream for stream in videos if not is_still(stream)] or videos
        # A default disposition is the author's own choice; without one the first stream is it.
        return next((s for s in videos if s.disposition & Disposition.default), videos[0])
    for stream in videos:
        if stream.index == number:
            return stream
    known = ", ".join(str(stream.index) for stream in videos)
    raise NoSuchStreamError(
        f"{printable(path)} has no video stream {number}; its video streams are: {known}", ExitCode.INPUT
    )


def _instead(container: Any) -> str:
    kinds = sorted({"cover picture" if s.type == "video" else s.type for s in container.streams})
    return f"it holds {' and '.join(kinds)}" if kinds else "it holds nothing"


def require_known_codec(stream: Any, path: str | Path) -> str:
    """The codec's canonical name, after checking it against our own allow-list (PyAV ignores FFmpeg's)."""
    context = stream.codec_context
    if context is None:  # a codec with no decoder built in; touching it crashed PyAV 18.0
        raise input_error(f"cannot read {printable(path)}: no decoder for its video codec is built in")
    name = str(context.codec.canonical_name)
    if name not in CODECS:
        raise input_error(
            f"cannot read {printable(path)}: the video codec {printable(name, 40)} is not supported"
        )
    return name
