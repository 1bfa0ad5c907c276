"""One clock over all the connections of a live source."""

from __future__ import annotations

from fractions import Fraction

import pytest

from icnet_cli.video.live_clock import TIME_BASE, Timeline


def test_the_clock_follows_the_sources_own_within_a_connection() -> None:
    line = Timeline()
    placed = [line.place(Fraction(at, 25), 5.0 + jitter) for at, jitter in ((50, 0.0), (51, 0.3), (53, 0.31))]
    assert placed == [0, 3600, 10_800]
    assert line.gap is None


def test_the_clock_measures_a_gap_by_arrival() -> None:
    line = Timeline()
    line.place(Fraction(100), 10.0)
    line.reconnected("the stream ended")
    assert line.place(Fraction(3), 13.5) == round(Fraction(7, 2) / TIME_BASE)
    assert line.gap is not None
    assert line.gap.to_dict() == {"at_s": 0.0, "seconds": 3.5, "reason": "the stream ended"}


@pytest.mark.parametrize("at", [Fraction(2), Fraction(10**6), Fraction(99)])
def test_another_clock_within_a_connection_goes_on_by_arrival(at: Fraction) -> None:
    line = Timeline()
    line.place(Fraction(100), 10.0)
    assert line.place(at, 10.04) == 3600
    assert line.place(at + Fraction(1, 25), 10.09) == 7200  # and from there by its own


def test_times_always_grow() -> None:
    line = Timeline()
    times = [line.place(at, arrived) for at, arrived in ((Fraction(1), 5.0), (Fraction(1), 5.0), (None, 4.0))]
    assert times == sorted(set(times))


def test_a_hole_in_a_connection_is_a_gap() -> None:
    line = Timeline()
    line.place(Fraction(0), 0.0)
    line.place(Fraction(4), 4.0)
    assert line.gap is not None
    assert line.gap.reason == "pictures are missing"
