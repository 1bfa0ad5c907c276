"""Live sources in the pipeline: which frames are taken, which are dropped for being old, and how a run ends.

The policy: a frame that is older than the limit at the start of its inference is dropped, unless none is newer. It is
applied where the network takes its next picture, and only what is taken is converted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError, usage_error
from icnet_cli.video.live import TIMEOUT_S, TRIES, LiveFrame, LiveReader, Notice
from icnet_cli.video.live_address import Address, is_address, parse_address
from icnet_cli.video.live_file import RemoteFile
from icnet_cli.video.reader import VideoReader

from .artist import Artist
from .channel import AbortedError, Channel
from .items import Picture
from .lanes import no_signals
from .sinks import Rendered, Sink, ToldSink
from .sources import Selection, VideoSource
from .watched import Watched

MAX_LATENCY_S = 0.1
_WAITING_BYTES = 128 << 20  # decoded frames that may wait: about 40 of full HD
_MOST_WAITING = 64
_TICK_S = 0.1  # a window that is not asked for its events for longer feels stuck


@dataclass(frozen=True)
class LiveOptions:
    """How a live source is read.

    Attributes:
        max_latency_s: a frame older than this is dropped where there is a newer one; None: none is.
        timeout_s: nothing for this long, and the source is connected again.
        tries: to do so, in a row.
        chosen: options that the user gave and that a file does not have.
    """

    max_latency_s: float | None = MAX_LATENCY_S
    timeout_s: float = TIMEOUT_S
    tries: int = TRIES
    chosen: tuple[str, ...] = ()


class LiveSource(VideoSource):
    """Frames of a camera or a stream, on a clock that begins at zero. Iterating gives `LiveFrame`s and `Notice`s."""

    is_live = True

    def __init__(self, reader: LiveReader, selection: Selection) -> None:
        # A LiveReader has of a VideoReader what a source and a writer use.
        super().__init__(cast(VideoReader, reader), selection)
        self.live = reader
        self.is_pipe, self.paths = True, ()
        self._last: Picture | None = None

    @property
    def duration_s(self) -> float | None:
        last = self._last
        if last is None or last.pts is None:
            return 0.0
        return float((last.pts + (last.duration or 0)) * (last.time_base or 0))

    @property
    def total(self) -> int | None:
        return self.selection.frames

    @property
    def problem(self) -> str | None:
        return None if self._error is None else str(self._error)  # a damaged picture is no news in a stream

    def __iter__(self) -> Iterator[Any]:
        end_s = self.selection.end_s
        try:
            for item in self.live:
                if isinstance(item, LiveFrame):
                    if end_s is not None and item.seconds >= end_s:
                        self.live.stop()
                        return
                    if item.index % self.selection.every:
                        continue
                yield item
        except IcnetError as error:
            if error.code != ExitCode.INPUT:
                raise
            self._error = error  # what there was is written, and the file is whole

    def picture(self, frame: LiveFrame) -> Picture:
        """A frame as the network takes it."""
        self._last = replace(self._picture(frame), arrived=frame.arrived, mark=None)
        return self._last

    def close(self) -> None:
        self.live.close()


class Inbox(Channel[Any]):
    """The queue in front of the network: frames are put, pictures are taken, those that are too old are dropped.

    Without a limit, and only then, whoever puts waits for room.

    Args:
        tick_s: give an empty notice whenever nothing else came for this long (a window has to be kept alive).
        clock: the one that `LiveFrame.arrived` is of.
    """

    def __init__(
        self,
        source: LiveSource,
        max_latency_s: float | None,
        *,
        tick_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        height, width = source.size
        super().__init__(max(2, min(_MOST_WAITING, _WAITING_BYTES // max(1, height * width * 3 // 2))))
        self._source, self._max_latency_s, self._tick_s, self._clock = source, max_latency_s, tick_s, clock
        self._notices: deque[Notice] = deque()

    def put(self, item: LiveFrame | Notice) -> None:
        with self._changed:
            if isinstance(item, LiveFrame) and self._max_latency_s is None:
                self._changed.wait_for(lambda: len(self._items) < self._size or self._aborted or self._ended)
            if self._aborted or self._ended:
                raise AbortedError
            if isinstance(item, Notice):
                self._notices.append(item)
            else:
                while len(self._items) >= self._size:
                    self._drop()
                self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        given = 0
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._items or self._notices or self._closed or self._aborted, self._tick_s
                )
                if self._aborted:
                    raise AbortedError
                item = self._next()
            if item is None:
                return
            if isinstance(item, Notice):
                yield item
                continue
            given += 1
            yield replace(self._source.picture(item), starts_segment=given == 1)
            if given == self._source.selection.frames:
                self.end()

    def _next(self) -> Any:
        """What is given now: a notice, a frame, an empty notice where nothing came; None at the end."""
        if self._notices:
            item: Any = self._notices.popleft()
        elif self._items:
            limit, now = self._max_latency_s, self._clock()
            while limit is not None and len(self._items) > 1 and now - self._items[0].arrived > limit:
                self._drop()
            item = self._items.popleft()
        else:
            item = None if self._closed else Notice("")
        self._changed.notify_all()
        return item

    def _drop(self) -> None:
        self._items.popleft()
        self.dropped += 1

    def end(self) -> None:
        """Also stops the source, which else would be waited for."""
        super().end()
        self._source.live.stop()

    def abort(self) -> None:
        super().abort()
        self._source.live.stop()


class HeldSink:
    """A sink of live pictures: each waits for the next one, by which it is known how long it is shown."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held: tuple[Picture, Rendered] | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        return self._sink.left_out

    def begin(self, description: dict[str, Any]) -> None:
        self._sink.begin(description)

    def write(self, picture: Picture, rendered: Rendered) -> None:
        held, self._held = self._held, (picture, rendered)
        if held is not None and picture.pts is not None and held[0].pts is not None:
            self._sink.write(replace(held[0], duration=picture.pts - held[0].pts), held[1])

    def close(self) -> None:
        if self._held is not None:
            self._sink.write(*self._held)
            self._held = None
        self._sink.close()

    def abort(self) -> None:
        self._sink.abort()


def open_live(
    text: str, selection: Selection, stream: int | None, max_pixels: int, options: LiveOptions
) -> VideoSource:
    """The source behind a camera's name or an address; a file on a web server becomes an ordinary one.

    Raises:
        IcnetError: USAGE for an address or an option that does not fit; INPUT where there is no video.
    """
    address = parse_address(text)
    reader = LiveReader(
        address, stream=stream, max_pixels=max_pixels, timeout_s=options.timeout_s, tries=options.tries,
        every_frame=options.max_latency_s is None,
    )  # fmt: skip
    try:
        with no_signals():
            reader.start()
        reader.ready()
        if reader.is_file:
            return _remote_file(address, selection, stream, max_pixels, options)
        if selection.start_s:
            raise usage_error(f"--start is for files, and {address.public} is live: it begins now")
    except BaseException:
        reader.close()
        raise
    return LiveSource(reader, selection)


def _remote_file(
    address: Address, selection: Selection, stream: int | None, max_pixels: int, options: LiveOptions
) -> VideoSource:
    if options.chosen:
        raise usage_error(
            f"{', '.join(options.chosen)}: for live sources, and {address.public} is a file with an end"
        )
    reader = RemoteFile(
        address, timeout_s=options.timeout_s, stream=stream, start_s=selection.start_s, end_s=selection.end_s,
        max_pixels=max_pixels,
    )  # fmt: skip
    source = VideoSource(reader, selection)
    source.paths, source.is_remote = (), True
    seconds = reader.info.duration_s
    length = "" if seconds is None else f" of {seconds:.1f} s"
    source.note(f"{address.public} is a file{length}: read to its end, no frame is dropped")
    return source


# What `segment` asks of a source, live or not ------------------------------------------------------------------------


def live_options(config: SegmentConfig) -> LiveOptions:
    """How a live source is to be read."""
    latency = MAX_LATENCY_S if config.max_latency_s is None else config.max_latency_s
    return LiveOptions(
        max_latency_s=None if config.every_frame else latency,
        timeout_s=TIMEOUT_S if config.timeout_s is None else config.timeout_s,
        tries=TRIES if config.reconnect is None else config.reconnect,
        chosen=config.live_options_given,
    )


def public_name(source: str) -> str:
    """What a source is called from when it is open: an address without what is secret in it."""
    return parse_address(source).public if is_address(source) else source


def inbox_of(source: Any, config: SegmentConfig, watched: Watched) -> Inbox | None:
    """The queue of a live source; None for any other."""
    if not isinstance(source, LiveSource):
        return None
    return Inbox(
        source, live_options(config).max_latency_s, tick_s=None if watched.screen is None else _TICK_S
    )


def tapped(sink: Sink, source: Any, artist: Artist, watched: Watched) -> Sink:
    """The sink with what is to see its pictures: a window, and of a live source the next picture's time."""
    if isinstance(source, LiveSource):
        sink = HeldSink(sink)
    if watched.screen is None:
        return sink
    watched.screen.colours = artist.label_colours()
    return ToldSink(sink, watched.screen.put)


def live_report(source: Any, inbox: Inbox | None) -> dict[str, Any]:
    """What a report tells of a source beside its frames."""
    live = source.live if isinstance(source, LiveSource) else None
    return {
        "frames_dropped": 0 if inbox is None else inbox.dropped,
        "reconnects": 0 if live is None else live.reconnects,
        "gaps": [] if live is None else [gap.to_dict() for gap in live.gaps],
        "notices": list(source.notices),
    }
