"""Copying what is not the video: audio, subtitles, data, attachments, packet by packet.

The source is demuxed a second time, progressively, so memory stays flat however the file is laid out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.stream import Discard

from icnet_cli.errors import printable, usage_error
from icnet_cli.video.containers import OutputPlan, container_for_audio, holds, twin
from icnet_cli.video.one_clock import TracksClock, VideoClock, can_restart, packets_of
from icnet_cli.video.pyav import chapters_of, rational, tags_of, time_base_of
from icnet_cli.video.sound_stamps import SoundStamps, sound_ticks
from icnet_cli.video.source import codec_name, is_cover

# What a source's tags say of its own file or its own encoding, and would be false of ours.
_STALE = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "rotate",
    "alpha_mode",
    "bps",
    "number_of_",
)


# What a muxer says of a packet that it does not understand; a full disk is none of these.
DAMAGE = (av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError)


def carried_metadata(tags: dict[str, str], *, cut: bool) -> dict[str, str]:
    """The tags that stay true of the output; a time code is not after a cut."""
    stale = _STALE + (("timecode",) if cut else ())
    return {
        k: v for k, v in tags.items() if not k.lower().startswith(stale) and not k.startswith("_STATISTICS")
    }


# Languages have two codes (ISO 639-2); of these FFmpeg writes one to a mov, and nothing for the other. By the other.
# fmt: off
_IN_MOV = {
    "sqi": "alb", "hye": "arm", "eus": "baq", "mya": "bur", "zho": "chi",
    "nld": "dut", "kat": "geo", "deu": "ger", "ell": "gre", "isl": "ice",
    "mkd": "mac", "msa": "may", "fas": "per", "bod": "tib", "cym": "wel",
    "cze": "ces", "fre": "fra", "rum": "ron", "slo": "slk", "swe": "sve",
}
# fmt: on


def carried_track(tags: dict[str, str], *, cut: bool) -> dict[str, str]:
    """The same of one track, whose name mp4 and mov read as `name` and every muxer writes from `title`."""
    carried = carried_metadata(tags, cut=cut)
    if "name" in carried:
        carried["title"] = carried.get("title") or carried["name"]
        del carried["name"]
    return carried


class OtherTracks:
    """The source's other streams on their way to the output.

    `left_out` names what the container cannot hold; `packets_lost` counts damaged packets that were not copied.
    Audio that the container cannot hold is refused at once, unless dropped.

    Args:
        source: its name, for messages.
        container: the source, opened once more; closed with this.
    """

    def __init__(
        self, source: str | Path, container: Any, video_index: int, plan: OutputPlan, *, no_audio: bool
    ) -> None:
        self._container = container
        self._targets: dict[int, Any] = {}
        self._last_dts: dict[int, int] = {}
        self._late: set[int] = set()  # streams whose last packet had to be moved behind the one before it
        self._waiting: Any = None
        self._stamps: dict[int, SoundStamps] = {}
        self._shift = Fraction(0)
        self.packets_lost = 0
        self.left_out: tuple[str, ...] = ()
        self._video = container.streams[video_index]
        self._restarts = can_restart(container)
        try:
            self.streams = self._choose(source, video_index, plan, no_audio)
        except BaseException:
            self.close()
            raise
        self._packets = self._on_one_clock()

    def _choose(self, source: str | Path, video_index: int, plan: OutputPlan, no_audio: bool) -> list[Any]:
        taken, left = [], []
        for stream in self._container.streams:
            if stream.index == video_index or (stream.type == "audio" and no_audio) or _is_made_anew(stream):
                continue
            # Only mp4 keeps a cover a cover; elsewhere it would come out as a second video.
            kind_fits = stream.type != "video" or (is_cover(stream) and plan.container.muxer == "mp4")
            fits = kind_fits and holds(plan.container.muxer, stream)
            if fits:
                taken.append(stream)
            elif stream.type == "audio" and not self._is_unknown(stream):
                self._refuse_audio(source, stream, plan)
            else:
                left.append(_left_out(stream, plan))
        self.left_out = tuple(left)
        return taken

    def _is_unknown(self, stream: Any) -> bool:
        """Whether sound is left out where it does not fit, and no reason to refuse the file.

        It begins so late that not even its rate is known, or no decoder knows it (an iPhone's spatial sound) and there
        is other sound beside it.
        """
        if stream.codec_context is not None:
            return not stream.codec_context.sample_rate
        return any(s.codec_context is not None for s in self._container.streams if s.type == "audio")

    def _refuse_audio(self, source: str | Path, stream: Any, plan: OutputPlan) -> None:
        suffix = container_for_audio(stream, plan.codec.family)
        cure = (
            f"name the output {suffix}, or drop the audio with --no-audio"
            if suffix
            else "drop it with --no-audio"
        )
        codec = codec_name(stream)
        raise usage_error(
            f"a {plan.suffix} file with {plan.codec.family} video cannot hold the {codec} audio "
            f"of {printable(source)}; {cure}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the packets so far, a line each."""
        found, mistimed = [], sum(stamps.mistimed for stamps in self._stamps.values())
        if mistimed:
            whose = "its" if mistimed == 1 else "their"
            found.append(f"{_packets(mistimed)} of sound had a wrong time stamp ({whose} time is guessed)")
        if self.packets_lost:
            were = "was damaged and is" if self.packets_lost == 1 else "were damaged and are"
            found.append(f"{_packets(self.packets_lost)} of other tracks {were} left out")
        return tuple(found)

    @property
    def time_bases(self) -> list[Fraction]:
        return [base for stream in self.streams if (base := rational(stream.time_base))]

    @property
    def metadata(self) -> dict[str, str]:
        return tags_of(self._container)

    def describe_video(self, target: Any, index: int) -> None:
        """Give the output's video stream the tags and the disposition of the source's."""
        source = self._container.streams[index]
        target.metadata.update(carried_track(tags_of(source), cut=bool(self._shift)))
        target.disposition = source.disposition

    def add_to(self, output: Any, stream: Any) -> None:
        """Make the stream's twin in the output."""
        target = twin(output, stream)
        target.metadata.update(carried_track(tags_of(stream), cut=bool(self._shift)))
        language = target.metadata.get("language")
        if output.format.name == "mov" and language in _IN_MOV:
            target.metadata["language"] = _IN_MOV[language]
        self._targets[stream.index] = target

    def shift_by(self, start: Fraction) -> None:
        """Begin at `start` (seconds on the source's clock) instead of the source's beginning; it becomes zero."""
        self._shift = start
        if self._restarts:
            return  # a clock that may begin anew cannot be sought by; what precedes the range is passed over
        # A caption that is on when the range begins may have begun long before.
        back = 60 if any(stream.type == "subtitle" for stream in self.streams) else 1
        if start - back <= (self._video.start_time or 0) * time_base_of(self._video):
            return  # a seek goes by the pictures, and would pass over what is heard before the first of them
        with contextlib.suppress(av.FFmpegError):  # what cannot be sought is read from its beginning
            self._container.seek(int((start - back) * av.time_base), backward=True)

    def chapters(self, end: Fraction | None) -> list[dict[str, Any]]:
        """The source's chapters on the output's clock, those outside the range left out."""
        kept = []
        for chapter in chapters_of(self._container):
            base = chapter["time_base"]
            first, last = chapter["start"] * base, chapter["end"] * base
            if last <= self._shift or (end is not None and first >= end):
                continue
            shift = round(self._shift / base)
            stop = chapter["end"] if end is None else min(chapter["end"], round(end / base))
            kept.append({**chapter, "start": max(0, chapter["start"] - shift), "end": stop - shift})
        return kept

    def _demux(self) -> Iterator[Any]:
        wanted = [*self.streams, *([self._video] if self._restarts and self.streams else [])]
        indices = {stream.index for stream in wanted}
        for stream in self._container.streams:
            if stream.index not in indices:
                stream.discard = Discard.all  # its packets need not even be read where the format allows
        return packets_of(self._container, wanted, self._stumbled) if wanted else iter(())

    def _stumbled(self) -> None:
        self.packets_lost += 1

    def _well_timed(self) -> Iterator[Any]:
        """The same; a packet of sound with a wrong stamp has one that follows the packet before."""
        for packet in self._demux():
            for index, others in self._stamps.items():
                if packet.dts is not None and index != packet.stream.index:
                    yield from others.meanwhile(packet.dts * time_base_of(packet))
            if packet.stream.type == "audio" and packet.size:
                yield from self._stamps.setdefault(packet.stream.index, SoundStamps()).feed(packet)
            else:
                yield packet
        for stamps in self._stamps.values():
            yield from stamps.flush()

    def _on_one_clock(self) -> Iterator[Any]:
        """The packets to copy, moved by as much as the video where the source's clock begins anew."""
        if not self._restarts:
            yield from self._well_timed()
            return
        clock = TracksClock(VideoClock(self._video, restarts=True))
        for packet in self._well_timed():
            if packet.stream.index == self._video.index:
                yield from clock.feed_video(packet)
            elif packet.size:
                yield from clock.feed(packet)
        yield from clock.flush()

    def pump(self, output: Any, until: Fraction | None, *, end: Fraction | None = None) -> None:
        """Mux packets up to `until` (seconds on the source's clock; None: all), those from `end` on left out."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            packet = self._waiting
            if packet is None:
                return
            ticks = packet.dts if packet.dts is not None else packet.pts
            at = None if ticks is None else ticks * time_base_of(packet)
            if at is not None and until is not None and at > until:
                return
            self._waiting = None
            # Only the demuxer's final flush packets are empty; a packet without a dts is not one of them.
            if packet.size and self._bring_into_range(packet, end):
                self._mux(output, packet)

    def _bring_into_range(self, packet: Any, end: Fraction | None) -> bool:
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None:
            return True
        base = time_base_of(packet)
        if end is not None and pts * base >= end:
            return False
        if end is not None and packet.stream.type == "subtitle" and packet.duration:
            packet.duration = min(packet.duration, math.ceil(end / base) - pts)
        if not self._shift:
            return True
        shift = round(self._shift / base)
        kept = pts - shift
        if kept < 0:
            if packet.stream.type != "subtitle" or kept + (packet.duration or 0) <= 0:
                return False
            packet.duration, kept = kept + packet.duration, 0  # a caption that is on when the range begins
        packet.dts = kept if packet.dts is None else packet.dts - shift
        packet.pts = kept
        packet.dts = min(packet.dts, packet.pts)
        return True

    def _mux(self, output: Any, packet: Any) -> None:
        index = packet.stream.index
        last = self._last_dts.get(index)
        if packet.dts is not None:
            # Damaged sources, and joined ones whose sound is longer than their pictures; muxers refuse to go back.
            step = self._least_step(packet) if index in self._late else 1
            self._late.discard(index)
            if last is not None and packet.dts < last + step:
                packet.dts = last + self._least_step(packet)
                self._late.add(index)
                packet.pts = max(packet.pts, packet.dts) if packet.pts is not None else packet.dts
            self._last_dts[index] = packet.dts
        if packet.pts is not None and packet.dts is not None:
            packet.pts = max(packet.pts, packet.dts)
        if not packet.duration and packet.stream.type == "audio":
            packet.duration = sound_ticks(packet)  # without it mp4 ends before its last packet
        packet.stream = self._targets[index]
        self.mux(output, packet)

    def _least_step(self, packet: Any) -> int:
        """Ticks of a packet's clock that are a tick of the output's, too: less would be no step there."""
        base = rational(self._targets[packet.stream.index].time_base)
        return max(1, math.ceil(base / time_base_of(packet))) if base else 1

    def mux(self, output: Any, packet: Any) -> None:
        """Hand a packet to the muxer. Damaged sound is no reason to lose the pictures: what it refuses is counted.

        The muxer queues packets to weave them, so it may refuse an earlier packet of sound while it takes one of video.
        """
        try:
            output.mux_one(packet)
        except DAMAGE:
            self.packets_lost += 1

    def close(self) -> None:
        self._container.close()


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"


def _left_out(stream: Any, plan: OutputPlan) -> str:
    """What is said of a track that does not come along, with why."""
    name = f"{stream.type} {codec_name(stream)} (stream {stream.index})"
    if stream.type == "video":
        why = "only mp4 keeps a cover" if is_cover(stream) else "one video is written"
        return f"{name} is left out: {why}"
    if stream.type == "audio" and stream.codec_context is not None:
        return f"{name} is left out: it begins so late in the file that nothing is known of it"
    return f"{name} is left out: {plan.container.muxer} cannot hold it"


def _is_made_anew(stream: Any) -> bool:
    """QuickTime's tracks of the time code and of the chapters' titles, which the muxer makes of the video's own tag and
    of the chapters, and refuses to copy. FFmpeg itself puts the latter aside (a GoPro's data has that codec, too)."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or (stream.name == "bin_data" and stream.discard == Discard.all)
