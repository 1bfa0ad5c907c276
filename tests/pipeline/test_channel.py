"""A channel is bounded, keeps order, and never leaves anybody waiting for one who is gone."""

from __future__ import annotations

import threading
import time

import pytest

from icnet_cli.pipeline.channel import AbortedError, Channel


def in_thread(work: object) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def guarded() -> None:
        try:
            results.append(work())  # type: ignore[operator]
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    return thread, results


def test_order_is_kept_and_the_end_is_seen() -> None:
    channel: Channel[int] = Channel(2)
    thread, results = in_thread(lambda: list(channel))
    for number in range(50):
        channel.put(number)
    channel.close()
    thread.join(5)
    assert results == [list(range(50))]


def test_no_more_than_its_size_wait_in_it() -> None:
    channel: Channel[int] = Channel(3)
    put = []

    def produce() -> None:
        for number in range(10):
            channel.put(number)
            put.append(number)

    thread, _ = in_thread(produce)
    thread.join(0.1)
    assert thread.is_alive()
    assert len(put) == len(channel) == 3
    channel.abort()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("waiting", ["producer", "consumer"])
def test_abort_wakes_who_waits(waiting: str) -> None:
    channel: Channel[int] = Channel(1)
    if waiting == "producer":
        channel.put(0)
        thread, results = in_thread(lambda: channel.put(1))
    else:
        thread, results = in_thread(lambda: list(channel))
    time.sleep(0.02)
    channel.abort()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(results[0], AbortedError)
    with pytest.raises(AbortedError):
        channel.put(2)


def test_a_closed_channel_takes_no_more() -> None:
    channel: Channel[int] = Channel(2)
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        channel.put(1)
    with pytest.raises(ValueError, match="at least one"):
        Channel(0)
