"""How often a row is run, with a clock that stands still; and percentiles."""

from __future__ import annotations

import pytest
import torch

from icnet_cli.benchmark.memory import PeakMemory
from icnet_cli.benchmark.timing import Protocol, Timing, measure, percentiles
from icnet_cli.inference.environment import cpu_model, describe, one_line
from tests.benchmark.conftest import FakeClock


def timed(protocol: Protocol, run_s: float) -> tuple[Timing, int]:
    clock, calls = FakeClock(), []

    def run() -> None:
        calls.append(1)
        clock.wait(run_s)

    return measure(run, protocol, clock), len(calls)


def test_the_papers_protocol_where_there_is_time() -> None:
    timing, calls = timed(Protocol(), run_s=0.001)
    assert (timing.warmup, len(timing.milliseconds), calls) == (100, 100, 200)
    assert timing.milliseconds == pytest.approx([1.0] * 100)


def test_a_row_ends_when_its_time_is_up() -> None:
    timing, _ = timed(Protocol(seconds=20), run_s=0.5)
    assert (timing.warmup, len(timing.milliseconds)) == (10, 30)


def test_three_runs_are_timed_however_long_they_take() -> None:
    timing, _ = timed(Protocol(seconds=20), run_s=60)
    assert (timing.warmup, len(timing.milliseconds)) == (1, 3)


def test_quick_is_fewer() -> None:
    timing, _ = timed(Protocol.of(20, quick=True), run_s=0.001)
    assert (timing.warmup, len(timing.milliseconds)) == (3, 10)
    assert Protocol.of(7, quick=False) == Protocol(100, 100, 7, 3)


def test_percentiles() -> None:
    assert percentiles([float(n) for n in range(101, 0, -1)]) == (51, 96, 100)
    assert percentiles([4.0]) == (4, 4, 4)
    with pytest.raises(ValueError, match="no runs"):
        percentiles([])


def test_what_a_timing_says() -> None:
    row = Timing((10.0, 20.0, 30.0), warmup=2).to_dict(batch=4)
    assert (row["runs"], row["warmup"], row["ms_p50"], row["ms_mean"]) == (3, 2, 20, 20)
    assert row["model_fps"] == 200  # four pictures in 20 ms


def test_peak_memory_sees_what_was_held_and_is_gone() -> None:
    memory = PeakMemory(torch.device("cpu"))
    torch.ones(64 << 18)  # 64 MB
    peak = memory.peak_mb()
    if peak is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert 60 < peak < 200


def test_memory_of_before_does_not_count() -> None:
    held = torch.ones(64 << 18)
    memory = PeakMemory(torch.device("cpu"))
    peak = memory.peak_mb()
    del held
    assert peak is None or peak < 30


def test_the_environment_names_no_place(tmp_path) -> None:
    environment = describe(torch.device("cpu"))
    assert {"icnet", "torch", "python", "cpu", "threads", "gpu"} <= set(environment)
    assert "/" not in one_line(environment)
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor : 0\nmodel name\t: Abacus 9\n")
    assert cpu_model(listing) == "Abacus 9"
    assert cpu_model(tmp_path / "none")
