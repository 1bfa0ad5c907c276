"""RTMP over loopback: what is played, and what is said of each way in which it ends."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from live_reading import STALL_S, served, take
from live_servers import FRAME, HANG_UP, HOLD
from rtmp_server import GOODBYE, RtmpServer
from video_clips import make_clip, number_in

from icnet_cli.errors import IcnetError
from icnet_cli.video.live import LiveReader

PICTURES = 10


@pytest.fixture
def feed(tmp_path: Path) -> bytes:
    """An flv file of numbered pictures, 25 a second."""
    ticks = [40 * n for n in range(PICTURES)]
    return make_clip(tmp_path / "feed.flv", ticks, Fraction(1, 1000), options={"g": "5"}).read_bytes()


def test_rtmp_is_read_to_the_end_that_its_server_tells(
    feed: bytes, servers: list[Any], read: Callable[..., LiveReader]
) -> None:
    server = served(servers, RtmpServer([(feed, GOODBYE)]))
    reader = read(server.url, tries=0, timeout_s=5.0)
    frames, told = take(reader)
    assert [number_in(frame.rgb()) for frame in frames] == list(range(PICTURES))
    assert [frame.pts for frame in frames] == [FRAME * n for n in range(PICTURES)]
    assert reader.finished
    assert not told


@pytest.mark.parametrize(
    ("then", "reason"), [(HANG_UP, "the connection broke"), (HOLD, f"nothing came for {2 * STALL_S:g} s")]
)
def test_a_server_that_goes_without_a_word_is_told_as_what_it_is(
    then: str, reason: str, feed: bytes, servers: list[Any], read: Callable[..., LiveReader]
) -> None:
    """FFmpeg says of both that there was an input/output error."""
    server = served(servers, RtmpServer([(feed, then)]))
    reader = read(server.url, tries=0, timeout_s=2 * STALL_S)
    with pytest.raises(IcnetError) as raised:
        take(reader)
    assert str(raised.value).endswith(f"/live/***: {reason}")
    assert reader.frames_read == PICTURES


def test_a_server_that_sends_nothing_is_told_so(
    feed: bytes, servers: list[Any], read: Callable[..., LiveReader]
) -> None:
    server = served(servers, RtmpServer([(feed[:13], HOLD)]))
    with pytest.raises(IcnetError, match=rf"live/\*\*\*: no answer within {STALL_S:g} s"):
        read(server.url, timeout_s=STALL_S).ready()
