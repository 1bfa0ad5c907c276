"""A video file on a web server: read like a file, with its length, its sound and its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video.declared import Declared, Shortfall, declared_by
from icnet_cli.video.frame import Frame
from icnet_cli.video.live_address import Address
from icnet_cli.video.live_connection import open_address, without_ranges
from icnet_cli.video.playlist import missing_at_end
from icnet_cli.video.pyav import size_of, time_base_of
from icnet_cli.video.reader import DEFAULT_MAX_PIXELS, VideoReader


class RemoteFile(VideoReader):
    """A VideoReader of an http address whose content has an end. A broken connection is taken up where it broke.

    Raises:
        IcnetError: as VideoReader; the address is named without anything secret in it.
    """

    _is_here = False

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        stream: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.address = replace(
            address, options={**address.options, "reconnect": "1", "reconnect_delay_max": "10"}
        )
        self._timeout_s = timeout_s
        try:
            super().__init__(
                Path(address.public), stream=stream, start_s=start_s, end_s=end_s, max_pixels=max_pixels
            )
        except IcnetError as error:
            opened = self._container is not None and error.code == ExitCode.INPUT
            known = opened and without_ranges(address, max_pixels=max_pixels, timeout_s=timeout_s)
            raise known or self._told(error) from self._cause(error)
        self.name = address.public

    def connect(self) -> Any:
        return open_address(self.address, max_pixels=self.max_pixels, timeout_s=self._timeout_s)

    def _declaration(self) -> Declared:
        # What mkv and avi declare is judged with a look into the file.
        if str(self._container.format.name).startswith("mov"):
            return declared_by(self._container, self._stream, self.path)
        own, base, total = self._stream.duration, time_base_of(self._stream), self._container.duration
        is_hls = str(self._container.format.name).startswith("hls")
        if own is None and is_hls and total:
            return Declared(None, Fraction(total, av.time_base), None, gapless=True)
        return Declared(None, None if own is None else own * base, None)

    def _find_shortfall(self) -> None:
        super()._find_shortfall()
        total, end = self._declared.duration, self._counted.end
        # Where the file is read again from before its last picture, it has been asked for.
        if not (self._declared.gapless and total and end is not None and self._threaded):
            return
        unseen = total - (end - self._offset)
        if unseen <= self._guessed_ticks * self._time_base or end >= (self.range_end or end + 1):
            return
        missing = missing_at_end(self.address, unseen, self._timeout_s)
        if missing:
            found = self.shortfall or Shortfall(0.0, float(total))
            self.shortfall = replace(found, missing_s=(found.missing_s or 0.0) + float(missing))

    def _size_in_bytes(self) -> int:
        return size_of(self._container)

    def __iter__(self) -> Iterator[Frame]:
        try:
            yield from super().__iter__()
        except IcnetError as error:
            raise self._told(error) from self._cause(error)

    def _told(self, error: IcnetError) -> IcnetError:
        """The error with the address as it is shown, not as a path (which has lost a slash)."""
        return IcnetError(str(error).replace(str(Path(self.address.public)), self.address.public), error.code)

    def _cause(self, error: IcnetError) -> Exception:
        return RuntimeError(self.address.scrub(error.__cause__ or error))
