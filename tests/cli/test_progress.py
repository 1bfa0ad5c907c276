from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from icnet_cli.cli import progress
from icnet_cli.cli.progress import Pace, Status, clock, phrase, watch


def test_a_status_in_words() -> None:
    status = Status(120, 300, rate=31.24, left_s=5.8, notes={"slowest": "encode", "unknown": None})
    assert phrase(status) == "120/300 frames, 31.2 fps, 0:06 left, slowest encode"
    assert phrase(Status(7)) == "7 frames"
    assert phrase(Status(1)) == "1 frame"
    assert phrase(Status(1, 1, unit="batches")) == "1/1 batch"
    assert phrase(Status(1, 3)) == "1/3 frames"
    status = Status(50, unit="steps", share=0.4, notes={"loss": 0.123456})
    assert phrase(status) == "50 steps (40%), loss 0.1235"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00"), (62, "1:02"), (3661.6, "1:01:02")])
def test_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_pace_gives_rate_and_time_left() -> None:
    times = iter([0.0, 1.0, 2.0])
    pace = Pace(now=lambda: next(times))
    assert pace.complete(Status(0, 100)) == Status(0, 100)
    pace.complete(Status(10, 100))
    assert pace.complete(Status(20, 100)) == Status(20, 100, rate=10.0, left_s=8.0)


def test_the_pace_forgets_a_slow_start() -> None:
    times = iter([0.0, 60.0, 61.0, 65.0, 71.0])
    pace = Pace(now=lambda: next(times))
    for done in (0, 1, 11, 51):
        pace.complete(Status(done))
    assert pace.complete(Status(111)).rate == pytest.approx(10, rel=0.2)


def count(seen: list[str]) -> Iterator[int | str]:
    try:
        yield from range(1, 4)
        yield "report"
    finally:
        seen.append("closed")


def describe(event: int | str) -> Status | None:
    return Status(event, 3) if isinstance(event, int) else None


def test_a_watched_loop_returns_its_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(count([]), "none", describe) == "report"
    assert capsys.readouterr() == ("", "")


def test_plain_is_no_line_a_frame(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, *range(1, 3000)])  # a second a frame, and some looks at the clock besides
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    watch(iter(Status(n) for n in range(100)), "plain", lambda status: status)
    out, err = capsys.readouterr()
    assert out == ""
    assert 10 < len(err.splitlines()) < 70
    assert err.splitlines()[-1].startswith("99 frames")


def test_a_short_loop_says_nothing_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    watch(count([]), "plain", describe)
    assert capsys.readouterr() == ("", "")


def test_json_lines_parse(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "JSON_EVERY_S", 0.0)
    watch(count([]), "json", describe)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["done"] for line in lines] == [1, 2, 3]
    assert {"total", "fps", "left_s"} <= set(lines[0])


def test_news_is_json_where_progress_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a status beside what it has, of anything else alone; a line that is no JSON would end who follows them."""
    monkeypatch.setattr(progress, "JSON_EVERY_S", 1e9)
    told = [Status(1, news="mIoU 0.5"), "the pictures changed", Status(2)]
    watch(iter(told), "json", lambda event: event)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("done") for line in lines] == [1, None, 2]
    assert [line["news"] for line in lines] == ["mIoU 0.5", "the pictures changed", None]
    assert lines[1] == {"news": "the pictures changed"}


@pytest.mark.parametrize("mode", ["plain", "bar", "none"])
def test_what_is_told_of_a_loop_is_a_line(capsys: pytest.CaptureFixture[str], mode: str) -> None:
    watch(iter(["the pictures changed"]), mode, lambda event: event)
    assert "the pictures changed\n" in capsys.readouterr().err


def test_not_a_terminal_means_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    watch(count([]), None, describe)
    assert capsys.readouterr().err.startswith("1/3 frames")


def test_a_bar_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(count([]), "bar", describe) == "report"
    assert capsys.readouterr().out == ""


def test_a_loop_whose_display_fails_is_closed() -> None:
    seen: list[str] = []

    def fail(event: object) -> Status:
        raise KeyboardInterrupt

    events = count(seen)
    with pytest.raises(KeyboardInterrupt):
        watch(events, "none", fail)
    assert seen == ["closed"]


def test_news_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch(iter([1, 2, 3]), "plain", lambda n: Status(n, news="mIoU 0.5" if n == 2 else None))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("mIoU 0.5")
    assert len(lines) == 2
