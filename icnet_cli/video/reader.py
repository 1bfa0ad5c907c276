"""Reading a video frame by frame, each with its own time, counting every wound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.errors import input_error, printable, usage_error
from icnet_cli.video.counted import Mark
from icnet_cli.video.decoding import Decoding
from icnet_cli.video.frame import Converter, Frame, Turn
from icnet_cli.video.info import VideoInfo, describe
from icnet_cli.video.one_clock import can_restart
from icnet_cli.video.pyav import rate_of, sample_aspect_of
from icnet_cli.video.source import DEFAULT_MAX_PIXELS, reading

__all__ = ["Frame", "Mark", "VideoInfo", "VideoReader", "open_video"]

_LEAST_UNREAD = 1 << 18  # bytes: less is what the container adds to the last picture, and the sound beside it


class VideoReader(Decoding):
    """Iterates over the frames of one video stream; made by `open_video`, used as a context manager.

    While iterating, `frames_read`, `frames_damaged` (decoded with errors, or stamped with a wrong time; those of them
    that decoded well are the `frames_mistimed`), `frames_moved` (stamped no later than the frame before, and given a
    tick behind it) and `frames_lost` (packets that gave no picture) grow. After the last frame `finished` is True and
    `shortfall` says what a truncated file lacks, or is None. `mark` is where the frame that was given last stands.
    `other_aspect` is the shape that samples changed to on the way; None: they have kept it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        stream: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        super().__init__(Path(path), start_s, end_s, max_pixels)
        self.name: str | Path = self.path  # what messages call it
        self._begin(stream)

    def _begin(self, stream: int | None) -> None:
        self.frames_read = self.frames_damaged = 0
        self.finished = False
        self.mark = Mark(0, 0)
        self.other_aspect: Fraction | None = None
        try:
            with reading(self.path):
                self._begin_decoding(stream)
                self._look_at(self._first_in_range())
        except BaseException:
            self.close()
            raise

    def _look_at(self, first: Any) -> None:
        """Know the video by its first picture, which may contradict what was declared."""
        self._check_pixels(first.width, first.height)
        self._aspect = self._coded_aspect
        rate = rate_of(self._stream)
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

    @property
    def unread_share(self) -> float:
        """Of the file's bytes, those behind its last packet of this stream, once it has been read to its end.

        0 where that is no news: files in which no other stream of pictures can begin on the way.
        """
        restarts = self._is_here and can_restart(self._container)
        if not (self.finished and restarts and self._clock.end >= 0) or self._cut_short:
            return 0.0
        size = self._size_in_bytes()
        rest = size - self._clock.end
        return rest / size if rest > _LEAST_UNREAD else 0.0

    @property
    def _coded_aspect(self) -> Fraction:
        """The shape of samples as the decoder has it now, which the container may have told otherwise all along."""
        return sample_aspect_of(self._stream.codec_context)

    def _size_in_bytes(self) -> int:
        return self.path.stat().st_size

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

    def __iter__(self) -> Iterator[Frame]:
        if not self.finished:
            self._refuse_closed()
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
        corrupt, mistimed = bool(picture.is_corrupt), self._stamps.take_guess(picture.pts)
        damaged = corrupt or mistimed
        index = self._first_index + self.frames_read
        self.mark = self._mark(index, picture)
        self.frames_damaged += damaged
        self.frames_mistimed += mistimed and not corrupt
        self.frames_moved += self._stamps.take_move(picture.pts)
        if self.other_aspect is None and self._coded_aspect != self._aspect:
            self.other_aspect = self._coded_aspect
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
        seekable = self._reopens and self._stamps.all_own and read.all_dated and not any(wounds)
        seekable = seekable and not self._clock.seams  # behind which a time may be found twice
        byte = self._clock.position if can_restart(self._container) else None
        return Mark(
            index, picture.pts, read.newest_dts, read.packets, read.end, read.skipped, *wounds, seekable, byte
        )

    def _last_duration(self, picture: Any) -> int:
        """How long the last picture is shown: to the track's own end where the file declares it and was read to it."""
        own = int(picture.duration) or self._guessed_ticks
        if self._cut_short or self.shortfall is not None or self._declared.end is None:
            return own
        rest = round(self._declared.end / self._time_base) - picture.pts
        return rest if rest > 0 else own

    def resume_at(self, mark: Mark) -> bool:
        """Go on with the frame that `mark` was made at, decoding from the key frame before it.

        Returns:
            False where that frame does not show up: then `restart` and read on to it.
        """
        with reading(self.path):
            self._decoded.close()
            self._latest_byte = mark.byte
            self._read_before(mark.pts * self._time_base)
            # What precedes the frame in time is decoded and dropped: B-frames, and those of an open GOP.
            self._given_pts = mark.pts - 1
            self._begin_stamps(mark.pts - 1)
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
