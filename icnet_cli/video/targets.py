"""Where an encoder's packets go: into the output itself, or into segments that are joined at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from icnet_cli.errors import output_error, printable, usage_error
from icnet_cli.video.atomic import PartFile
from icnet_cli.video.attachments import attach
from icnet_cli.video.containers import OutputPlan
from icnet_cli.video.encoding import Encoding, well_timed
from icnet_cli.video.output import OutputFile
from icnet_cli.video.partfolder import PartFolder
from icnet_cli.video.segments import SegmentFile, joined
from icnet_cli.video.tracks import OtherTracks

_NO_ROOM = 1 << 20  # bytes beside the packets: indices, headers


@dataclass(frozen=True)
class Joint:
    """What an output is made of besides the encoder's packets: see `OutputFile`."""

    plan: OutputPlan
    tracks: OtherTracks | None
    place: int
    range_end: Fraction | None

    def open(
        self, path: Path, encoding: Encoding, shift: Fraction, attachments: Mapping[str, Any] | None = None
    ) -> OutputFile:
        return OutputFile(
            path, self.plan, encoding, tracks=self.tracks, place=self.place, shift=shift, range_end=self.range_end,
            attachments=attachments,
        )  # fmt: skip


class _Target:
    """What is known of the output's file, once it is open."""

    _output: OutputFile | None = None

    @property
    def packets_lost(self) -> int:
        return 0 if self._output is None else self._output.packets_lost

    @property
    def track_notes(self) -> tuple[str, ...]:
        return () if self._output is None else self._output.track_notes

    @property
    def shape_lost(self) -> bool:
        return self._output is not None and self._output.shape_lost


class FileTarget(_Target):
    """The output itself, under another name until it is complete."""

    def __init__(self, target: Path, joint: Joint, *, overwrite: bool) -> None:
        self._joint = joint
        self._part = PartFile(target, overwrite=overwrite)

    def begin(self, encoding: Encoding, shift: Fraction) -> None:
        """Open the output. `shift` is the source's time, in seconds, that becomes zero."""
        self._output = self._joint.open(self._part.path, encoding, shift)

    def encode(self, frame: Any) -> None:
        assert self._output is not None
        self._output.mux(well_timed(self._output.stream.encode(frame)))

    def documents(self) -> Iterator[dict[str, Any]]:
        """There are no segments."""
        return iter(())

    def finish(self, end: Fraction | None, *, cut: bool, attachments: Mapping[str, Any]) -> None:
        """Complete the file (see `OutputFile.finish`)."""
        assert self._output is not None
        self._output.mux(well_timed(self._output.stream.encode(None)))
        self._output.finish(end, cut=cut)
        if attachments:
            attach(self._part.path, {name: json.dumps(text).encode() for name, text in attachments.items()})

    def publish(self) -> None:
        self._part.publish()

    def abort(self) -> None:
        if self._output is not None:
            self._output.abandon()
        self._part.discard()


class SegmentTarget(_Target):
    """A folder of segments, each from an encoder of its own; `finish` joins them into the folder's `whole`."""

    def __init__(self, folder: PartFolder, joint: Joint) -> None:
        self._folder, self._joint = folder, joint
        self._encoding: Encoding | None = None
        self._shift = Fraction(0)
        self._settings: int | None = None  # of the encoders: a checksum of what they say of themselves
        self._container: Any = None
        self._stream: Any = None
        self._segment: SegmentFile | None = None

    def begin(self, encoding: Encoding, shift: Fraction) -> None:
        self._encoding, self._shift = encoding, shift

    def documents(self) -> Iterator[dict[str, Any]]:
        """What was kept with each of the segments that are done."""
        for document in self._folder.documents():
            self._settings = document.get("settings")
            yield document

    def encode(self, frame: Any) -> None:
        if self._segment is None:
            self._start()
        self._take(well_timed(self._stream.encode(frame)))

    def _start(self) -> None:
        """A fresh encoder, in a container that is never written: what it says is what it says in the output's."""
        assert self._encoding is not None
        self._container = av.open(os.devnull, "w", format=self._joint.plan.container.muxer)
        self._stream = self._encoding.add_to(self._container)
        self._encoding.start(self._stream)
        settings = zlib.crc32(self._stream.codec_context.extradata or b"")
        if self._settings is not None and settings != self._settings:
            raise usage_error(
                f"{printable(self._folder.path)} was begun with another encoder than this machine's "
                f"{self._stream.codec_context.name}; start anew with -y"
            )
        self._settings = settings
        self._segment = SegmentFile(self._folder.segment_path(self._folder.count))

    def _take(self, packets: list[Any]) -> None:
        assert self._segment is not None
        for packet in packets:
            self._segment.add(packet)

    def cut(self, document: dict[str, Any]) -> None:
        """End the segment, and keep `document` with it; the next frame begins another."""
        if self._segment is None:
            return
        self._take(well_timed(self._stream.encode(None)))
        self._segment.finish({**document, "settings": self._settings})
        self._folder.count += 1
        self._let_go()

    def _let_go(self) -> None:
        if self._container is not None:
            with contextlib.suppress(Exception):
                self._container.close()
        if self._segment is not None:
            self._segment.discard()
        self._container = self._stream = self._segment = None

    def finish(self, end: Fraction | None, *, cut: bool, attachments: Mapping[str, Any]) -> None:
        """Join the segments and the source's other tracks into one file."""
        assert self._encoding is not None
        self._require_room()
        self._output = self._joint.open(self._folder.whole, self._encoding, self._shift, attachments)
        packets = joined(self._folder.segments(), self._output.stream, self._encoding.time_base)
        for packet in packets:
            self._output.mux([packet])
        self._output.finish(end, cut=cut)

    def _require_room(self) -> None:
        self._folder.whole.unlink(missing_ok=True)  # of a run that was killed as it joined
        needed = self._folder.size + _NO_ROOM
        free = shutil.disk_usage(self._folder.path).free
        if free < needed:
            raise output_error(
                f"cannot write {printable(self._folder.target)}: to join its segments takes {needed / 1e6:.0f} MB, and "
                f"{free / 1e6:.0f} MB are free on the disk; make room"
            )

    def publish(self) -> None:
        """The folder's owner does that."""

    def abort(self) -> None:
        self._let_go()
        if self._output is not None:
            self._output.abandon()
            with contextlib.suppress(OSError):
                self._folder.whole.unlink(missing_ok=True)
