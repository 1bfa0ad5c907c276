"""What is chosen so that a deadline is kept, by a clock and costs that the tests make up."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from icnet_cli.pipeline.deadline import FARTHEST, SLACK, Estimate, Pace, Setting


class Machine:
    """Labels pictures in made-up time: so long at full size, so long for a frame that is carried."""

    def __init__(self, network_s: float, carried_s: float = 0.008, *, jitter: float = 0.1) -> None:
        self.network_s, self.carried_s, self.load, self.jitter = network_s, carried_s, 1.0, jitter
        self.now = 0.0
        self._random = random.Random(0)
        self._age = 0
        self._ready: float | None = None
        self.late: list[bool] = []
        self.asks = 0  # the flow asks for the network each so many frames; 0: never

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def _time(self, seconds: float) -> float:
        return seconds * self.load * (1 + self.jitter * self._random.random())

    def run(self, pace: Pace, frames: int, every_s: float | None = None) -> None:
        """`every_s`: pictures come by the clock."""
        begun = self.now
        for i in range(frames):
            if every_s is not None:
                self.now = max(self.now, begun + i * every_s)
            setting = pace.take()
            missed = pace.missed
            took = self._time(self.network_s * setting.scale**2 + 0.002)
            if setting.beside:
                took *= 1.6
                if self._ready is None or self._ready <= self.now:
                    if self._ready is not None:
                        pace.costs.add_network(took, setting)
                    self._ready = self.now + took
                network = False
            else:
                self._ready, self._age = None, self._age + 1
                network = self._age >= setting.span or bool(self.asks and self._age >= self.asks)
            if network:
                self._age = 0
            self.now += took if network else self._time(self.carried_s)
            pace.done(network=network)
            self.late.append(pace.missed > missed)


def punctual(machine: Machine, deadline_s: float = 0.033, **how: Any) -> Pace:
    return Pace(deadline_s, clock=machine.clock, pause=machine.pause, **how)


def steady(machine: Machine, interval_s: float = 0.04, **how: Any) -> Pace:
    return Pace(interval_s, SLACK, clock=machine.clock, **how)


def test_a_fast_machine_runs_the_network_on_each_frame() -> None:
    for make in (punctual, steady):
        machine = Machine(0.015)
        pace = make(machine)
        machine.run(pace, 200)
        assert pace.chosen == {Setting(): 200}
        assert pace.missed == 0


def test_where_the_network_is_too_slow_it_runs_beside_at_its_own_size() -> None:
    machine = Machine(0.12)
    pace = punctual(machine)
    machine.run(pace, 300)
    assert pace.setting == Setting(beside=True)
    assert pace.missed <= 0.05 * 300
    assert pace.possible


def test_a_slower_machine_sees_smaller_pictures() -> None:
    machine = Machine(0.4)
    pace = punctual(machine)
    machine.run(pace, 300)
    assert pace.setting.beside
    assert pace.setting.scale < 1
    assert pace.missed <= 0.05 * 300


def test_without_a_thread_beside_the_size_alone_keeps_the_deadline() -> None:
    machine = Machine(0.09)
    pace = punctual(machine, beside=False)
    machine.run(pace, 300)
    assert not pace.setting.beside
    assert 0.4 <= pace.setting.scale < 0.65
    assert pace.missed <= 0.05 * 300


def test_a_slow_machine_goes_down_to_three_tenths_of_the_side() -> None:
    for make, machine in (
        (partial(punctual, beside=False), Machine(0.15, jitter=0.0)),
        (steady, Machine(2.2, jitter=0.0)),
    ):
        pace = make(machine)
        machine.run(pace, 300, every_s=pace.interval_s)
        assert any(setting.scale == 0.3 for setting in pace.chosen)
        assert pace.possible
        assert pace.missed <= 0.05 * 300


def test_a_rate_is_kept_by_fewer_key_frames_before_smaller_pictures() -> None:
    machine = Machine(0.1)
    pace = steady(machine)
    machine.run(pace, 400, every_s=0.04)
    assert pace.setting.scale == 1
    assert pace.setting.span in (3, 5)
    assert pace.missed <= 0.05 * 400


def test_at_a_steady_rate_quick_frames_make_up_for_slow_ones() -> None:
    """Frames take up to three times as long, as where others use the machine too, and the mean is quick enough."""
    machine = Machine(0.06, 0.010, jitter=2.0)
    pace = steady(machine)
    machine.run(pace, 600, every_s=0.04)
    full = sum(count for setting, count in pace.chosen.items() if setting.scale == 1)
    assert full >= 0.75 * 600
    assert pace.missed == 0


def test_runs_that_the_flow_asks_for_are_reckoned_with() -> None:
    machine = Machine(0.15)
    machine.asks = 3  # whatever span is chosen
    pace = steady(machine)
    machine.run(pace, 400, every_s=0.04)
    assert pace.setting.scale < 1
    assert pace.missed <= 0.05 * 400


def test_a_key_frame_may_not_take_longer_than_the_queue_lasts() -> None:
    machine = Machine(0.6)
    pace = steady(machine)
    machine.run(pace, 400, every_s=0.04)
    assert pace.setting.scale < 1
    assert pace.missed <= 0.05 * 400


@pytest.mark.parametrize("make", [punctual, steady])
def test_as_the_load_grows_it_gives_way_and_comes_back(make: Callable[[Machine], Pace]) -> None:
    machine = Machine(0.018)
    pace = make(machine)
    machine.run(pace, 100, every_s=pace.interval_s)
    assert pace.setting == Setting()
    machine.load = 3.0
    machine.run(pace, 300, every_s=pace.interval_s)
    assert pace.setting != Setting()
    assert sum(machine.late[130:400]) <= 0.05 * 270  # after it was noticed
    machine.load = 1.0
    machine.run(pace, 300, every_s=pace.interval_s)
    assert pace.setting == Setting()
    assert pace.missed <= 0.05 * 700


def test_a_single_slow_frame_changes_nothing() -> None:
    machine = Machine(0.015)
    pace = punctual(machine)
    machine.run(pace, 50)
    machine.load = 2.5
    machine.run(pace, 1)
    machine.load = 1.0
    machine.run(pace, 100)
    assert pace.missed == 1
    assert pace.setting == Setting()


def test_what_no_setting_can_keep_is_said() -> None:
    machine = Machine(0.2, carried_s=0.05)
    pace = punctual(machine, 0.004)
    machine.run(pace, 100)
    assert not pace.possible
    assert pace.missed == 100


def test_sizes_are_left_alone_where_the_network_has_one() -> None:
    machine = Machine(2.0)
    pace = steady(machine, sizes=False)
    machine.run(pace, 100, every_s=0.04)
    assert {setting.scale for setting in pace.chosen} == {1.0}


def test_being_late_once_does_not_make_all_that_follows_late() -> None:
    machine = Machine(0.015)
    machine.now = 50.0  # a clock that did not begin with the run
    pace = steady(machine)
    machine.run(pace, 20, every_s=0.04)
    assert pace.behind_s == 0
    machine.now += 3  # the machine slept
    machine.run(pace, 100, every_s=0.04)
    assert pace.missed == 1
    assert pace.behind_s == pytest.approx(3, abs=0.04)


def test_frames_of_a_file_wait_for_the_time_they_have() -> None:
    machine = Machine(0.12)
    pace = punctual(machine)
    machine.run(pace, 100)  # as fast as they can
    # Otherwise a result would be so many frames old.
    assert machine.now > 0.9 * 100 * 0.033
    assert FARTHEST * 0.033 > 0.12 * 1.6


def test_an_estimate_lies_on_the_slow_side_and_follows() -> None:
    estimate = Estimate()
    assert estimate.slow is None
    for i in range(60):
        estimate.add(1.0 + 0.2 * (i % 2))
    assert estimate.slow is not None
    assert 1.15 < estimate.slow < 1.6
    for _ in range(60):
        estimate.add(0.5)
    assert estimate.slow < 0.6
