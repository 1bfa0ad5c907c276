"""Reading a video frame by frame, each with its own time, counting every wound.

A decoder does not fail on a damaged file: it goes quiet. So the reader counts damaged frames and
lost packets, and compares what came out with what the file declares.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags

from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.video.counted import Counted, Mark, frames_before
from icnet_cli.video.declared import Declared, Shortfall, declared_by
from icnet_cli.video.frame import Converter, Frame, Turn
from icnet_cli.video.info import VideoInfo, describe
from icnet_cli.video.source import (
    DEFAULT_MAX_PIXELS,
    choose_video,
    decoder_limit,
    open_source,
    printable,
    reading,
    require_known_codec,
)

__all__ = ["Frame", "Mark", "VideoInfo", "VideoReader", "open_video"]

# A decoder that fails this often without giving a single frame in between has nothing more to give.
_HOPELESS = 200

# Range ends come as decimal seconds, frame times as fractions: half a millisecond lets a printed time find its
# own frame, and is less than the distance of any two frames.
_SLACK = Fraction(1, 2000)


class VideoReader:
    """Iterates over the frames of one video stream; made by `open_video`, used as a context manager.

    While iterating, `frames_read`, `frames_damaged` (decoded with errors) and `frames_lost` (packets that gave no
    picture) grow. After the last frame `finished` is True and `shortfall` says what a truncated file lacks, or is None.
    `mark` is where the frame that was given last stands.
    """

    _reopens = True  # a pipe is read once

    def __init__(
        self,
        path: str | Path,
        *,
        stream: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.path, self.start_s, self.end_s = Path(path), start_s, end_s
        self.name: str | Path = self.path  # what messages call it
        self.max_pixels = max_pixels
        self._container: Any = None
        self._begin(stream)

    def _begin(self, stream: int | None) -> None:
        self.frames_read = self.frames_damaged = self.frames_lost = 0
        self.finished = False
        self.shortfall: Shortfall | None = None
        self.mark = Mark(0, 0)
        self._first_index = 0
        self._await_key = False
        self._threaded = True  # pictures decoded several at once
        self._given_pts: int | None = None  # pictures up to here have been given
        self._times_own = True  # no picture's time had to be made up
        self._cut_short = False  # the range ended before the file did
        try:
            with reading(self.path):
                self._prepare(stream)
        except BaseException:
            self.close()
            raise

    # -- opening; what differs where the source is no file stands in methods of its own

    def connect(self) -> Any:
        """A container of the source: to read it, and once more for its other tracks."""
        return open_source(self.path, max_pixels=self.max_pixels)

    def _connect(self) -> Any:
        return self.connect()

    def _declaration(self) -> Declared:
        return declared_by(self._container, self._stream, self.path)

    def _size_in_bytes(self) -> int:
        return self.path.stat().st_size

    def _open(self, number: int | None) -> None:
        self._container = self._connect()
        self._stream = choose_video(self._container, self.path, number)
        require_known_codec(self._stream, self.path)
        self._time_base: Fraction = self._stream.time_base
        context = self._stream.codec_context
        self._check_pixels(context.width, context.height)
        context.options = {"max_pixels": decoder_limit(self.max_pixels)}
        context.thread_type = "AUTO" if self._threaded else "SLICE"
        context.flags |= Flags.output_corrupt  # what can be shown is shown, flagged and counted

    def _prepare(self, number: int | None) -> None:
        self._open(number)
        self._declared = self._declaration()
        # Sound may begin a little before zero (an encoder's priming); players do not show that.
        self._offset = max(Fraction(self._container.start_time or 0, av.time_base), Fraction(0))
        self._last_pts: int | None = None
        self._guessed_ticks = self._ticks_per_frame()
        self._counted = Counted(self._time_base, self._guessed_ticks)
        start = self._start
        if start is not None:  # so that `index` is the source's own number
            self._first_index = frames_before(self._container, self._stream, start)
            self._seek_to_start()
        self._decoded = self._decode()
        first = self._first_in_range()
        self._check_pixels(first.width, first.height)
        rate = self._stream.average_rate or self._stream.guessed_rate or None
        self.info = describe(
            self._container, self._stream, first, self._declared, size=self._size_in_bytes(), rate=rate,
            frames_estimated=self._declared.expected(rate, self._first_index, self.end_s),
        )  # fmt: skip
        self._converter = Converter(
            self.info.colour, first.width, first.height, Turn(self.info.rotation, self.info.mirrored)
        )
        self._ahead: deque[Any] = deque([first])
        # A frame made anew cannot be told its field order; a copy of this one has it.
        self.field_template = first if self.info.interlaced and not self._converter.turn else None

    def _check_pixels(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise input_error(
                f"{printable(self.path)} has pictures of {height}x{width}, over the limit of {self.max_pixels} "
                "pixels; raise the limit with --max-pixels if you trust the file"
            )

    def _ticks_per_frame(self) -> int:
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return max(1, round(1 / (rate * self._time_base)))

    @property
    def _start(self) -> Fraction | None:
        # Ranges are given from the file's own beginning, as players show time; streams of
        # recorders and broadcasters begin at any number.
        return None if not self.start_s else self._offset + Fraction(self.start_s) - _SLACK

    @property
    def range_end(self) -> Fraction | None:
        """Where the range ends, in seconds on the source's clock; None: with the file."""
        return None if self.end_s is None else self._offset + Fraction(self.end_s) - _SLACK

    def _seek_to_start(self) -> None:
        """Go to a key frame at or before the range: further back where the index of the file is rough (mpeg-ts)."""
        start = self._start
        assert start is not None
        for back in (0, 2, 10, 60):
            at = start - back
            if at <= self._offset:
                break
            self._seek(at)
            key = next((p for p in self._container.demux(self._stream) if p.is_keyframe and p.size), None)
            if key is not None and key.pts is not None and key.pts * self._time_base <= start:
                self._seek(at)
                self._await_key = True  # what precedes it cannot be decoded
                return
        index = self._stream.index  # a stream's memory goes with its container
        self._container.close()
        self._open(index)

    def _seek(self, at: Fraction) -> None:
        with contextlib.suppress(av.FFmpegError):  # elementary streams cannot be sought: read on from here
            self._container.seek(math.floor(at / self._time_base), stream=self._stream, backward=True)

    def _first_in_range(self) -> Any:
        first = next(self._decoded, None)
        if first is not None:
            return first
        if self.start_s:
            raise usage_error(f"{printable(self.path)} has no frame at or after {self.start_s:g} s")
        context, hint = self._stream.codec_context, ""
        if not context.width * context.height:  # probing gave up, which the limit makes it do too
            hint = f", or its pictures are over the limit of {self.max_pixels} pixels (--max-pixels)"
        raise input_error(f"cannot read {printable(self.path)}: no picture in it could be decoded{hint}")

    # -- decoding

    def _go_back(self) -> None:
        """Read again from before the last picture, decoding one at a time.

        At the broken last packet of a truncated file, a decoder of several threads drops the good pictures that wait
        in it without a word; seen with HEVC.
        """
        assert self._last_pts is not None
        self._threaded = False
        self._given_pts = self._last_pts
        self._counted.read_again()
        self._read_before(self._last_pts * self._time_base)

    def _read_before(self, at: Fraction) -> None:
        """Read on from a key frame at or before `at`, in a decoder that remembers nothing."""
        index = self._stream.index
        self._container.close()
        self._open(index)
        self._seek(at)
        key = next((p for p in self._container.demux(self._stream) if p.is_keyframe and p.size), None)
        if key is not None and key.pts is not None and key.pts * self._time_base <= at:
            self._seek(at)
            self._await_key = True
            return
        self._container.close()  # no index to seek by: from the beginning
        self._open(index)

    def resume_at(self, mark: Mark) -> bool:
        """Go on with the frame that `mark` was made at, decoding from the key frame before it.

        Returns:
            False where that frame does not show up: then `restart` and read on to it.
        """
        with reading(self.path):
            self._decoded.close()
            self._read_before(mark.pts * self._time_base)
            # What precedes the frame in time is decoded and dropped: B-frames, and those of an open GOP.
            self._given_pts = self._last_pts = mark.pts - 1
            self._counted.go_on_from(mark)
            self.frames_damaged, self.frames_lost = mark.frames_damaged, mark.frames_lost
            self.frames_read = mark.index - self._first_index
            self._decoded = self._decode()
            first = next(self._decoded, None)
        self._ahead = deque([] if first is None else [first])
        return first is not None and first.pts == mark.pts

    def restart(self) -> None:
        """Begin again with the first frame of the range."""
        self.close()
        self._begin(self.info.stream_index)

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream; a demuxer that stumbles is asked again a few times before it is given up."""
        for _ in range(8):
            try:
                yield from self._container.demux(self._stream)
                return
            except IcnetError:
                raise
            except Exception:
                self.frames_lost += 1

    def _decode(self) -> Generator[Any, None, None]:
        """av.VideoFrames in the range, in order, with a pts each."""
        start, end = self._start, self.range_end
        failures = 0
        for packet in self._packets():
            self._counted.note(packet)
            if self._await_key and packet.size and not packet.is_keyframe:
                continue
            self._await_key = False
            try:
                pictures = self._stream.codec_context.decode(packet)
            except Exception:
                # One bad packet is not the end: count it and go on with the next.
                self.frames_lost += bool(packet.size) and self._counted.is_new(packet)
                failures += 1
                if failures >= _HOPELESS:
                    break
                continue
            for picture in pictures:
                failures = 0
                if self._was_given(picture):
                    continue
                self._give_time(picture)
                if end is not None and picture.pts * self._time_base >= end:
                    self._cut_short = True
                    return
                if start is None or picture.pts * self._time_base >= start:
                    yield picture
        self._find_shortfall()
        if self.shortfall is not None and self._threaded and self._reopens and self._last_pts is not None:
            self._go_back()
            yield from self._decode()

    def _was_given(self, picture: Any) -> bool:
        """Whether this picture was given before we went back; the first that was not ends the asking."""
        if self._given_pts is None:
            return False
        pts = picture.pts if picture.pts is not None else picture.dts
        if pts is not None and pts <= self._given_pts:
            return True
        self._given_pts = None
        return False

    def _give_time(self, picture: Any) -> None:
        """Make sure of a pts that is later than the last one's: encoders and players take no other."""
        pts = picture.pts if picture.pts is not None else picture.dts
        if pts is None or (self._last_pts is not None and pts <= self._last_pts):
            self._times_own = False
        if self._last_pts is not None:
            if pts is None:
                pts = self._last_pts + self._guessed_ticks
            elif pts <= self._last_pts:
                pts = self._last_pts + 1
        picture.pts = self._last_pts = pts or 0

    def _find_shortfall(self) -> None:
        packets, end = None if self.start_s else self._counted.packets, self._counted.end
        self.shortfall = self._declared.compare(packets, end, self._guessed_ticks * self._time_base)
        if self.range_end is not None and end is not None and end >= self.range_end:
            self.shortfall = None  # what is missing lies outside the range

    # -- iterating

    def __iter__(self) -> Iterator[Frame]:
        with reading(self.path):
            while self._ahead:
                current = self._ahead.popleft()
                following = next(self._decoded, None)
                if following is not None:
                    self._ahead.append(following)
                yield self._frame(current, following)
            self.finished = True

    def _frame(self, picture: Any, following: Any) -> Frame:
        # A picture is shown until the next one comes, whatever its packet said: with B-frames in mp4 the
        # packets' durations are those of decoding order.
        duration = following.pts - picture.pts if following is not None else self._last_duration(picture)
        damaged = bool(picture.is_corrupt)
        index = self._first_index + self.frames_read
        self.mark = self._mark(index, picture)
        self.frames_damaged += damaged
        self.frames_read += 1
        return Frame(
            index,
            picture.pts,
            self._time_base,
            duration,
            bool(picture.key_frame),
            damaged,
            picture,
            self._converter,
        )

    def _mark(self, index: int, picture: Any) -> Mark:
        read, wounds = self._counted, (self.frames_damaged, self.frames_lost)
        seekable = self._reopens and self._times_own and read.all_dated and not any(wounds)
        return Mark(index, picture.pts, read.newest_dts, read.packets, read.end, *wounds, seekable)

    def _last_duration(self, picture: Any) -> int:
        """How long the last picture is shown: to the track's own end where the file declares it and was read to it."""
        own = int(picture.duration) or self._guessed_ticks
        if self._cut_short or self.shortfall is not None or self._declared.end is None:
            return own
        rest = round(self._declared.end / self._time_base) - picture.pts
        return rest if rest > 0 else own

    def close(self) -> None:
        """Close the file. Frames that were handed out stay valid."""
        if self._container is not None:
            self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_video(
    source: str | Path,
    *,
    stream: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> VideoReader:
    """Open a video file and decode its first picture.

    Args:
        stream: index of the video stream in the file; default: the file's default video stream, never a cover picture.
        start_s, end_s: half-open range in seconds from the file's beginning.
        max_pixels: pictures with more pixels are refused before they are decoded.

    Raises:
        IcnetError: input_error (exit 3) where there is no such file, no video in it, or nothing decodable;
            usage_error (exit 2) for a range that holds no frame.
    """
    if start_s is not None and start_s < 0:
        raise usage_error(f"the start of a range cannot be negative: {start_s:g} s")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise usage_error(f"the range from {start_s or 0:g} s to {end_s:g} s is empty")
    return VideoReader(source, stream=stream, start_s=start_s, end_s=end_s, max_pixels=max_pixels)
