"""Pictures on their way to a device and back: up, worked on and down at once, and nobody waits but who must.

A slot is memory for one flight: pinned bytes up and down on the host, and their like on the device. Filling a slot
and sending it take the host a moment; copying up, the stages and copying down then follow one another by marks in the
device's own queues, while the next slots are filled and the last ones encoded. Only the lane that encodes waits, for
the mark at the end of the flight it is about to write; when it has written, the slot is free again. So no byte of a
slot is touched while the device may be at it, and the number of slots bounds what is under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from icnet_cli.inference.device import device_words
from icnet_cli.inference.device_steps import DeviceSteps, Landed
from icnet_cli.inference.streams import CaptureError, Mark, Streams, Work

from .channel import Channel
from .items import Picture
from .network import Flight, StageTimes

_SLOTS, _SLOTS_OF_BATCHES = 6, 4  # being filled, on the device, in the queue to the encoder, being written


class Slot:
    """Memory for one flight."""

    def __init__(self, streams: Streams, steps: DeviceSteps) -> None:
        batch = steps.job.batch
        self.host_up = streams.pinned(batch, steps.bytes_up)
        self.host_down = streams.pinned(batch, steps.bytes_down)
        self.up = streams.memory(batch, steps.bytes_up)
        self.down = streams.memory(batch, steps.bytes_down)
        # Views for numpy; a last flight that is not full has an earlier one's pictures in its other rows.
        self.rows_up, self.rows_down = self.host_up.zero_().numpy(), self.host_down.numpy()


class DeviceFlight:
    """Pictures under way in one slot; `marks` are the beginnings and ends of what happens to them, in order."""

    def __init__(self, flights: Flights, slot: Slot, pictures: list[Picture], marks: list[Mark]) -> None:
        self._flights, self._slot, self._pictures, self._marks = flights, slot, pictures, marks

    def land(self) -> Sequence[tuple[Picture, Landed]]:
        """Wait for the mark at its end."""
        with device_words(self._flights.streams.device):
            self._marks[-1].wait()
        self._flights.note_times(self._marks, len(self._pictures))
        read = self._flights.steps.read
        rows = self._slot.rows_down[: len(self._pictures)]
        return [(picture, read(row)) for picture, row in zip(self._pictures, rows, strict=True)]

    def free(self) -> None:
        self._flights.give_back(self._slot)


class Flights:
    """A device as the middle lane of the pipeline (`network.Network`).

    Args:
        steps: what is done to pictures; its tensors belong to this object from now on.
        streams: the queues of its device.
        slots: flights that may be under way or held at once.

    Attributes:
        busy: the time of the stages on the device, which follow one another; copies run beside them.
        times: of each stage by name, and of `upload` and `download`.
        notes: what could not be done as it should be, one line each.

    Raises:
        IcnetError: DEVICE where its memory does not suffice.
    """

    def __init__(self, steps: DeviceSteps, streams: Streams, slots: int | None = None) -> None:
        self.steps, self.streams = steps, streams
        self.busy = StageTimes()
        self.times = {name: StageTimes() for name in ("upload", *steps.stages, "download")}
        self.notes: list[str] = []
        self._waiting: list[Picture] = []
        count = slots or (_SLOTS if steps.job.batch == 1 else _SLOTS_OF_BATCHES)
        self._free: Channel[Slot] = Channel(count)
        with device_words(streams.device):
            self._stages = self._ready()
            for _ in range(count):
                self._free.put(Slot(streams, steps))
            streams.settle()

    def _ready(self) -> list[Work]:
        stages = list(self.steps.stages.values())
        try:
            ready = self.streams.capture(stages)
        except CaptureError as error:
            self.notes.append(f"the network runs operator by operator, not as a CUDA graph: {error}")
            ready = stages
        if self.steps.note:
            self.notes.append(self.steps.note)
        return ready

    @property
    def batch(self) -> int:
        return self.steps.job.batch

    def send(self, picture: Picture) -> Flight | None:
        """See `Network.send`."""
        self._waiting.append(picture)
        return self._launch() if len(self._waiting) == self.batch else None

    def rest(self) -> Flight | None:
        """See `Network.rest`."""
        return self._launch() if self._waiting else None

    def _launch(self) -> DeviceFlight:
        pictures, self._waiting = self._waiting, []
        slot = self._free.take()
        for row, picture in zip(slot.rows_up, pictures, strict=False):
            assert picture.planes is not None
            self.steps.fill(row, picture.planes)
        with device_words(self.streams.device):
            marks = [*self.streams.upload(slot.up, slot.host_up)]
            marks += self.streams.run(self._on(slot), after=marks[-1])
            marks += self.streams.download(slot.host_down, slot.down, after=marks[-1])
        return DeviceFlight(self, slot, pictures, marks)

    def _on(self, slot: Slot) -> list[Work]:
        # The stages work on tensors of their own, so that one graph serves every slot.
        come, *stages, go = (
            partial(self.steps.inputs.copy_, slot.up),
            *self._stages,
            partial(slot.down.copy_, self.steps.outputs),
        )
        return [come, *stages, go]  # type: ignore[list-item]

    def note_times(self, marks: Sequence[Mark], pictures: int) -> None:
        """Take the times of a flight that has landed."""
        sent, received, begun, *done, leaving, down = marks
        self.times["upload"].add(received.ms_since(sent), pictures)
        self.times["download"].add(down.ms_since(leaving), pictures)
        self.busy.add(done[-1].ms_since(begun), pictures)
        # Copying within the device belongs to the stage that it serves: the first and the last.
        ends = [*done[1:-2], done[-1]]
        for name, before, after in zip(self.steps.stages, [begun, *ends], ends, strict=False):
            self.times[name].add(after.ms_since(before), pictures)

    def give_back(self, slot: Slot) -> None:
        """What landed in a slot has been written."""
        self._free.put(slot)

    def abort(self) -> None:
        """See `Network.abort`."""
        self._free.abort()

    def close(self) -> None:
        """See `Network.close`: the memory of the slots is not let go while a copy is under way."""
        with suppress(Exception):  # a device that failed has told so by then
            self.streams.settle()
