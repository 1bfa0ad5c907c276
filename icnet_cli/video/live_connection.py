"""One connection to a camera or an address: opened within a time limit, decoded without delay, until it ends."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
from av.codec.context import Flags

from icnet_cli.errors import IcnetError, input_error
from icnet_cli.video.declared import Declared
from icnet_cli.video.frame import Converter, Turn
from icnet_cli.video.info import VideoInfo, describe
from icnet_cli.video.live_address import Address, cameras_here
from icnet_cli.video.one_clock import ticks_per_frame
from icnet_cli.video.pipe import INDEX_FIRST
from icnet_cli.video.pyav import open_input, rate_of, time_base_of
from icnet_cli.video.source import DEFAULT_MAX_PIXELS, choose_video, decoder_limit, require_known_codec
from icnet_cli.video.stamps import stamp

_HOPELESS = 200  # packets that give no picture, one after another
_LOOKED_AT_US = (
    "2000000"  # of a stream before its first picture is given: by default FFmpeg takes up to five seconds
)
_PATIENT = 0.9  # of the time limit: whatever ends a reading that waited so long, it is that it waited
_KEYLESS = 300  # packets after which a stream is taken to have no key frames (it refreshes bit by bit)


class StalledError(Exception):
    """Nothing came for as long as one waits."""


class Arrival(NamedTuple):
    """A decoded picture, its own time in seconds where it has one, and when its last packet was read."""

    picture: Any
    at: Fraction | None
    arrived: float


def open_address(address: Address, *, max_pixels: int, timeout_s: float) -> Any:
    """An av.container.InputContainer of the address, with every allow-list in force.

    Raises:
        IcnetError: INPUT, in words, without anything secret in it or in its cause.
    """
    began = time.monotonic()
    try:
        return open_input(
            _target(address),
            format=address.format,
            options={"max_pixels": decoder_limit(max_pixels)},
            container_options={
                "format_whitelist": address.formats,
                "protocol_whitelist": address.protocols,
                "analyzeduration": _LOOKED_AT_US,
                **address.options,
            },
            timeout=(timeout_s, timeout_s),
        )
    except Exception as error:
        waited_out = _is_bare(error) and time.monotonic() - began >= _PATIENT * timeout_s
        reason = StalledError() if waited_out else error
        raise told(address, reason, timeout_s) from _scrubbed(address, error)


def without_ranges(address: Address, *, max_pixels: int, timeout_s: float) -> IcnetError | None:
    """What is said of an mp4 that was opened and gives no picture because its server sends files from their beginning
    only: its index was read, and what stands before it cannot be gone back to. None where that is not why."""
    try:
        container = open_address(address, max_pixels=max_pixels, timeout_s=timeout_s)
    except IcnetError:
        return None
    try:
        next(container.demux(), None)
    except OSError as error:
        if error.errno == errno.EIO and str(container.format.name).startswith("mov"):
            return input_error(
                f"cannot read {address.public}: an mp4 or mov whose index stands at its end needs a server that gives "
                f"parts of a file (byte ranges), and this one does not: save it to a file, or {INDEX_FIRST}"
            )
    except Exception:  # damaged, which has been said
        return None
    finally:
        container.close()
    return None


def _target(address: Address) -> str:
    """What FFmpeg is told; DirectShow knows cameras by their names only."""
    if address.format != "dshow" or not address.target.isdecimal():
        return address.target
    found = [device.name for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
    number = int(address.target)
    if number >= len(found):
        here = ", ".join(f"camera:{n}" for n in range(len(found))) or "none"
        raise input_error(f"there is no {address.public}; cameras here: {here}")
    return f"video={found[number]}"


class Connection:
    """Iterates over `Arrival`s; `info` and `converter` are of its first picture, which is decoded on making it.

    Raises:
        IcnetError: INPUT where nothing answers, or what answers is no video that can be decoded.
    """

    def __init__(
        self,
        address: Address,
        *,
        stream: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        container: Any = None,
    ) -> None:
        self._address, self._timeout_s, self._clock = address, timeout_s, clock
        self._max_pixels = max_pixels
        self.frames_lost = 0
        self._given = False  # whether a picture has been
        self._arrived = clock()
        self._container = container or open_address(address, max_pixels=max_pixels, timeout_s=timeout_s)
        try:
            self._prepare(stream)
        except BaseException as error:
            self._container.close()
            if isinstance(error, Exception):
                raise self._told(error) from _scrubbed(address, error)
            raise

    def _prepare(self, number: int | None) -> None:
        container, name = self._container, self._address.public
        self._stream = choose_video(container, name, number)
        require_known_codec(self._stream, name)
        context = self._stream.codec_context
        self._check_pixels(context.width, context.height)
        context.options = {"max_pixels": decoder_limit(self._max_pixels)}
        # A decoder of several pictures at once holds back as many as it has threads.
        context.thread_type = "SLICE"
        context.flags |= Flags.low_delay
        self._arrivals = self._decode()
        first = next(self._arrivals, None)
        if first is None:
            raise input_error(f"cannot read {name}: no picture in it could be decoded")
        self._first: Arrival | None = first
        rate = rate_of(self._stream)
        first.picture.pts = first.picture.pts or 0
        nothing = Declared(None, None, None)
        self.info: VideoInfo = describe(
            container, self._stream, first.picture, nothing, size=0, rate=rate, frames_estimated=None
        )
        self.field_template = first.picture if self.info.interlaced and not self.info.rotation else None
        self.converter = Converter(
            self.info.colour,
            first.picture.width,
            first.picture.height,
            Turn(self.info.rotation, self.info.mirrored),
        )

    @property
    def is_paced(self) -> bool:
        """Whether pictures come by the seconds-long segment, and are to be taken at their own pace."""
        return str(self._container.format.name) == "hls"

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise input_error(
                f"{self._address.public} has pictures of {height}x{width}, over the limit of {self._max_pixels} "
                "pixels; raise the limit with --max-pixels if you trust the source"
            )

    # -- decoding

    def __iter__(self) -> Iterator[Arrival]:
        """Pictures until the source ends the connection.

        Raises:
            StalledError: where nothing came for the time limit.
            IcnetError: INPUT, in words, for whatever else ends it.
        """
        try:
            if self._first is not None:
                first, self._first = self._first, None
                yield first
            yield from self._arrivals
        except (IcnetError, StalledError):
            raise
        except Exception as error:
            raise self._told(error) from _scrubbed(self._address, error)

    def _told(self, error: Exception) -> IcnetError:
        """What ended a source that was reached."""
        return told(self._address, ConnectionError() if _is_bare(error) else error, self._timeout_s)

    def _decode(self) -> Iterator[Arrival]:
        failures = 0
        for packet in self._packets():
            try:
                pictures = self._stream.codec_context.decode(packet)
            except Exception:
                self.frames_lost += bool(packet.size)
                failures += 1
                if failures >= _HOPELESS:
                    raise input_error(
                        f"{self._address.public} sends nothing that can be decoded any more"
                    ) from None
                continue
            for picture in pictures:
                failures = 0
                self._check_pixels(picture.width, picture.height)
                yield Arrival(picture, self._time_of(picture), self._arrived)

    def _time_of(self, picture: Any) -> Fraction | None:
        """Seconds on the source's clock; None where it has no time."""
        own, is_first, self._given = stamp(picture), not self._given, True
        if own is None and is_first and self._stream.start_time is not None:
            # H.264 over RTP: the first picture's own time is lost with the headers that come in packets before it.
            own = int(self._stream.start_time) - ticks_per_frame(self._stream)
        return None if own is None else own * time_base_of(self._stream)

    def _packets(self) -> Iterator[Any]:
        """Packets of the video from its first key frame on; what was sent before cannot be decoded whole."""
        waited = 0
        for packet in self._watched():
            if waited < _KEYLESS and packet.size:
                if not packet.is_keyframe:
                    waited += 1
                    continue
                waited = _KEYLESS
            yield packet

    def _watched(self) -> Iterator[Any]:
        """Packets of the video, with an end to waiting for them: sound that goes on is no sign of life."""
        index = self._stream.index
        waiting_since = (
            self._clock()
        )  # and not since the last picture: whoever takes them may take their time
        try:
            for packet in self._container.demux():
                now = self._clock()
                if packet.stream.index == index:
                    if packet.size:  # the last one of all is empty, and asks the decoder for what it holds
                        self._arrived = now
                        yield packet
                        waiting_since = self._clock()
                    else:
                        yield packet
                elif now - waiting_since >= self._timeout_s:
                    raise StalledError
        except (av.error.ExitError, TimeoutError):
            raise StalledError from None
        except OSError as error:
            # A stream without a length over HTTP ends so, whenever it ends; RTMP calls the end of our patience so.
            waited_out = self._clock() - waiting_since >= _PATIENT * self._timeout_s
            if not (_is_bare(error) and (self._address.is_http or waited_out)):
                raise
        # Some demuxers (hls) call the end of our patience an end of the stream.
        if self._clock() - waiting_since >= _PATIENT * self._timeout_s:
            raise StalledError

    def close(self) -> None:
        self._container.close()


# What went wrong, in words -------------------------------------------------------------------------------------------

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (av.error.HTTPUnauthorizedError, "it wants another user name or password (401)"),
    (av.error.HTTPForbiddenError, "it may not be read from here (403)"),
    (av.error.HTTPNotFoundError, "there is nothing of that name (404)"),
    (av.error.HTTPClientError, "the server refuses it"),
    (av.error.HTTPServerError, "the server fails"),
    (ConnectionRefusedError, "nothing answers there (connection refused)"),
    (av.error.ExitError, ""),
    (TimeoutError, ""),
    (StalledError, ""),
    (ConnectionError, "the connection broke"),
    (av.error.ProtocolNotFoundError, "it leads to a file or to a kind of address that is not allowed"),
    (av.error.DecoderNotFoundError, "no decoder for its codec is built in"),
    (EOFError, "it ends before its first picture"),
    (av.error.InvalidDataError, "what comes from there is no video, or leads to what is not allowed"),
    (ValueError, "what comes from there is no video, or leads to what is not allowed"),
    (MemoryError, "it needs more memory than there is"),
    (OSError, "it cannot be reached; look at the name and the network"),
)


def _is_bare(error: Exception) -> bool:
    """Whether an error says only that something went wrong (EIO), as RTMP and HTTP do of whatever ends them."""
    return isinstance(error, OSError) and error.errno == errno.EIO


def told(address: Address, error: BaseException, timeout_s: float) -> IcnetError:
    """An input error (exit 3) in our words for what escaped while an address was opened or read."""
    if isinstance(error, IcnetError):
        return error
    if address.is_camera:
        return input_error(_of_camera(address, error))
    reason = next((words for kind, words in _REASONS if isinstance(error, kind)), "it could not be read")
    return input_error(f"cannot read {address.public}: {reason or f'no answer within {timeout_s:g} s'}")


def _of_camera(address: Address, error: BaseException) -> str:
    name = address.public
    if isinstance(error, FileNotFoundError):
        return f"there is no {name}; cameras here: {cameras_here()}"
    if isinstance(error, PermissionError):
        return f"{name} may not be read; add yourself to the group that owns {address.target} (often `video`)"
    if isinstance(error, OSError) and error.errno == errno.EBUSY:
        return f"{name} is used by another program; close that first"
    if isinstance(error, av.error.ExitError | TimeoutError | StalledError):
        return f"{name} gives no picture"
    return f"{name} cannot be read as a camera"


def _scrubbed(address: Address, error: BaseException) -> Exception:
    """What FFmpeg said, for --debug, with nothing secret in it and no cause of its own."""
    return RuntimeError(f"{type(error).__name__}: {address.scrub(error)}")
