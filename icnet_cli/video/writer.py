"""Writing a video whose pictures are ours and whose everything else is the source's.

Frames keep their times; other tracks are copied packet by packet beside them; the file appears under
its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from icnet_cli.errors import device_error, input_error, output_error
from icnet_cli.video.atomic import PartFile, refuse_unwritable, writing_error
from icnet_cli.video.colour import Colour, assumed_matrix
from icnet_cli.video.containers import OutputPlan, check_output, encoder_options, muxer_options, rate_cap
from icnet_cli.video.frame import Planes
from icnet_cli.video.pictures import Painter, pix_fmt_for
from icnet_cli.video.reader import VideoReader
from icnet_cli.video.tracks import DAMAGE, OtherTracks, carried_metadata

__all__ = ["VideoWriter", "check_output"]


class VideoWriter:
    """Encodes frames to `path`; a context manager that publishes the file on a clean exit and leaves nothing otherwise.

    Pictures are upright and carry no rotation flag: the one form that every player shows right.

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
        copy_other_streams: False copies no track, chapter or metadata.

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
    ) -> None:
        self.path = Path(path)
        self.width, self.height = width, height
        self.frames_written = 0
        self.left_out: tuple[str, ...] = ()  # tracks that the container cannot hold
        self.packets_lost = 0  # packets of other tracks that were damaged and could not be copied
        self._source = source
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
        self._held: Any = None  # the newest packet: the last one's duration is known only at the end
        self._first_dts = self._first_pts = 0
        self._output: Any = None
        self._encoder: Any = None
        self._painter: Painter | None = None
        self._tracks: OtherTracks | None = None
        if source is not None and copy_other_streams:
            self._tracks = OtherTracks(
                source.path,
                source.info.stream_index,
                self._plan,
                no_audio=no_audio,
                max_pixels=source.max_pixels,
            )
            self.left_out = self._tracks.left_out
        try:
            self._part = PartFile(target, overwrite=overwrite)
        except BaseException:
            self._close_tracks()
            raise

    # -- what the output looks like

    @property
    def padded(self) -> bool:
        """Whether the picture gained a column or a row because 4:2:0 needs even sizes. Known after the first frame."""
        return self._painter is not None and (self._painter.width, self._painter.height) != (
            self.width,
            self.height,
        )

    @property
    def encoder_name(self) -> str:
        return self._plan.codec.encoder

    @property
    def colour(self) -> Colour:
        """How the written Y, U, V planes are read: the source's matrix and range."""
        if self._source is not None:
            return self._source.info.colour
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
        self._mux_video(self._encoder.encode(frame))

    def _mux_video(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._held is None:
                self._first_dts, self._first_pts = packet.dts, packet.pts
            else:
                self._mux_one(self._held)
            self._held = packet

    def _mux_one(self, packet: Any) -> None:
        if self._tracks is None:
            self._output.mux_one(packet)
            return
        if packet.dts is not None:
            self._tracks.pump(self._output, packet.dts * self._time_base + self._shift)
        self._tracks.mux(self._output, packet)
        self.packets_lost = self._tracks.packets_lost

    def _mux_last(self) -> None:
        """Mux the packet that is last in decoding order, stretched so that the track ends when its last frame does.

        mp4 stores the distances between decoding times, and with B-frames the last packet is not the last picture.
        """
        packet, self._held = self._held, None
        if packet is None:
            return
        if self._end is not None and packet.dts is not None and self._first_dts is not None:
            end = round((self._end - self._shift) / self._time_base)
            stretched = self._first_dts + (end - self._first_pts) - packet.dts
            packet.duration = stretched if stretched > 0 else packet.duration
        self._mux_one(packet)

    # -- opening, at the first frame: only then the pixel format is known

    def _open(self, picture: np.ndarray | Planes, start: Fraction) -> Painter:
        pix_fmt = self._pix_fmt or pix_fmt_for(self._plan.codec.encoder, picture)
        even = self._plan.codec.family != "ffv1"  # the one codec here that takes odd sizes in 4:2:0
        painter = Painter(
            self.width, self.height, pix_fmt, self.colour, even=even, fields=self._fields(pix_fmt)
        )
        if self._source is not None and self._source.start_s:
            self._shift = start
            if self._tracks is not None:
                self._tracks.shift_by(start)
        tags = self._tracks.metadata if self._tracks else {}
        bases = [self._time_base, *(self._tracks.time_bases if self._tracks else [])]
        self._output = av.open(
            str(self._part.path),
            "w",
            format=self._plan.container.muxer,
            container_options=muxer_options(self._plan, bases, tags),
            metadata_errors="replace",
        )
        self._output.metadata.update(carried_metadata(tags, cut=bool(self._shift)))
        self._add_streams(painter)
        self._start_encoder()
        if self._tracks is not None:
            self._set_chapters()
        self._output.start_encoding()
        return painter

    def _fields(self, pix_fmt: str) -> Any:
        """The source's pattern of fields, where the encoder is told how to keep it."""
        keeps = self._plan.codec.encoder == "libx264" and pix_fmt == "yuv420p"
        return self._source.field_template if self._source is not None and keeps else None

    def _add_streams(self, painter: Painter) -> None:
        """The streams in the source's order, the video in its place."""
        others = self._tracks.streams if self._tracks else []
        place = self._source.info.stream_index if self._source else 0
        for stream in [s for s in others if s.index < place]:
            self._tracks.add_to(self._output, stream)  # type: ignore[union-attr]
        self._add_video(painter)
        for stream in [s for s in others if s.index > place]:
            self._tracks.add_to(self._output, stream)  # type: ignore[union-attr]

    def _add_video(self, painter: Painter) -> None:
        info = self._source.info if self._source else None
        pixels = self.width * self.height / (info.width * info.height) if info else 1.0
        cap = rate_cap(info.bit_rate, info.codec_name, self._plan.codec, pixels) if info else None
        options = encoder_options(self._plan, self._crf, self._preset, cap, painter.pix_fmt)
        fields = self._fields(painter.pix_fmt) is not None
        if fields:  # and no captions: the pattern's own would be written with every frame
            first = (
                "bff" if info is not None and info.field_order in (3, 4) else "tff"
            )  # AVFieldOrder: BB, TB
            options |= {"flags": "+ildct+ilme", "a53cc": "0", "x264-params": f"{first}=1"}
        stream = self._output.add_stream(
            self._plan.codec.encoder,
            self._rate,
            options,
            width=painter.width,
            height=painter.height,
            time_base=self._time_base,
        )
        context = stream.codec_context
        stream.time_base = self._time_base
        context.pix_fmt = painter.pix_fmt
        context.flags |= Flags.frame_duration  # variable rates keep each frame's own duration
        painter.tag(context)
        if info is not None:
            context.sample_aspect_ratio = info.sample_aspect_ratio
            context.field_order = info.field_order if fields else 1
        if self._plan.codec.family == "hevc" and self._plan.container.muxer in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # Apple's players want this name, not hev1
        if self._tracks is not None and info is not None:
            self._tracks.describe_video(stream, info.stream_index)
        self._encoder = stream

    def _start_encoder(self) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings unless told otherwise here
        try:
            self._encoder.codec_context.open()
        except Exception as error:
            name = self._plan.codec.encoder
            if self._plan.codec.hardware:
                raise device_error(
                    f"the encoder {name} could not start on this machine; use --codec h264"
                ) from error
            raise output_error(
                f"the encoder {name} refuses {self.height}x{self.width} {self._encoder.pix_fmt} video; "
                "choose another --codec or --pix-fmt"
            ) from error

    def _set_chapters(self) -> None:
        assert self._tracks is not None
        chapters = self._tracks.chapters(self._source.range_end if self._source else None)
        if chapters and self._plan.container.muxer in ("mp4", "mov", "matroska", "webm"):
            self._output.set_chapters(chapters)

    # -- the end

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            IcnetError: input_error where no frame was written, output_error where the disk or the encoder fails.
        """
        if self._output is None:
            self.abort()
            raise input_error(f"no frame was written to {self.path.name}: the source gave none")
        try:
            self._mux_video(self._encoder.encode(None))
            self._mux_last()
            if self._tracks is not None:
                self._tracks.pump(self._output, None, end=self._tracks_end())
                self.packets_lost = self._tracks.packets_lost
            self._finish()
            self._close_tracks()
            self._part.publish()
        except BaseException as error:
            self.abort()
            if isinstance(error, Exception):
                raise writing_error(self.path, error) from error
            raise

    def _finish(self) -> None:
        """Write the container's end; where sound is refused only now, make sure that every picture is in."""
        try:
            self._output.close()
        except DAMAGE:
            with av.open(str(self._part.path), format=self._plan.container.muxer) as made:
                pictures = sum(bool(packet.size) for packet in made.demux(video=0))
            if self._tracks is None or pictures != self.frames_written:
                raise
            self.packets_lost += 1

    def _tracks_end(self) -> Fraction | None:
        """Where the other tracks stop: with the pictures if the reader was stopped early, else at their own ends."""
        source = self._source
        cut = source is not None and (source.end_s is not None or not source.finished)
        return self._end if cut else None

    def abort(self) -> None:
        """Give up: leave nothing of the output behind. Safe to call twice."""
        if self._output is not None:
            with contextlib.suppress(Exception):
                self._output.close()
            self._output = None
        self._close_tracks()
        self._part.discard()

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


def _nominal(rate: Fraction | None) -> Fraction:
    """A frame rate that an encoder may be told: streams of variable rate claim their clock's, 90000 and the like."""
    return rate if rate and Fraction(1, 100) <= rate <= 1000 else Fraction(25)
