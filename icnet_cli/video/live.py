"""Reading a camera or a network stream for as long as it is wanted: it stalls, drops and comes back.

A thread of its own connects, decodes and connects again, so that whoever waits for a picture can stop waiting at any
time, however long FFmpeg hangs in a socket.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.errors import IcnetError, input_error
from icnet_cli.video.frame import Converter, Frame
from icnet_cli.video.info import VideoInfo
from icnet_cli.video.live_address import Address
from icnet_cli.video.live_clock import TIME_BASE, Gap, Timeline
from icnet_cli.video.live_connection import Arrival, Connection, StalledError, open_address
from icnet_cli.video.pyav import size_of
from icnet_cli.video.source import DEFAULT_MAX_PIXELS

BACK_OFF_S = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # before each try; the last one is repeated
TRIES = 20  # in a row: about seven minutes, and the time that each try takes
TIMEOUT_S = 10.0
_ENDED = "the stream ended"
_HELD = 2  # pictures between the thread that decodes and the one that takes them: to be short is the point
_PLAYLIST_S = 600  # as far back as a playlist may begin again
_GAPS_KEPT = 1000
_PATIENCE_S = 0.5  # for the thread to notice that it is over; it may hang in a socket, and is left there


@dataclass(frozen=True)
class LiveFrame(Frame):
    """A frame of a live source; `arrived` is when it was received, in seconds of `time.monotonic`."""

    arrived: float = 0.0


@dataclass(frozen=True)
class Notice:
    """Something to tell at once, in one line."""

    text: str


class LiveReader:
    """Iterates over the `LiveFrame`s and `Notice`s of a source, from its first picture until `stop`.

    Made, started and then asked to be `ready`, which raises what went wrong. It has the attributes of a VideoReader
    that a writer wants. Times begin at zero, in ticks of TIME_BASE.

    Args:
        timeout_s: how long opening may take, and how long nothing may come before the source is connected again.
        tries: to connect again, in a row; after that the source has failed. 0: its end is the end.
        every_frame: decode no faster than frames are taken; else those that wait too long make room for newer ones,
            and the clock begins with iterating, so that what was shown while a network was loaded is no part of it.
        clock, pause: stand-ins for `time.monotonic` and for waiting (which says whether it was stopped meanwhile).
    """

    # Of a VideoReader: no range is read, nothing is declared, nothing can be gone on from.
    start_s = end_s = origin = range_end = shortfall = mark = None
    # Its clock is its own, and it does not look for what notes of a file tell.
    frames_moved, other_aspect, unread_share = 0, None, 0.0

    def __init__(
        self,
        address: Address,
        *,
        stream: int | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        timeout_s: float = TIMEOUT_S,
        tries: int = TRIES,
        every_frame: bool = False,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self.address, self.path, self.max_pixels = address, Path(address.public), max_pixels
        self.name = address.public  # what messages call it
        self.frames_read = self.frames_damaged = self.frames_lost = self.reconnects = 0
        self.gaps: deque[Gap] = deque(maxlen=_GAPS_KEPT)
        self.finished = False
        self.is_file = False  # what is there has an end: read it as a file (known when ready)
        self.info: VideoInfo
        self.field_template: Any = None
        self._converter: Converter
        self._stream, self._timeout_s, self._tries, self._clock = stream, timeout_s, tries, clock
        self._every_frame = every_frame
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait
        self._timeline = Timeline()
        self._tried = 0  # to connect again since the last picture
        self._newest = Fraction(-1)  # the last picture of a paced source, by its own clock
        self._lag: float | None = None  # from a paced source's clock to ours
        self._resized = self._is_ready = self._begun = self._over = False
        self._error: BaseException | None = None
        self._items: deque[LiveFrame | Notice] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._capture, name="icnet-capture", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def ready(self) -> None:
        """Wait for the first picture, after which `info` is known.

        Raises:
            IcnetError: INPUT where there is none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_ready or self._over)
        if not self._is_ready and self._error is not None:
            raise self._error

    def stop(self) -> None:
        """No more is wanted: whoever iterates comes to the end now. Safe to call at any time, in any thread."""
        self._stopped.set()
        with self._changed:
            self._items.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and give the thread a moment to end; where it hangs in a socket it is left behind."""
        self.stop()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE_S)

    def __iter__(self) -> Iterator[LiveFrame | Notice]:
        self._begin()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._over or self._stopped.is_set())
                if self._stopped.is_set():
                    return
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error
        self.finished = True

    def _begin(self) -> None:
        with self._changed:
            self._begun = True
            frames = [item for item in self._items if isinstance(item, LiveFrame)]
            if self._every_frame or not frames:
                return
            kept = frames if self._over else frames[-1:]  # of a source that is over there is nothing newer
            zero = kept[0].pts
            self._timeline.begin_at(zero)
            told = [item for item in self._items if isinstance(item, Notice)]
            again = (replace(frame, index=n, pts=frame.pts - zero) for n, frame in enumerate(kept))
            self._items = deque([*told, *again])
            self.frames_read, self.frames_damaged = len(kept), sum(frame.damaged for frame in kept)
            self.gaps.clear()

    # -- the thread

    def _capture(self) -> None:
        try:
            self._read_on(self._first_connection())
        except _StoppedError:
            pass
        except BaseException as error:
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _first_connection(self) -> Connection:
        container = open_address(self.address, max_pixels=self.max_pixels, timeout_s=self._timeout_s)
        if self.address.is_http and _has_an_end(container):
            container.close()
            self.is_file = self._is_ready = True
            raise _StoppedError
        connection = self._connect(container)
        self.info = replace(connection.info, time_base=TIME_BASE, start_s=0.0)
        self.field_template, self._converter = connection.field_template, connection.converter
        with self._changed:
            self._is_ready = True
            self._changed.notify_all()
        return connection

    def _connect(self, container: Any = None) -> Connection:
        return Connection(
            self.address, stream=self._stream, max_pixels=self.max_pixels, timeout_s=self._timeout_s,
            clock=self._clock, container=container,
        )  # fmt: skip

    def _read_on(self, connection: Connection) -> None:
        while True:
            try:
                reason = self._take_all(connection)
            finally:
                self.frames_lost += connection.frames_lost
                connection.close()
            if reason == _ENDED and (connection.is_paced or not self._tries):
                return  # a playlist that says that it is complete, or a stream whose end is wanted as the end
            connection = self._connect_again(reason)
            self._timeline.reconnected(reason)
            self._lag = None

    def _take_all(self, connection: Connection) -> str:
        """Hand on everything that comes; returns why no more does."""
        try:
            for arrival in connection:
                if not connection.is_paced:
                    self._take(arrival)
                elif not self._was_taken(arrival):
                    self._take(self._paced(arrival))
        except StalledError:
            return f"nothing came for {self._timeout_s:g} s"
        except IcnetError as error:
            return _reason(error)
        return _ENDED

    def _connect_again(self, reason: str) -> Connection:
        name, first = self.address.public, reason
        while self._tried < self._tries:
            delay = BACK_OFF_S[min(self._tried, len(BACK_OFF_S) - 1)]
            self._tried += 1  # until a picture comes
            self._say(
                f"{name}: {reason}; connecting again in {delay:g} s (try {self._tried} of {self._tries})"
            )
            if self._pause(delay):
                raise _StoppedError
            try:
                connection = self._connect()
            except IcnetError as error:
                reason = _reason(error)
                continue
            self.reconnects += 1
            return connection
        tries = "1 try" if self._tries == 1 else f"{self._tries} tries"
        raise input_error(f"{name}: {first}{f', and {tries} to connect again failed' if self._tries else ''}")

    def _was_taken(self, arrival: Arrival) -> bool:
        """Whether a picture of a playlist, which begins again some seconds back, has been taken before."""
        newest, self._newest = self._newest, max(arrival.at or Fraction(0), self._newest)
        if arrival.at is None or arrival.at > newest:
            return False
        if newest - arrival.at < _PLAYLIST_S:
            return True
        self._newest = arrival.at  # another clock
        return False

    def _paced(self, arrival: Arrival) -> Arrival:
        """Wait until a picture is due, as a player would: a segment's pictures come all at once."""
        if arrival.at is None:
            return arrival
        now, at = self._clock(), float(arrival.at)
        if self._lag is None or not 0 <= at + self._lag - now < 2 * self._timeout_s:
            self._lag = now - at  # the first, one that is late, or one by another clock
        due = at + self._lag
        if due > now and self._pause(due - now):
            raise _StoppedError
        return arrival._replace(arrived=due)

    def _take(self, arrival: Arrival) -> None:
        self._tried = 0
        with self._changed:
            if self._every_frame or self._begun:
                self._changed.wait_for(lambda: len(self._items) < _HELD or self._stopped.is_set())
            if self._stopped.is_set():
                raise _StoppedError
            pts = self._timeline.place(arrival.at, arrival.arrived)
            self._tell_changes(arrival.picture)
            while not self._begun and not self._every_frame and len(self._items) >= _HELD:
                self._items.popleft()
            self._items.append(self._frame(arrival, pts))
            self._changed.notify_all()

    def _frame(self, arrival: Arrival, pts: int) -> LiveFrame:
        picture, rate = arrival.picture, self.info.frame_rate
        damaged = bool(picture.is_corrupt)
        duration = round(1 / TIME_BASE / (rate if rate and rate <= 1000 else 25))
        frame = LiveFrame(
            self.frames_read, pts, TIME_BASE, duration, bool(picture.key_frame), damaged, picture, self._converter,
            arrived=arrival.arrived,
        )  # fmt: skip
        self.frames_read += 1
        self.frames_damaged += damaged
        return frame

    def _tell_changes(self, picture: Any) -> None:
        gap, name = self._timeline.gap, self.address.public
        if gap is not None:
            self.gaps.append(gap)
            words = f"{gap.seconds:.1f} s without pictures after {gap.at_s:.1f} s ({gap.reason})"
            self._items.append(Notice(f"{name}: {words}"))
        size = (self.info.coded_height, self.info.coded_width)
        if (picture.height, picture.width) != size and not self._resized:
            self._resized = True
            self._items.append(Notice(resized(name, (picture.height, picture.width), size)))

    def _say(self, text: str) -> None:
        with self._changed:
            self._items.append(Notice(text))
            self._changed.notify_all()


class _StoppedError(Exception):
    """No more is wanted."""


def resized(name: str, size: tuple[int, int], first: tuple[int, int]) -> str:
    """What is said once where pictures (height, width) change their size on the way."""
    now, then = f"{size[0]}x{size[1]}", f"{first[0]}x{first[1]}"
    return f"{name}: the pictures changed to {now}; they are scaled to the first size, {then}"


def _has_an_end(container: Any) -> bool:
    """Whether what a server gives is a file: of known length, or a playlist that says how long it is."""
    has_duration = container.duration is not None and container.duration > 0
    # The size is known where the server tells it, but sometimes no more once all has been read.
    return has_duration or (str(container.format.name) != "hls" and size_of(container) > 0)


def _reason(error: IcnetError) -> str:
    """The last part of a message such as `cannot read NAME: nothing answers there`."""
    return str(error).rpartition(": ")[2]
