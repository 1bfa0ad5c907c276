"""Writing a video whose pictures are ours and whose everything else is the source's.

Frames keep their times; other tracks are copied packet by packet beside them; the file appears under
its name only when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from icnet_cli.errors import input_error, printable
from icnet_cli.outputs import refuse_unwritable
from icnet_cli.video.atomic import writing_error
from icnet_cli.video.colour import HDR, Colour, assumed_matrix, without_hdr
from icnet_cli.video.containers import OutputPlan, check_output
from icnet_cli.video.encoding import Encoding
from icnet_cli.video.frame import Planes
from icnet_cli.video.partfolder import PartFolder
from icnet_cli.video.pictures import Painter, pix_fmt_for
from icnet_cli.video.reader import VideoReader
from icnet_cli.video.targets import FileTarget, Joint, SegmentTarget
from icnet_cli.video.tracks import OtherTracks

__all__ = ["VideoWriter", "check_output"]

_SHAPE_CURES = {".webm": "; name the output .mkv or .mp4"}


class VideoWriter:
    """Encodes frames to `path`; a context manager that publishes the file on a clean exit and leaves nothing otherwise.

    Pictures are upright and carry no rotation flag: the one form that every player shows right.

    With a `folder` it encodes in segments: `cut` ends one, and the next has an encoder of its own; `close` joins them.
    Where the folder holds some already, `resume` goes on behind the last.

    Args:
        path: output; its suffix names the container.
        source: the reader whose times, colours, aspect ratio, metadata and other tracks the output keeps.
        width, height: size of the frames that will be written; an odd size gains one repeated column or row in 4:2:0
            (`padded` says so).
        codec: h264, hevc, av1, vp9, ffv1 or a hardware encoder's name; default: the container's first.
        crf, preset: default: good, and capped at about the source's own rate.
        pix_fmt: default yuv420p; for ffv1 whatever stores the first frame exactly.
        frame_rate: nominal rate where there is no source.
        no_audio: leave the audio out.
        own_colours: nothing of the source's pictures is in these, so they are no HDR where it is.
        copy_other_streams: False copies no track, chapter or metadata.
        folder: claimed, and in the caller's hands: what is done stays in it when the writer is aborted.

    Raises:
        IcnetError: usage_error before any work (see `check_output`, `refuse_unwritable`, audio that the container
            cannot hold); output_error (exit 5) when the disk or the encoder fails.
    """

    def __init__(
        self,
        path: str | Path,
        source: VideoReader | None = None,
        *,
        width: int,
        height: int,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | None = None,
        pix_fmt: str | None = None,
        frame_rate: Fraction | None = None,
        time_base: Fraction | None = None,
        overwrite: bool = False,
        copy_other_streams: bool = True,
        no_audio: bool = False,
        own_colours: bool = False,
        folder: PartFolder | None = None,
    ) -> None:
        self.path = Path(path)
        self.width, self.height = width, height
        self.frames_written = 0
        self.left_out: tuple[str, ...] = ()  # tracks that the container cannot hold
        self._source, self._own_colours = source, own_colours
        self._crf, self._preset, self._pix_fmt = crf, preset, pix_fmt
        self._plan: OutputPlan = check_output(path, codec, crf=crf, preset=preset)
        inputs = () if source is None else (source.path,)
        target = refuse_unwritable(self.path, overwrite=overwrite, inputs=inputs)
        self._rate = _nominal(frame_rate or (source.info.frame_rate if source else None))
        base = time_base or (source.info.time_base if source else Fraction(1, self._rate.numerator))
        # A whole tick in the numerator lets the container store it exactly (avi counts in 1001/30000).
        self._time_base = Fraction(1, base.denominator)
        self._shift = Fraction(0)
        self._end: Fraction | None = None
        self._last_pts: int | None = None
        self._was_cut: bool | None = None
        self._encoding: Encoding | None = None
        self._painter: Painter | None = None
        self._tracks: OtherTracks | None = None
        if source is not None and copy_other_streams:
            self._tracks = OtherTracks(
                source.name, source.connect(), source.info.stream_index, self._plan, no_audio=no_audio
            )
            self.left_out = self._tracks.left_out
        try:
            self._target = self._new_target(target, folder, overwrite)
        except BaseException:
            self._close_tracks()
            raise

    def _new_target(
        self, path: Path, folder: PartFolder | None, overwrite: bool
    ) -> FileTarget | SegmentTarget:
        source = self._source
        place, range_end = (0, None) if source is None else (source.info.stream_index, source.range_end)
        joint = Joint(self._plan, self._tracks, place, range_end)
        return (
            FileTarget(path, joint, overwrite=overwrite) if folder is None else SegmentTarget(folder, joint)
        )

    # -- what the output looks like

    @property
    def padded(self) -> bool:
        """Whether the picture gained a column or a row because 4:2:0 needs even sizes. Known after the first frame."""
        painter = self._painter
        return painter is not None and (painter.width, painter.height) != (self.width, self.height)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the picture, a line each. Known when the file is closed."""
        found, painter = [], self._painter
        if painter is not None and self.padded:
            sizes = f"{self.height}x{self.width} became {painter.height}x{painter.width}"
            found.append(
                f"{printable(self.path.name)}: {sizes} by a repeated row or column, which {painter.pix_fmt} needs"
            )
        found += [f"{printable(self.path.name)}: {lost}" for lost in self._lost()]
        if self._encoding is not None and self._target.shape_lost:
            found.append(
                f"{printable(self.path.name)}: its samples are {self._encoding.aspect} as wide as high, which this "
                f"{self._plan.suffix} file cannot say{_SHAPE_CURES.get(self._plan.suffix, '')}"
            )
        return (*found, *self._target.track_notes)

    def _lost(self) -> Iterator[str]:
        """What of the source's picture the output does not say; of labels that is nobody's matter."""
        source, encoding = self._source, self._encoding
        if source is None or encoding is None or encoding.pix_fmt == "gray":
            return
        if source.info.interlaced and encoding.fields == 1:
            yield "its pictures are interlaced, and nothing in it says so: only h264 in yuv420p is told"
        hdr = HDR.get(self.colour.transfer)
        if hdr:
            yield f"its {hdr} pictures are painted with 8 bits; what the source says of its mastering is not kept"

    @property
    def packets_lost(self) -> int:
        """Packets of other tracks that were damaged and could not be copied."""
        return self._target.packets_lost

    @property
    def colour(self) -> Colour:
        """How the written Y, U, V planes are read: the source's matrix and range."""
        if self._source is not None:
            colour = self._source.info.colour
            return without_hdr(colour) if self._own_colours else colour
        return Colour(assumed_matrix(self.height), full_range=False, matrix_assumed=True)

    # -- writing

    def write(
        self, picture: np.ndarray | Planes, *, pts: int, time_base: Fraction | None = None, duration: int = 0
    ) -> None:
        """Encode one upright picture.

        Args:
            picture: uint8 (H, W, 3) RGB, uint8 (H, W) grey (all 256 values), or the planes (Y, U, V) of 4:2:0 with the
                source's matrix and range.
            pts, duration: the frame's time in ticks of `time_base` (default: the source's), on the source's clock.

        Raises:
            IcnetError: output_error (exit 5) where the disk is full or the encoder fails.
        """
        base = time_base or (self._source.info.time_base if self._source else self._time_base)
        try:
            if self._painter is None:
                self._painter = self._open(picture, pts * base)
        except Exception as error:
            raise writing_error(self.path, error) from error
        frame = self._painter.frame(picture)
        try:
            self._encode(frame, pts * base, duration * base)
        except Exception as error:
            raise writing_error(self.path, error) from error

    def _encode(self, frame: Any, at: Fraction, duration: Fraction) -> None:
        ticks = round((at - self._shift) / self._time_base)
        if self._last_pts is not None and ticks <= self._last_pts:
            ticks = self._last_pts + 1
        frame.pts = self._last_pts = ticks
        frame.time_base = self._time_base
        duration = duration if duration > 0 else 1 / self._rate
        frame.duration = round(duration / self._time_base)
        self._end = at + duration
        self.frames_written += 1
        self._target.encode(frame)

    def _open(self, picture: np.ndarray | Planes, start: Fraction) -> Painter:
        """What waits for the first frame, because only then the pixel format is known."""
        if self._encoding is None:
            pix_fmt = self._pix_fmt or pix_fmt_for(self._plan.codec.encoder, picture)
            info = self._source.info if self._source else None
            if self._source is not None and self._source.origin is not None:
                self._shift = self._beginning(self._source, start)
            self._encoding = Encoding.of(
                self._plan, (self.width, self.height), pix_fmt, self.colour, time_base=self._time_base,
                rate=self._rate, info=info, interlaced=self._keeps_fields(pix_fmt), crf=self._crf,
                preset=self._preset,
            )  # fmt: skip
            self._target.begin(self._encoding, self._shift)
        fields = (
            self._source.field_template
            if self._source and self._keeps_fields(self._encoding.pix_fmt)
            else None
        )
        return self._encoding.painter(fields)

    def _beginning(self, source: VideoReader, first: Fraction) -> Fraction:
        """What becomes zero: a range's first picture, but not what is heard before it where that comes late."""
        origin = source.origin or Fraction(0)
        late = first - origin > 2 / self._rate
        return origin if not source.start_s or (late and self._tracks and self._tracks.streams) else first

    def _keeps_fields(self, pix_fmt: str) -> bool:
        """Whether the source's pattern of fields is kept: where there is one, and the encoder is told how."""
        known = self._source is not None and self._source.field_template is not None
        return known and self._plan.codec.encoder == "libx264" and pix_fmt == "yuv420p"

    # -- segments

    def cut(self, document: dict[str, Any]) -> None:
        """End the segment; `document` is kept with it, and `resume` needs what is added to it here.

        Raises:
            IcnetError: output_error (exit 5) where the disk is full or the encoder fails.
        """
        assert isinstance(self._target, SegmentTarget)
        try:
            self._target.cut({**document, "video": self._state()})
        except Exception as error:
            raise writing_error(self.path, error) from error

    def _state(self) -> dict[str, Any]:
        assert self._encoding is not None
        return {
            "encoding": self._encoding.to_dict(),
            "frames": self.frames_written,
            "last_pts": self._last_pts,
            "shift": _pair(self._shift),
            "end": None if self._end is None else _pair(self._end),
            "cut": self._ends_early(),
        }

    def resume(self) -> None:
        """Go on behind the last of the folder's segments."""
        for document in self._target.documents():
            self._take_up(document["video"])
        assert self._encoding is not None
        self._target.begin(self._encoding, self._shift)

    def _take_up(self, state: dict[str, Any]) -> None:
        """What one segment says of itself: the last one's holds."""
        self._encoding = Encoding.from_dict(state["encoding"])
        self.frames_written, self._last_pts = state["frames"], state["last_pts"]
        self._shift = Fraction(*state["shift"])
        self._end = None if state["end"] is None else Fraction(*state["end"])
        self._was_cut = state["cut"]

    # -- the end

    def close(self) -> None:
        """Finish the file and give it its name; with a `folder`, join its segments into its `whole` instead.

        Raises:
            IcnetError: input_error where no frame was written, output_error where the disk or the encoder fails.
        """
        if self._encoding is None:
            self.abort()
            raise input_error(f"no frame was written to {self.path.name}: the source gave none")
        try:
            self._target.finish(self._end, cut=self._ends_early(), attachments=self._attachments())
            self._close_tracks()
            self._target.publish()
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                raise writing_error(self.path, error) from error
            raise

    def _attachments(self) -> dict[str, Any]:
        """JSON documents that belong into the file, by their names."""
        return {}

    def _ends_early(self) -> bool:
        """Whether the other tracks stop with the pictures, as the reader was stopped early; else at their own ends."""
        if self._painter is None and self._was_cut is not None:
            return self._was_cut  # nothing was read by this run
        source = self._source
        return source is not None and (source.end_s is not None or not source.finished)

    def abort(self) -> None:
        """Give up: leave nothing behind but whole segments. Safe to call twice."""
        self._target.abort()
        self._close_tracks()

    def _close_tracks(self) -> None:
        if self._tracks is not None:
            self._tracks.close()
            self._tracks = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


def _pair(number: Fraction) -> list[int]:
    return [number.numerator, number.denominator]


def _nominal(rate: Fraction | None) -> Fraction:
    """A frame rate that an encoder may be told: streams of variable rate claim their clock's, 90000 and the like."""
    return rate if rate and Fraction(1, 100) <= rate <= 1000 else Fraction(25)
