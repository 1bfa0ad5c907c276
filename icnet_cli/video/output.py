"""A container on its way to the disk: the encoder's packets, and among them the source's other tracks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from icnet_cli.video.aspect import fill_room, is_unsaid, leave_room
from icnet_cli.video.attachments import JSON_TYPE
from icnet_cli.video.containers import OutputPlan, muxer_options
from icnet_cli.video.encoding import Encoding
from icnet_cli.video.tracks import DAMAGE, OtherTracks, carried_metadata

_WITH_CHAPTERS = ("mp4", "mov", "matroska", "webm")


class OutputFile:
    """One file being written; `stream` is the encoder's, opened. `shape_lost`: nothing in it says the samples' shape.

    Args:
        tracks: the source's other tracks; None copies none.
        place: the video's index among the source's streams.
        shift: the source's time, in seconds, that becomes zero.
        range_end: where the range that is read ends on the source's clock.
        attachments: JSON documents by their names (Matroska alone holds them).
    """

    def __init__(
        self,
        path: Path,
        plan: OutputPlan,
        encoding: Encoding,
        *,
        tracks: OtherTracks | None = None,
        place: int = 0,
        shift: Fraction = Fraction(0),
        range_end: Fraction | None = None,
        attachments: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self._plan, self._encoding, self._tracks = path, plan, encoding, tracks
        self._place, self._shift, self._range_end = place, shift, range_end
        self.packets = 0
        self._held: Any = None  # the newest packet: the last one's duration is known only at the end
        self._first_dts = self._first_pts = 0
        if tracks is not None and shift:
            tracks.shift_by(shift)
        tags = tracks.metadata if tracks else {}
        bases = [encoding.time_base, *(tracks.time_bases if tracks else [])]
        self._output = av.open(
            str(path), "w", format=plan.container.muxer,
            container_options=muxer_options(plan, bases, tags),
        )  # fmt: skip
        try:
            self._output.metadata.update(carried_metadata(tags, cut=bool(shift)))
            self.stream: Any = self._add_streams()
            for name, document in (attachments or {}).items():
                self._output.add_attachment(name, JSON_TYPE, json.dumps(document).encode())
            self._set_chapters(range_end)
            self._output.start_encoding()
        except BaseException:
            self.abandon()
            raise

    @property
    def packets_lost(self) -> int:
        """Packets of other tracks that were damaged and could not be copied."""
        return self._tracks.packets_lost if self._tracks is not None else 0

    @property
    def track_notes(self) -> tuple[str, ...]:
        """What a user should know of the other tracks' packets, a line each."""
        return self._tracks.notes if self._tracks is not None else ()

    def _add_streams(self) -> Any:
        """The streams in the source's order, the video in its place."""
        others = self._tracks.streams if self._tracks else []
        for other in [s for s in others if s.index < self._place]:
            self._tracks.add_to(self._output, other)  # type: ignore[union-attr]
        stream = self._encoding.add_to(self._output)
        if self._tracks is not None:
            self._tracks.describe_video(stream, self._place)
        muxer = self._plan.container.muxer
        self.shape_lost = is_unsaid(muxer, self._plan.codec.family, self._encoding.aspect)
        self._has_room = self.shape_lost and leave_room(stream, muxer)
        for other in [s for s in others if s.index > self._place]:
            self._tracks.add_to(self._output, other)  # type: ignore[union-attr]
        self._encoding.start(stream)
        self._width: int = stream.codec_context.width
        return stream

    def _set_chapters(self, range_end: Fraction | None) -> None:
        chapters: Any = self._tracks.chapters(range_end) if self._tracks else []
        if chapters and self._plan.container.muxer in _WITH_CHAPTERS:
            self._output.set_chapters(chapters)

    def mux(self, packets: Sequence[Any]) -> None:
        """Take packets of the encoder's, in its order, and with them what the other tracks have for their time."""
        for packet in packets:
            if self._held is None:
                self._first_dts, self._first_pts = packet.dts, packet.pts
            else:
                self._mux_one(self._held)
            self._held = packet

    def _mux_one(self, packet: Any) -> None:
        self.packets += 1
        if self._tracks is None:
            self._output.mux_one(packet)
            return
        if packet.dts is not None:
            until = packet.dts * self._encoding.time_base + self._shift
            self._tracks.pump(self._output, until, end=self._range_end)
        self._tracks.mux(self._output, packet)

    def finish(self, end: Fraction | None, *, cut: bool) -> None:
        """Write what is left, and the container's end.

        Args:
            end: where the last picture ends on the source's clock, in seconds.
            cut: whether the other tracks end there too; else they go on to their own ends.
        """
        self._mux_last(end)
        if self._tracks is not None:
            self._tracks.pump(self._output, None, end=end if cut else None)
        try:
            self._output.close()
        except DAMAGE:  # sound that is refused only now: make sure that every picture is in
            if self._tracks is None or self._pictures_in_file() != self.packets:
                raise
            self._tracks.packets_lost += 1
        if self._has_room and self._encoding.aspect is not None:
            self.shape_lost = not fill_room(self.path, self._width, self._encoding.aspect)

    def _mux_last(self, end: Fraction | None) -> None:
        """Mux the packet that is last in decoding order, stretched so that the track ends when its last frame does.

        mp4 stores the distances between decoding times, and with B-frames the last packet is not the last picture.
        """
        packet, self._held = self._held, None
        if packet is None:
            return
        if end is not None and packet.dts is not None and self._first_dts is not None:
            ticks = round((end - self._shift) / self._encoding.time_base)
            stretched = self._first_dts + (ticks - self._first_pts) - packet.dts
            packet.duration = stretched if stretched > 0 else packet.duration
        self._mux_one(packet)

    def _pictures_in_file(self) -> int:
        with av.open(str(self.path), format=self._plan.container.muxer) as made:
            return sum(bool(packet.size) for packet in made.demux(video=0))

    def abandon(self) -> None:
        """Let go of the file, whatever it is by now. Safe to call twice."""
        with contextlib.suppress(Exception):
            self._output.close()
