"""Servers that are closed when a test ends, and readers of them that wait for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_reading import STALL_S
from live_servers import closing_all

from icnet_cli.video.live import LiveReader
from icnet_cli.video.live_address import Address, parse_address


@pytest.fixture
def servers() -> Iterator[list[Any]]:
    with closing_all() as all_of_them:
        yield all_of_them


@pytest.fixture
def read() -> Iterator[Callable[..., LiveReader]]:
    """Makes readers that wait for nothing between tries, and closes them; `pauses` are the waits."""
    readers: list[LiveReader] = []

    def make(url: str | Address, **options: Any) -> LiveReader:
        pauses: list[float] = []

        def pause(seconds: float) -> bool:
            pauses.append(seconds)
            return False

        address = parse_address(url) if isinstance(url, str) else url
        options = {"timeout_s": STALL_S, "pause": pause, "every_frame": True, **options}
        reader = LiveReader(address, **options)
        reader.pauses = pauses  # type: ignore[attr-defined]
        readers.append(reader)
        reader.start()
        return reader

    yield make
    for reader in readers:
        reader.close()
