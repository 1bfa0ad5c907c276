"""Long runs in segments: where each begins, what is kept with it, and where a later run goes on.

A run over a minute of output is written in segments of ten seconds to NAME.part/, whether it is ever interrupted or
not: so one that was interrupted and resumed gives what an uninterrupted one does. `video.partfolder` is the folder.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from icnet_cli.errors import usage_error
from icnet_cli.video.partfolder import PartFolder

from .identity import difference
from .items import Picture
from .ledger import Ledger
from .leftover import clock, shown_part

SEGMENT_S = 10  # of the output; an encoder begins each anew, so shorter ones make larger files
LONG_S = 60.0  # of the output: shorter runs leave nothing behind when they are stopped


class Cutter:
    """Says where segments begin: with the first picture of each ten seconds, counted from the run's first picture.

    Args:
        rate: pictures a second of a source that has no times.
        origin, count: of a run that goes on: the time of its first picture, and how many came before.
    """

    def __init__(self, rate: Fraction, origin: Fraction | None = None, count: int = 0) -> None:
        self._rate, self.origin, self._count = rate, origin, count
        self._slot = -1

    def begins(self, picture: Picture) -> bool:
        """Whether a picture, the one after the one that was asked about before, begins a segment."""
        at = self.time(picture, self._count)
        self._count += 1
        if self.origin is None:
            self.origin = at
        slot = int((at - self.origin) // SEGMENT_S)
        if slot <= self._slot:
            return False
        self._slot = slot
        return True

    def time(self, picture: Picture, count: int) -> Fraction:
        """When a picture, before which come `count` others, is shown, in seconds on the source's clock."""
        if picture.pts is None or picture.time_base is None:
            return count / self._rate
        return picture.pts * picture.time_base


def begun(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Pictures of a run that is one segment."""
    for number, picture in enumerate(pictures):
        yield replace(picture, starts_segment=True) if number == 0 else picture


class Job:
    """One run that writes to a PartFolder, from its claim to its end.

    Args:
        folder: claimed.
        is_long: whether it is worth resuming; None where the length is not known before the end.
        rate: pictures a second of a source that has no times.
        identity: what the run is, as far as it is known before the weights are (`source`, `options`, `programs`).

    Attributes:
        done: pictures that are written, by this run and those before it.
        ledger: what counts them; its state is kept with each segment.
        last: what was kept with the newest segment; None where there is none.
    """

    def __init__(
        self,
        folder: PartFolder,
        is_long: bool | None,
        rate: Fraction,
        identity: dict[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        self.folder, self._is_long, self._identity, self._overwrite = folder, is_long, identity, overwrite
        self._ahead, self._behind = (
            Cutter(rate),
            Cutter(rate),
        )  # asked where pictures are read, and where written
        self._rate = rate
        self._begun = self._resumed = False
        self._source: Any = None
        self.ledger: Ledger | None = None
        self.done = 0  # pictures, of this run and those before
        self.last: dict[str, Any] | None = None

    # -- before any work

    def settle(self, resume: bool) -> None:
        """Go on with what is there, or make sure that it may be thrown away.

        Raises:
            IcnetError: USAGE where it belongs to another job, or is worth resuming and `resume` was not said.
        """
        before = self.folder.job
        if resume and before is not None:
            self._compare(before, self._identity)
            self._look()
            if self.last is not None:
                self._resumed = True
                origin = Fraction(*self.last["origin"])
                self._ahead, self._behind = (Cutter(self._rate, origin, self.done) for _ in range(2))
                return
        elif before is not None and not self._overwrite:
            self._look()
            if self.last is not None and before.get("resumable"):
                raise usage_error(
                    f"{shown_part(self.folder.target)} holds {self.held}, of a run that was stopped: continue it with "
                    "--resume, or start anew with -y"
                )
        self.last, self.done = None, 0

    def _compare(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        told = {key: before.get(key) for key in now}
        differs = difference(told, now)
        if differs is not None:
            raise usage_error(
                f"{shown_part(self.folder.target)} is of another job: {differs}; give the same command, or start anew "
                "without --resume and with -y"
            )

    def _look(self) -> None:
        """What is done and whole; a damaged segment, and whatever follows it, is made again."""
        self.folder.look()
        for number, document in enumerate(self.folder.documents()):
            if not self._files_whole(document):
                self.folder.forget_from(number)
                break
            self.last = document
        if self.last is not None:
            self.done = self.last["frames"]

    def _files_whole(self, document: dict[str, Any]) -> bool:
        """Whether the files that a segment is of are there as they were written (of a folder of pictures)."""
        for name, size, crc in document.get("files", ()):
            try:
                data = (self.folder.whole / name).read_bytes()
            except OSError:
                return False
            if len(data) != size or zlib.crc32(data) != crc:
                return False
        return True

    @property
    def backend(self) -> str | None:
        """What ran the network before; None where nothing did."""
        network = (self.folder.job or {}).get("network") if self.last is not None else None
        return network.get("backend") if network else None

    @property
    def is_over(self) -> bool:
        """Whether all pictures are written, and only the output was not."""
        return self.last is not None and self.last["next"] is None

    @property
    def held(self) -> str:
        """How much is done, in words."""
        if self.last is None:
            return "nothing"
        seconds = self.last["seconds"]
        return (
            f"all {self.done} frames"
            if seconds is None
            else f"the first {clock(seconds)} ({self.done} frames)"
        )

    # -- once the network is known

    def begin(self, network: dict[str, Any] | None) -> None:
        """Say what labels; from here on the folder is this job's.

        Raises:
            IcnetError: USAGE where another network labelled what is there.
        """
        identity = {**self._identity, "network": network}
        if self.last is not None:
            self._compare(self.folder.job or {}, identity)
        self._begun = True  # before anything is in the folder: a signal amid this leaves nothing
        if self.last is None:
            self.folder.begin({**identity, "version": 1, "resumable": self._is_long is not False})

    # -- the pictures

    def pictures(self, source: Any) -> Iterator[Picture]:
        """The source's pictures that are still to be done, each saying whether a segment begins with it."""
        self._source = source  # now, and not when the first is asked for
        return self._marked(iter(source) if self.last is None else self._rest(source))

    def _marked(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        for picture in pictures:
            yield replace(picture, starts_segment=True) if self._ahead.begins(picture) else picture

    def _rest(self, source: Any) -> Iterator[Picture]:
        assert self.last is not None
        place = self.last["next"]
        if place is None:
            source.restore(self.last["ending"])
            return
        found: Iterator[Picture] = iter(())
        for go_on in (source.resume_at, source.read_to):
            if not go_on(place):
                continue
            found = iter(source)
            first = next(found, None)
            if first is not None and [first.index, _checksum(first)] == place["picture"]:
                yield first
                yield from found
                return
        raise usage_error(
            f"{shown_part(self.folder.target)} is of another job: its source has another picture now where it is to "
            "go on; start anew without --resume and with -y"
        )

    # -- segments

    def begins(self, picture: Picture) -> bool:
        """Whether a segment begins with a picture that is about to be written (of those read, some may be dropped)."""
        return self._behind.begins(picture)

    def document(self, before: Picture | None) -> dict[str, Any]:
        """What is to be kept with the segment that ends `before` a picture; None: with the last one."""
        origin = self._behind.origin or Fraction(0)
        seconds, place = None, None
        if before is not None:
            place = {**(before.mark or {}), "picture": [before.index, _checksum(before)]}
            if "reader" in place:
                place["reader"] = place["reader"].to_dict()
            seconds = float(self._behind.time(before, self.done) - origin)
        self.last = {
            "next": place,
            "ending": self._source.ending() if before is None else None,
            "ledger": None if self.ledger is None else self.ledger.state(),
            "frames": self.done,
            "seconds": seconds,
            "origin": [origin.numerator, origin.denominator],
        }
        return self.last

    # -- the end

    def finish(self) -> None:
        """All is written and joined: give the output its name, the statistics first, and remove the folder."""
        if self.ledger is not None:
            self.ledger.publish(document["ledger"] for document in self.folder.documents())
        self.folder.publish(overwrite=self._overwrite)

    def leave(self) -> None:
        """The run ends before its time: what is worth resuming stays. Safe to call twice, and after `finish`."""
        if self.folder.is_claimed and (
            self._is_worth_keeping if self._begun else self.folder.job is not None
        ):
            self.folder.release()
        elif self.folder.is_claimed:
            self.folder.discard()

    @property
    def _is_worth_keeping(self) -> bool:
        if self.last is None or not self.folder.count:
            return False
        return bool(self._is_long or self._resumed or (self._is_long is None and self._recorded_s >= LONG_S))

    @property
    def _recorded_s(self) -> float:
        seconds = None if self.last is None else self.last["seconds"]
        return LONG_S if seconds is None else float(seconds)  # None: it is complete


def take_up(job: Job | None, ledger: Ledger | None, network: dict[str, Any] | None) -> int:
    """Begin a job, or go on with it; how many pictures are written already."""
    if job is None:
        return 0
    job.begin(network)
    job.ledger = ledger
    if ledger is not None and job.last is not None:
        ledger.restore(job.last["ledger"])
    return job.done


def _checksum(picture: Picture) -> int:
    """Of what was decoded: by it a run that goes on knows the picture again."""
    samples = picture.rgb if picture.planes is None else picture.planes.y
    return zlib.crc32(np.ascontiguousarray(samples).data)
