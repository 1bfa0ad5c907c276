"""A bounded queue between two threads that can be closed from either end, and that wakes whoever waits.

`queue.Queue` has no way to end: a producer waiting for room and a consumer waiting for work would need timeouts
to notice that the other is gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class AbortedError(Exception):
    """The other end is gone; whoever sees this puts its things away and ends."""


class EndOfChannelError(Exception):
    """The channel is closed, and everything has been taken."""


class Channel(Generic[T]):
    """First in, first out, at most `size` items at a time.

    `dropped` counts items that were put and not given, in channels that do so (`pipeline.live.Inbox`).
    """

    dropped = 0

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a channel holds at least one item, not {size}")
        self._size = size
        self._items: deque[T] = deque()
        self._closed = self._aborted = self._ended = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Wait for room, then add. Raises AbortedError where nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._aborted or self._ended)
            if self._aborted or self._ended:
                raise AbortedError
            if self._closed:
                raise ValueError("the channel is closed")
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty. Raises AbortedError where no more will come."""
        while True:
            try:
                item = self.take()
            except EndOfChannelError:
                return
            yield item

    def take(self) -> T:
        """The next item, waited for. Raises AbortedError, or EndOfChannelError where it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed or self._aborted)
            if self._aborted:
                raise AbortedError
            if not self._items:
                raise EndOfChannelError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more will be put; what is in it can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def end(self) -> None:
        """No more is wanted: what is in it is dropped, the taker comes to its end, the putter gets an AbortedError."""
        with self._changed:
            self._closed = self._ended = True
            self._items.clear()
            self._changed.notify_all()

    def abort(self) -> None:
        """Drop everything and wake both ends."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)
