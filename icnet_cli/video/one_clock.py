"""One clock over a file that was joined from several recordings (`cat a.ts b.ts`): where its clock goes back, time
goes on.

What follows such a seam is moved as a whole, every stream by as much as the video, so that distances and sound stay
right. The reader and whoever copies the other tracks each read the file for themselves and come to the same times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

from av.format import Flags

from icnet_cli.errors import IcnetError
from icnet_cli.video.pyav import rate_of, size_of, time_base_of

# Decoding times never go back, so this much is another clock and no disorder; less is a bad stamp.
_BACK = Fraction(1, 2)
# A second packet that goes on from the first one within this time shows that it was not one bad stamp.
_GOES_ON = Fraction(10)
_REORDERED = 16  # packets: how far apart decoding order and showing order can be in H.264 and HEVC
_WAITING = 4096  # packets of other streams that wait for the video to be read as far


def can_restart(container: Any) -> bool:
    """Whether clocks may begin anew within a file of this format: streams that were made to be cut and joined."""
    return bool(container.format.flags & Flags.ts_discont.value)


def packets_of(container: Any, streams: Any, stumbled: Callable[[], None]) -> Iterator[Any]:
    """Packets of these streams; a demuxer that stumbles is asked to go on for a while before it is given up.

    `stumbled` is called once for each place at which it does.
    """
    stands = False  # where it stumbled last
    for _ in range(_tries(container)):
        try:
            for packet in container.demux(streams):
                stands = False
                yield packet
            return
        except IcnetError:
            raise
        except IndexError:  # no damage: PyAV's, at the end of a file in which another stream began on the way
            continue
        except Exception:
            if not stands:
                stumbled()
            stands = True


def _tries(container: Any) -> int:
    """A transport stream's demuxer gives up each 64 kB of what is none, as of a hole, and goes on behind them."""
    size = size_of(container) if can_restart(container) else 0
    return 8 + size // (1 << 16)


def ticks_per_frame(stream: Any) -> int:
    """How long a picture is likely to be shown, in ticks of the stream."""
    rate = rate_of(stream) or Fraction(25)
    return max(1, round(1 / (rate * time_base_of(stream))))


@dataclass(frozen=True)
class Seam:
    """Where a clock goes back, between two packets of video.

    Attributes:
        before, behind: where in the file these begin, in bytes.
        shift: what is added to the times behind it, in seconds.
    """

    before: int
    behind: int
    shift: Fraction


class VideoClock:
    """Moves the packets of a video onto one clock. `seams` grow as it is fed; `now` is how far it has come, in seconds.

    Args:
        restarts: see `can_restart`; where False every packet stays as it is.
    """

    def __init__(self, stream: Any, *, restarts: bool) -> None:
        self.seams: list[Seam] = []
        self.position = -1  # of the newest packet in the file, in bytes
        self.end = -1  # of its bytes, as if they lay in one piece
        self.now = Fraction(0)
        self._base = time_base_of(stream)
        self._frame_ticks = ticks_per_frame(stream)
        self._restarts = restarts
        self._shift = 0  # ticks
        self._newest: tuple[int, ...] = ()  # the last two decoding times, by the file's own clock
        self._ends: deque[int] = deque(maxlen=_REORDERED)
        self._doubted: Any = None  # a packet that goes back: a seam or a bad stamp

    def feed(self, packet: Any) -> list[Any]:
        """The packets that are certain now that this one has been read, in order."""
        if not self._restarts:
            return [packet]
        ready = []
        doubted, self._doubted = self._doubted, None
        if doubted is not None:
            if self._goes_back(packet) and 0 <= packet.dts - doubted.dts < _GOES_ON / self._base:
                self._join(doubted)
            ready.append(self._take(doubted))
        if self._goes_back(packet):
            self._doubted = packet
        else:
            ready.append(self._take(packet))
        return ready

    def flush(self) -> list[Any]:
        """What is left at the end of the file."""
        doubted, self._doubted = self._doubted, None
        return [] if doubted is None else [self._take(doubted)]

    def _goes_back(self, packet: Any) -> bool:
        # Behind the last but one, too: after a packet that was stamped too late the next one only seems to go back.
        # One packet alone is no recording: of it and the next it cannot be said which was stamped wrong.
        if packet.dts is None or len(self._newest) < 2:
            return False
        return bool(packet.dts < min(self._newest) - _BACK / self._base)

    def _join(self, first: Any) -> None:
        """Let time go on with the first packet of another recording where the last picture ends."""
        begins = first.dts if first.pts is None else first.pts
        self._shift = max(self._ends) - begins
        behind = self.position if first.pos is None else first.pos
        self.seams.append(Seam(self.position, behind, self._shift * self._base))
        self._newest = ()

    def _take(self, packet: Any) -> Any:
        if packet.dts is not None and not self._goes_back(packet):
            self._newest = (*self._newest[-1:], packet.dts)
            self.now = (packet.dts + self._shift) * self._base
        if packet.pos is not None:
            self.position, self.end = packet.pos, packet.pos + packet.size
        _move(packet, self._shift)
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is not None:
            self._ends.append(shown + (packet.duration or self._frame_ticks))
        return packet


def _move(packet: Any, ticks: int) -> None:
    if not ticks:
        return
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks


def _time(packet: Any) -> Fraction | None:
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None else ticks * time_base_of(packet)


@dataclass
class _Track:
    """How far a stream beside the video has come."""

    shift: Fraction = Fraction(0)  # seconds
    newest: tuple[Fraction, ...] = ()  # the last two times, by the file's own clock
    end: Fraction = Fraction(0)  # of its last packet, by the one clock
    position: int = -1
    seams: int = 0  # that lie behind it

    def goes_back(self, at: Fraction) -> bool:
        return bool(self.newest) and at < min(self.newest) - _BACK


class TracksClock:
    """Moves the packets of the other streams onto the clock of the video beside them.

    Sound may cross a seam some packets before the video does, as the file has them. It waits then until the video
    has been read as far. A stream that goes back where the video does not goes on from its own end.
    """

    def __init__(self, clock: VideoClock) -> None:
        self._clock = clock
        self._tracks: dict[int, _Track] = {}
        self._waiting: deque[Any] = deque()
        self._ended = False

    def feed_video(self, packet: Any) -> list[Any]:
        """Note a packet of the video; gives the other streams' packets that waited for it."""
        self._clock.feed(packet)
        return self._ready()

    def feed(self, packet: Any) -> list[Any]:
        """The packets that are certain now that this one has been read, in order."""
        self._waiting.append(packet)
        return self._ready()

    def flush(self) -> list[Any]:
        """What is left at the end of the file."""
        self._ended = True
        self._clock.flush()
        return self._ready()

    def _ready(self) -> list[Any]:
        ready = []
        while self._waiting and self._place(self._waiting[0]):
            ready.append(self._waiting.popleft())
        return ready

    def _place(self, packet: Any) -> bool:
        """Move a packet that is next; False where it has to wait."""
        at = _time(packet)
        if at is None:
            return True
        track = self._tracks.setdefault(packet.stream.index, _Track())
        position = track.position if packet.pos is None else packet.pos
        follows = True  # its time is one to go by
        if not track.goes_back(at):
            self._pass_seams(track, at, position)
        elif not self._join(track, position):
            if self._may_wait(packet, position):
                return False
            follows = self._is_followed(packet, at, track)
            if follows:
                track.shift, track.newest = track.end - at, ()
        if follows:
            track.newest, track.position = (*track.newest[-1:], at), position
            track.end = at + track.shift + (packet.duration or 0) * time_base_of(packet)
        _move(packet, round(track.shift / time_base_of(packet)))
        return True

    def _join(self, track: _Track, position: int) -> bool:
        """Whether the stream goes back at a seam of the video's: both have it between the same bytes of the file."""
        for number in range(len(self._clock.seams), track.seams, -1):
            seam = self._clock.seams[number - 1]
            if seam.before < position and track.position < seam.behind:
                track.shift, track.seams, track.newest = seam.shift, number, ()
                return True
        return False

    def _pass_seams(self, track: _Track, at: Fraction, position: int) -> None:
        """A stream that does not go back was silent around a seam, or its clock went on: the nearer time tells."""
        passed = [seam for seam in self._clock.seams[track.seams :] if seam.behind < position]
        if not passed:
            return
        track.seams += len(passed)
        shifts = (track.shift, passed[-1].shift)
        track.shift = min(shifts, key=lambda shift: abs(at + shift - self._clock.now))

    def _may_wait(self, packet: Any, position: int) -> bool:
        if self._ended or len(self._waiting) >= _WAITING:
            return False
        return self._clock.position < position or self._next_of(packet) is None

    def _next_of(self, packet: Any) -> Any:
        others: Iterable[Any] = islice(self._waiting, 1, None)
        return next((p for p in others if p.stream.index == packet.stream.index), None)

    def _is_followed(self, packet: Any, at: Fraction, track: _Track) -> bool:
        """Whether the next packet of the stream goes on from this one: then it was not one bad stamp."""
        following = self._next_of(packet)
        after = None if following is None else _time(following)
        return after is not None and track.goes_back(after) and 0 <= after - at < _GOES_ON
