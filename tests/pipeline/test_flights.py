"""Up, worked on and down at once: held against a device that does everything as late as it may.

Each promise stands beside a pipeline that breaks it on purpose, and that the recording device catches.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from icnet_cli.inference.device_steps import DeviceJob, DeviceSteps, Landed
from icnet_cli.inference.fold import ready_network
from icnet_cli.inference.streams import CpuStreams
from icnet_cli.pipeline.channel import AbortedError
from icnet_cli.pipeline.flights import DeviceFlight, Flights, Slot
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.lanes import Lanes
from icnet_cli.pixels.overlay import Painter
from icnet_cli.pixels.yuv import Planes, YuvColour
from tests.inference.tiny import CLASSES, TinyNetwork, stripes, tiny_meta

from .recording import POISON, RecordingStreams
from .test_lanes import RecordingSink, no_thread_stays  # noqa: F401  (a fixture)

CPU, COLOUR = torch.device("cpu"), YuvColour("smpte170m")
SIZE = (48, 72)


def picture(index: int) -> Picture:
    rgb = stripes(*SIZE, 5 * index, index)
    yuv = COLOUR.from_rgb(rgb)
    planes = Planes(*(np.ascontiguousarray(p) for p in (yuv[..., 0], yuv[::2, ::2, 1], yuv[::2, ::2, 2])))
    return Picture(str(index), index, rgb, planes)


def steps(batch: int = 1, painter: Painter | None = None) -> DeviceSteps:
    job = DeviceJob(SIZE, (32, 64), COLOUR, painter, batch, confidence=True)
    network = ready_network(TinyNetwork(), CPU, torch.float32)
    return DeviceSteps(network, tiny_meta().normalisation, torch.float32, job, CPU)


def expected(index: int) -> np.ndarray:
    """The labels of one picture, alone and at once."""
    alone = Flights(steps(), CpuStreams(), 1)
    flight = alone.send(picture(index))
    assert flight is not None
    return np.array(flight.land()[0][1].labels)


EXPECTED = [expected(index) for index in range(12)]


def keep(_: Picture, landed: Landed) -> np.ndarray:
    assert landed.labels is not None
    return landed.labels


class KeepingSink(RecordingSink):
    """Copies what it is given, as an encoder does."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[np.ndarray] = []

    def write(self, picture: Picture, rendered: Any) -> None:
        super().write(picture, rendered)
        self.labels.append(rendered.copy())


def run(flights: Flights, count: int = 12) -> KeepingSink:
    sink = KeepingSink()
    list(Lanes((picture(i) for i in range(count)), flights, keep, sink, count).run())
    return sink


def right(sink: KeepingSink) -> bool:
    pairs = zip(sink.labels, EXPECTED, strict=False)
    return sink.written == list(range(len(sink.labels))) and all(np.array_equal(*pair) for pair in pairs)


# The whole way ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 5, 8])
@pytest.mark.parametrize("slots", [1, 2, None])
def test_labels_of_every_batch_are_those_of_a_picture_alone(batch: int, slots: int | None) -> None:
    """Twelve pictures: batches of three come out even, of five and eight they do not."""
    streams = RecordingStreams()
    sink = run(Flights(steps(batch), streams, slots))
    assert len(sink.labels) == 12
    assert right(sink)
    assert streams.problems == []


def test_the_same_code_runs_without_a_device() -> None:
    assert right(run(Flights(steps(4), CpuStreams())))


def test_painted_planes_come_down() -> None:
    painter = Painter(CLASSES.palette_array(), "side-by-side", 0.4)
    flights = Flights(steps(2, painter), RecordingStreams())
    assert flights.send(picture(0)) is None
    flight = flights.send(picture(1))
    assert flight is not None
    for index, (shown, landed) in enumerate(flight.land()):
        assert shown.planes is not None
        wanted = painter.paint_planes(shown.planes, EXPECTED[index], COLOUR)
        assert landed.planes is not None
        assert all(np.array_equal(*pair) for pair in zip(landed.planes, wanted, strict=True))
        assert landed.counts.tolist() == np.bincount(EXPECTED[index].ravel(), minlength=3).tolist()
        assert landed.confidence is not None
        assert 0.3 < landed.confidence <= 1


def test_every_stage_has_its_time() -> None:
    flights = Flights(steps(2), RecordingStreams())
    run(flights)
    assert list(flights.times) == ["upload", "prepare", "forward", "postprocess", "download"]
    # A flight of two: a copy of 2 units, stages of 1, and copying within the device with the first and the last.
    medians = {name: times.median for name, times in flights.times.items()}
    assert medians == {"upload": 1, "prepare": 1, "forward": 0.5, "postprocess": 1, "download": 1}
    assert flights.busy.median == 2.5
    assert len(flights.busy.recent) == 12


# A slot is not used again before its time ----------------------------------------------------------------------------


class Hasty(Flights):
    """Gives the slot back when the flight has been sent, not when it has been written."""

    def _launch(self) -> DeviceFlight:
        flight = super()._launch()
        self.give_back(flight._slot)
        return flight

    def give_back(self, slot: Slot) -> None:
        if len(self._free) < self._free._size:
            super().give_back(slot)


def test_pinned_memory_is_left_alone_while_the_device_is_at_it() -> None:
    streams = RecordingStreams()
    flights = Flights(steps(), streams, 2)
    first = [flights.send(picture(0)), flights.send(picture(1))]
    waiting = threading.Thread(target=lambda: first.append(flights.send(picture(2))), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "a third flight took off from two slots"
    assert first[0] is not None
    first[0].land()
    waiting.join(0.1)
    assert waiting.is_alive(), "what has landed has not been written yet"
    first[0].free()
    waiting.join(5)
    assert not waiting.is_alive()
    assert streams.problems == []


def test_a_slot_that_is_used_too_early_is_caught() -> None:
    streams = RecordingStreams()
    flights = Hasty(steps(), streams, 1)
    early, late = flights.send(picture(0)), flights.send(picture(1))
    assert early is not None
    assert late is not None
    late.land()
    assert streams.problems == ["pinned memory was written while its copy was under way"]
    assert not np.array_equal(early.land()[0][1].labels, EXPECTED[0])


def test_what_is_read_too_early_is_poison() -> None:
    flights = Flights(steps(), RecordingStreams(), 1)
    flight = flights.send(picture(0))
    assert isinstance(flight, DeviceFlight)
    assert (flight._slot.rows_down == POISON).all()
    flight.land()
    assert not (flight._slot.rows_down == POISON).all()


# Nothing waits but the lane that encodes -----------------------------------------------------------------------------


class Waiting(Flights):
    """Waits for each flight before it lets it go."""

    def _launch(self) -> DeviceFlight:
        flight = super()._launch()
        flight._marks[-1].wait()
        return flight


class Settling(Flights):
    """Waits for the whole device after each picture."""

    def _launch(self) -> DeviceFlight:
        flight = super()._launch()
        self.streams.settle()
        return flight


def synchronises(kind: type[Flights]) -> tuple[set[str], int]:
    """The threads that waited for marks, and how often the device was settled between the first and the last."""
    streams = RecordingStreams()
    flights = kind(steps(2), streams)
    before = streams.settled
    assert right(run(flights))
    return set(streams.waits), streams.settled - before - 1  # once when everything is over


def test_only_the_encoding_lane_waits_and_nothing_is_settled_on_the_way() -> None:
    assert synchronises(Flights) == ({"icnet-encode"}, 0)


def test_a_lane_that_waits_is_caught() -> None:
    assert synchronises(Waiting) == ({"MainThread", "icnet-encode"}, 0)
    assert synchronises(Settling)[1] == 6


@pytest.mark.parametrize(("kind", "overlaps"), [(Flights, True), (Waiting, False)])
def test_copies_and_work_overlap(kind: type[Flights], overlaps: bool) -> None:
    """Twelve flights are sent before the first has landed: while one is worked on, others are copied."""
    streams = RecordingStreams()
    flights = kind(steps(), streams, 12)
    sent = [flights.send(picture(index)) for index in range(12)]
    up, compute, down = (
        [t for t in streams.tasks if t.queue == queue] for queue in ("up", "compute", "down")
    )
    stages = len(compute) // 12
    # While the second flight is worked on, the third goes up and the first comes down.
    work = (compute[stages].begin, compute[2 * stages - 1].end)
    assert (up[2].begin < work[1]) == overlaps
    assert (down[0].end > work[0]) == overlaps
    assert (streams.overlap() > 1.4) == overlaps
    for flight in sent:
        assert flight is not None
        flight.land()


# What crosses --------------------------------------------------------------------------------------------------------


class Scores(DeviceSteps):
    """Sends down the scores of every pixel."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        size = self.job.size[0] * self.job.size[1]
        self.outputs = torch.zeros((self.job.batch, 4 * 3 * size), dtype=torch.uint8)
        self.bytes_down = self.outputs.shape[1]


@pytest.mark.parametrize("view", ["labels", "overlay"])
def test_a_byte_and_a_half_a_pixel_goes_up_and_no_more_comes_down(view: str) -> None:
    streams, pixels = RecordingStreams(), SIZE[0] * SIZE[1]
    painter = None if view == "labels" else Painter(CLASSES.palette_array())
    flights = Flights(steps(2, painter), streams)
    assert flights.send(picture(0)) is None
    assert flights.send(picture(1)) is not None
    down = pixels * (2 if view == "labels" else 3) // 2
    assert streams.crossed["up"] == [2 * pixels * 3 // 2]
    assert 2 * down <= streams.crossed["down"][0] <= 2 * (down + 64)  # the classes' counts, rounded up


def test_scores_that_cross_are_caught() -> None:
    streams, kept = RecordingStreams(), steps()
    network = ready_network(TinyNetwork(), CPU, torch.float32)
    wrong = Scores(network, tiny_meta().normalisation, torch.float32, kept.job, CPU)
    assert Flights(wrong, streams).send(picture(0)) is not None
    assert streams.crossed["down"][0] > 10 * SIZE[0] * SIZE[1]


def test_memory_that_is_not_pinned_is_caught() -> None:
    streams = RecordingStreams()
    flights = Flights(steps(), streams, 1)
    slot = flights._free.take()
    slot.host_up = slot.host_up.clone()
    flights.give_back(slot)
    flights.send(picture(0))
    assert streams.problems == ["a copy from or to memory that is not pinned: the host would wait for it"]


# When things go wrong ------------------------------------------------------------------------------------------------


def test_without_a_graph_the_stages_run_one_by_one_and_say_so() -> None:
    flights = Flights(steps(), RecordingStreams(capturable=False))
    assert right(run(flights))
    reason = "operation not permitted when stream is capturing"
    assert flights.notes == [f"the network runs operator by operator, not as a CUDA graph: {reason}"]


def test_an_abort_wakes_whoever_waits_for_a_slot() -> None:
    flights = Flights(steps(), RecordingStreams(), 1)
    flights.send(picture(0))
    threading.Timer(0.05, flights.abort).start()
    with pytest.raises(AbortedError):
        flights.send(picture(1))


def test_a_device_that_fails_ends_the_run_in_one_line() -> None:
    from icnet_cli.errors import ExitCode, IcnetError

    class Failing(RecordingStreams):
        def run(self, stages: Any, after: Any) -> Any:
            if len(self.tasks) > 20:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().run(stages, after)

    with pytest.raises(IcnetError, match="out of memory on cpu; give a smaller --size") as failure:
        run(Flights(steps(), Failing()))
    assert failure.value.code == ExitCode.DEVICE


def test_an_encoder_that_fails_ends_a_run_whose_slots_are_all_taken() -> None:
    class Broken(KeepingSink):
        def write(self, picture: Picture, rendered: Any) -> None:
            if picture.index == 2:
                raise OSError("disk full")
            super().write(picture, rendered)

    sink = Broken()
    lanes = Lanes((picture(i) for i in range(12)), Flights(steps(), RecordingStreams(), 1), keep, sink)
    with pytest.raises(OSError, match="disk full"):
        list(lanes.run())
    assert lanes.stopped
    assert sink.ended == ["abort"]
