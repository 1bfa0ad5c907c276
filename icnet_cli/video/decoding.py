"""From a container to pictures in order, each with a time: opening, seeking, decoding on through damage.

A decoder does not fail on a damaged file: it goes quiet. So lost packets are counted, and what came out is compared
with what the file declares.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags

from icnet_cli.errors import input_error, printable, usage_error
from icnet_cli.video.counted import Counted, frames_before
from icnet_cli.video.declared import Declared, Shortfall, declared_by, looked_into
from icnet_cli.video.one_clock import VideoClock, can_restart, packets_of, ticks_per_frame
from icnet_cli.video.pyav import time_base_of
from icnet_cli.video.source import choose_video, decoder_limit, open_source, require_known_codec
from icnet_cli.video.stamps import Stamps, stamp

# FFmpeg's decoder of HEVC, with a thread a picture, waits for ever for what a damaged file refers to; with threads
# within a picture it takes 1.3 times as long (1280x720, two cores), a fraction of what the network takes.
_NO_FRAME_THREADS = ("hevc",)

# Codecs of whose pictures none begins with zeros alone.
_NEVER_BLANK = frozenset(
    ("h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "vp9", "libdav1d", "av1")
)

# A decoder that fails this often without giving a single frame in between has nothing more to give.
_HOPELESS = 200

# Packets at the end that a decoder took without a word and gave nothing for: another codec's, where a broadcaster has
# changed it on the way. Fewer are nobody's fault, as the fields of one picture are.
_MUTE = 16

# Range ends come as decimal seconds, frame times as fractions: half a millisecond lets a printed time find its
# own frame, and is less than the distance of any two frames.
_SLACK = Fraction(1, 2000)


class Decoding:
    """The pictures of one stream in a range of seconds: what a `VideoReader` makes its frames of.

    What differs where the source is no file stands in methods of its own: `connect`, `_connect`, `_declaration`.
    """

    _reopens = True  # a pipe is read once
    _is_here = True  # a file of this machine, that can be looked into

    def __init__(self, path: Path, start_s: float | None, end_s: float | None, max_pixels: int) -> None:
        self.path, self.start_s, self.end_s, self.max_pixels = path, start_s, end_s, max_pixels
        self._container: Any = None
        self._closed = False
        # A container that is closed while it is read, or read once it is closed, takes the whole process with it.
        self._reading = threading.RLock()

    def _begin_decoding(self, number: int | None) -> None:
        """Open stream `number` (None: the best one) and stand at the beginning of the range."""
        self._closed = False
        self.frames_lost = 0
        self.shortfall: Shortfall | None = None
        self._await_key = False
        self._threaded = True  # pictures decoded several at once
        self._given_pts: int | None = None  # pictures up to here have been given
        self._cut_short = False  # the range ended before the file did
        # Of the file, where a seek may land: behind it a clock can have begun anew.
        self._latest_byte: int | None = None
        self._open(number)
        self._declared = self._declaration()
        self._offset = Fraction(self._container.start_time or 0, av.time_base)
        if (self._stream.start_time or 0) >= 0:
            # Sound may begin a little before zero (an encoder's priming); players do not show that.
            self._offset = max(self._offset, Fraction(0))
        self._guessed_ticks = ticks_per_frame(self._stream)
        self._counted = Counted(self._time_base, self._guessed_ticks)
        self._begin_stamps()
        start, self._first_index = self._start, 0
        # Of the file, where the range begins; None: nothing of it has been read yet.
        self._range_byte: int | None = 0 if start is None else None
        if start is not None:  # so that `index` is the source's own number
            self._first_index = frames_before(self._packets(), self._time_base, start)
            self._latest_byte = self._clock.position if can_restart(self._container) else None
            self._seek_to_start(start)
        self._decoded = self._decode()

    # -- opening

    def connect(self) -> Any:
        """A container of the source: to read it, and once more for its other tracks."""
        return open_source(self.path, max_pixels=self.max_pixels)

    def _connect(self) -> Any:
        return self.connect()

    def _declaration(self) -> Declared:
        return declared_by(self._container, self._stream, self.path)

    def _declaration_now(self) -> Declared:
        """At the end of reading, what was declared and what the file is now: it may have been cut meanwhile."""
        if not self._is_here:
            return self._declared
        since = sys.maxsize if self._range_byte is None else self._range_byte
        try:
            return looked_into(self._declared, str(self._container.format.name), self.path, since)
        except OSError:  # it has another name now, and was read all the same
            return replace(self._declared, complete=True)

    def _open(self, number: int | None) -> None:
        self._container = self._connect()
        self._stream = choose_video(self._container, self.path, number)
        require_known_codec(self._stream, self.path)
        self._time_base = time_base_of(self._stream)
        self._begin_clock()
        context = self._stream.codec_context
        self._check_pixels(context.width, context.height)
        context.options = {"max_pixels": decoder_limit(self.max_pixels)}
        # Asked now: of a decoder that then cannot be opened PyAV 19 has none, and ends the process.
        name = context.name
        self._never_blank = name in _NEVER_BLANK
        frame_threads = self._threaded and name not in _NO_FRAME_THREADS
        context.thread_type = "AUTO" if frame_threads else "SLICE"
        context.flags |= Flags.output_corrupt  # what can be shown is shown, flagged and counted

    def _begin_clock(self) -> None:
        self._clock = VideoClock(self._stream, restarts=can_restart(self._container))

    def _begin_stamps(self, last: int | None = None) -> None:
        self._stamps = Stamps(self._time_base, self._guessed_ticks, last)
        self.frames_mistimed = self.frames_moved = 0

    def _reopen(self) -> None:
        """From the beginning, in a decoder that remembers nothing."""
        with self._reading:
            self._refuse_closed()
            index = self._stream.index  # a stream's memory goes with its container
            self._container.close()
            self._open(index)

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise input_error(
                f"{printable(self.path)} has pictures of {height}x{width}, over the limit of {self.max_pixels} "
                "pixels; raise the limit with --max-pixels if you trust the file"
            )

    # -- where in time

    @property
    def _start(self) -> Fraction | None:
        # Ranges are given from the file's own beginning, as players show time; streams of
        # recorders and broadcasters begin at any number.
        return None if not self.start_s else self._offset + Fraction(self.start_s) - _SLACK

    @property
    def origin(self) -> Fraction | None:
        """What an output has at zero, in seconds on the source's clock; None: that clock is kept.

        Pictures before zero (a transport stream's, whose clock wraps in its first minute) would be shown by no player.
        """
        if self.start_s:
            return self._offset + Fraction(self.start_s)
        return self._offset if self._offset < 0 else None

    @property
    def range_end(self) -> Fraction | None:
        """Where the range ends, in seconds on the source's clock; None: with the file."""
        return None if self.end_s is None else self._offset + Fraction(self.end_s) - _SLACK

    def _seek_to_start(self, start: Fraction) -> None:
        """Go to a key frame at or before the range: further back where the index of the file is rough (mpeg-ts)."""
        if self._clock.seams:  # a seek does not know which of two clocks is meant
            self._reopen()
            return
        for back in (0, 2, 10, 60):
            if start - back <= self._offset:
                break
            if self._stand_at_key(start - back, start):
                return
        self._reopen()

    def _read_before(self, at: Fraction) -> None:
        """Read on from a key frame at or before `at`, in a decoder that remembers nothing."""
        joined = bool(self._clock.seams)
        self._reopen()
        if not joined and not self._stand_at_key(at, at):
            self._reopen()  # no index to seek by: from the beginning

    def _stand_at_key(self, at: Fraction, latest: Fraction) -> bool:
        """Seek `at`; whether a key frame no later than `latest` is read next."""
        with self._reading:
            self._refuse_closed()
            self._seek(at)
            key = next((p for p in self._container.demux(self._stream) if p.is_keyframe and p.size), None)
        if key is None or key.pts is None or key.pts * self._time_base > latest:
            return False
        if self._latest_byte is not None and key.pos is not None and key.pos > self._latest_byte:
            return False  # in another recording, by whose clock it is the same time
        self._seek(at)  # looking has read on
        self._await_key = True  # what precedes it cannot be decoded
        return True

    def _seek(self, at: Fraction) -> None:
        self._begin_clock()  # to go back by seeking is no seam
        with contextlib.suppress(av.FFmpegError):  # elementary streams cannot be sought: read on from here
            self._container.seek(math.floor(at / self._time_base), stream=self._stream, backward=True)

    # -- decoding

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream, on one clock from the file's beginning to its end."""
        clock = self._clock
        packets = packets_of(self._container, self._stream, self._stumbled)
        while (packet := self._next_of(packets)) is not None:
            yield from clock.feed(packet)
        yield from clock.flush()

    def _next_of(self, packets: Iterator[Any]) -> Any:
        with self._reading:
            self._refuse_closed()
            return next(packets, None)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise usage_error(f"{printable(self.path)} was closed before its end; open it again to read on")

    def _stumbled(self) -> None:
        self.frames_lost += 1

    def _decode(self) -> Generator[Any, None, None]:
        """av.VideoFrames in the range, in order, with a pts each."""
        start, end = self._start, self.range_end
        for picture in self._timed():
            if end is not None and picture.pts * self._time_base >= end:
                self._cut_short = True
                return
            if start is None or picture.pts * self._time_base >= start:
                yield picture
        self._find_shortfall()
        if self._may_go_back():
            found = self.shortfall
            self._go_back()
            yield from self._decode()
            # A seek may lead to what reading on did not find (AVI, by its index): something is missing all the same.
            self.shortfall = found

    def _timed(self) -> Iterator[Any]:
        """Pictures that have not been given yet, each with its time."""
        for picture in self._pictures():
            if not self._was_given(picture):
                yield from self._stamps.feed(picture)
        yield from self._stamps.flush()

    def _pictures(self) -> Iterator[Any]:
        """Whatever can be decoded, in order."""
        failures = unanswered = 0
        answers = False  # a decoder of many threads, or a short file, has its first picture late
        for packet in self._packets():
            self._counted.note(packet)
            if self._range_byte is None and self._is_in_range(packet):
                self._range_byte = packet.pos
            if self._await_key and packet.size and not packet.is_keyframe:
                continue
            if self._is_blank(packet):
                self.frames_lost += self._counted.is_new(packet)
                continue
            self._await_key = False
            try:
                pictures = self._stream.codec_context.decode(packet)
            except Exception:
                # One bad packet is not the end: count it and go on with the next.
                self.frames_lost += bool(packet.size) and self._counted.is_new(packet)
                failures += 1
                if failures >= _HOPELESS:
                    return
                continue
            if not packet.size:  # the end: what waited in the decoder
                unanswered -= len(pictures)
            elif pictures:
                failures = unanswered = 0
                answers = True
            else:
                unanswered += answers
            yield from pictures
        # Where the demuxer was given up, nothing has asked the decoder yet for what waits in it.
        with contextlib.suppress(Exception):
            yield from self._stream.codec_context.decode(None)
        if unanswered >= _MUTE and can_restart(self._container):
            self.frames_lost += unanswered

    def _is_in_range(self, packet: Any) -> bool:
        """Whether a packet's picture is shown no earlier than the range begins."""
        start = self._start
        return packet.pts is not None and (start is None or packet.pts * self._time_base >= start)

    def _is_blank(self, packet: Any) -> bool:
        """Whether a packet holds zeros alone, as those of a hollow file do: FFmpeg's MPEG-4 makes pictures of them."""
        return self._never_blank and packet.size > 1 and not bytes(packet).strip(b"\0")

    def _may_go_back(self) -> bool:
        # By its time it is known what was given before: not where a stamp is wrong.
        known = self._stamps.last is not None and not self._stamps.any_wrong
        return self.shortfall is not None and self._threaded and self._reopens and known

    def _go_back(self) -> None:
        """Read again from before the last picture, decoding one at a time.

        At the broken last packet of a truncated file, a decoder of several threads drops the good pictures that wait
        in it without a word; seen with HEVC.
        """
        last = self._stamps.last
        assert last is not None
        self._threaded = False
        self._given_pts = last
        self._counted.read_again()
        self._read_before(last * self._time_base)

    def _was_given(self, picture: Any) -> bool:
        """Whether this picture was given before we went back; the first that was not ends the asking."""
        if self._given_pts is None:
            return False
        at = stamp(picture)
        if at is not None and at <= self._given_pts:
            return True
        self._given_pts = None
        return False

    def _find_shortfall(self) -> None:
        packets, end = None if self.start_s else self._counted.packets, self._counted.end
        frame_s = self._guessed_ticks * self._time_base
        self.shortfall = self._declaration_now().compare(packets, end, frame_s, self._counted.skipped)
        if self.range_end is not None and end is not None and end >= self.range_end:
            self.shortfall = None  # what is missing lies outside the range

    def close(self) -> None:
        """Close the file, in whatever thread. Frames that were handed out stay valid; to read on is refused.

        It waits for the packet that another thread is reading, of a pipe for as long as nothing comes.
        """
        with self._reading:
            self._closed = True
            if self._container is not None:
                self._container.close()
