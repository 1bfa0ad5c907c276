"""Reading a video that comes through a pipe: once, from its beginning, without seeking."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from typing import Any

from icnet_cli.errors import ExitCode, IcnetError, input_error
from icnet_cli.video.declared import Declared, declared_by
from icnet_cli.video.pyav import open_input
from icnet_cli.video.reader import DEFAULT_MAX_PIXELS, VideoReader
from icnet_cli.video.source import FORMATS, decoder_limit, reading

STDIN = 0
_NAME = Path("stdin")  # what messages call it
INDEX_FIRST = "move the index first with `ffmpeg -i in.mp4 -c copy -movflags +faststart out.mp4`"
_CURE = (
    "an mp4 or mov whose index stands at its end cannot be read from a pipe: give the file's name, "
    f"or {INDEX_FIRST}"
)
_NOTHING = "nothing came through it; see whether the program before it wrote anything, or name a file"


def ends_at_once(descriptor: int) -> bool:
    """Whether a descriptor that can be read has nothing to give but its end."""
    import fcntl
    import termios

    status = os.fstat(descriptor)
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == os.stat(os.devnull).st_rdev
    waiting = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    except OSError:  # not a descriptor that can count; reading it will show
        return False
    return not any(waiting)


class PipeReader(VideoReader):
    """A VideoReader of a file descriptor. It has no other tracks to copy, since what passed is gone.

    Raises:
        IcnetError: INPUT where no video comes; an mp4 whose index is at its end is named as such.
    """

    _reopens = False
    _is_here = False

    def __init__(
        self,
        *,
        descriptor: int = STDIN,
        stream: int | None = None,
        end_s: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self._descriptor = descriptor
        self._format = ""
        try:
            super().__init__(_NAME, stream=stream, end_s=end_s, max_pixels=max_pixels)
        except IcnetError as error:
            if (
                error.code == ExitCode.INPUT
                and self._format.startswith("mov")
                and "raise the limit" not in str(error)
            ):
                raise input_error(f"cannot read {_NAME}: {_CURE}") from error
            raise

    def _connect(self) -> Any:
        with reading(_NAME):
            if os.name == "posix":
                select.select([self._descriptor], [], [])  # which Ctrl-C ends, unlike FFmpeg's own waiting
                if ends_at_once(self._descriptor):
                    raise input_error(f"cannot read {_NAME}: {_NOTHING}")
            container = open_input(
                f"pipe:{self._descriptor}",
                options={"max_pixels": decoder_limit(self.max_pixels)},
                container_options={"format_whitelist": FORMATS, "protocol_whitelist": "pipe"},
            )
        self._format = str(container.format.name)
        return container

    def _declaration(self) -> Declared:
        # What mkv and avi declare is judged with a look at the file's size, which a pipe has not.
        if self._format.startswith("mov"):
            return declared_by(self._container, self._stream, self.path)
        return Declared(None, None, None)

    def _size_in_bytes(self) -> int:
        return 0
