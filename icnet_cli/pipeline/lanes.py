"""Three lanes that run at once: decode | network | encode.

The network runs in the caller's thread, decoding and encoding in one each, with short queues between them. An
error, Ctrl-C or a generator that is closed ends all three, whichever lane it began in; what was being written
is then put away by the lane that wrote it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from icnet_cli.errors import ending_signals
from icnet_cli.video.live import Notice

from .channel import AbortedError, Channel
from .items import Labels, Picture
from .network import AtOnce, Flight, Network, StageTimes
from .sinks import Rendered, Sink

DEPTH = 3  # pictures waiting between two lanes: enough to smooth a slow one, 30 MB of full HD
# For a lane to notice that it is over: it looks up after each picture. One that decodes may wait for a pipe, which
# gives nothing and does not end, and who pressed Ctrl-C waits with it; it holds nothing that has to be put away, and
# is left behind with what it reads unclosed.
_READS_S, _PATIENCE_S = 2.0, 10.0


@contextmanager
def no_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP wait until the block ends.

    Amid a thread's start they would leave a lane that nobody ends; between the making of a file and the promise to
    remove it, a file that nobody removes.

    The lanes inherit it, and so do a codec's own threads: signals go to the main thread, which answers at once. A
    thread that was there before, such as a decoder's, may take a signal that this one holds off, and Python would
    answer it here all the same: so its answers wait too.
    """
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    if mask is None:
        yield
        return
    ending = tuple(ending_signals())
    asked: list[int] = []
    answers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other is asked to answer
        found = {number: signal.getsignal(number) for number in ending}
        answers = {number: answer for number, answer in found.items() if callable(answer)}
    before = mask(signal.SIG_BLOCK, ())
    try:
        for number in answers:
            signal.signal(number, lambda told, _: asked.append(told))
        mask(signal.SIG_BLOCK, ending)
        yield
    finally:
        mask(signal.SIG_SETMASK, before)  # what came meanwhile is noted now
        for number, answer in answers.items():
            signal.signal(number, answer)
        for number in asked[:1]:
            signal.raise_signal(number)


@dataclass(frozen=True)
class FrameDone:
    """One picture has been written.

    Attributes:
        done, total: pictures so far and expected (None: not known).
        index, seconds: the source's number of it, and its time on the source's clock (None from pictures).
        slowest: the lane that takes the longest so far: decode, network or encode.
        dropped: frames of a live source that were too old by the time of their inference.
    """

    done: int
    total: int | None
    index: int
    seconds: float | None
    slowest: str
    dropped: int = 0


class Lanes:
    """One run from a source to a sink.

    Args:
        source: iterated in a thread of its own.
        label: a picture to its (H, W) labels, or a `Network` with several pictures under way; called in the thread
            that iterates `run`.
        render: a picture and its labels (of a `Network`: what it gives) to what the sink takes; called, like the
            sink, in a third.
        total: pictures expected, for the events.
        decoded: the queue between decoding and the network, of a live source. Notices that come
            through it are events at once.
    """

    def __init__(
        self,
        source: Iterator[Any],
        label: Callable[[Picture], Labels] | Network,
        render: Callable[[Picture, Any], Rendered],
        sink: Sink,
        total: int | None = None,
        decoded: Channel[Picture | Notice] | None = None,
    ) -> None:
        self._source, self._render, self._sink, self._total = source, render, sink, total
        self._network: Network = AtOnce.one_by_one(label) if callable(label) else label
        self.times = {stage: StageTimes() for stage in ("decode", "render", "encode")}
        self.times["network"] = self._network.busy
        self.done = 0
        self._decoded: Channel[Picture | Notice] = Channel(DEPTH) if decoded is None else decoded
        self._is_live = decoded is not None
        self._labelled: Channel[Flight] = Channel(DEPTH)
        self._events: deque[FrameDone] = deque()
        self._error: BaseException | None = None
        # Waited for instead of the threads: in Python 3.11 a Ctrl-C amid Thread.join() marks a thread that still runs
        # as ended (bpo-45274's cure), and the program would go while a file is being put away.
        self._ended = [threading.Event(), threading.Event()]
        self._threads = [
            threading.Thread(
                target=self._guarded, args=(lane, ended), name=f"icnet-{lane.__name__[1:]}", daemon=True
            )
            for lane, ended in zip((self._decode, self._encode), self._ended, strict=True)
        ]

    @property
    def started(self) -> bool:
        """Whether the sink is in the hands of the lane that closes it, or aborts it."""
        return self._threads[-1].ident is not None

    @property
    def stopped(self) -> bool:
        """Whether both threads have ended, so that what they held may be closed."""
        threads = zip(self._threads, self._ended, strict=True)
        return all(ended.is_set() or thread.ident is None for thread, ended in threads)

    def finish(self) -> None:
        """As if the source ended here; what was taken is written. From any thread, or a signal's handler."""
        self._decoded.end()

    def run(self) -> Iterator[FrameDone | Notice]:
        """Do it all, an event a picture; the sink is closed at the end, or aborted where there is an error."""
        try:
            with no_signals():
                for thread in self._threads:
                    thread.start()
            for picture in self._decoded:
                if isinstance(picture, Notice):
                    yield picture
                    continue
                self._pass_on(self._network.send(picture))
                yield from self._waiting_events()
            self._pass_on(self._network.rest())
            self._labelled.close()
            for ended in self._ended:
                ended.wait()
            yield from self._waiting_events()
        except AbortedError:
            pass  # the lane that failed has left its error
        finally:
            self._stop()
        if self._error is not None:
            raise self._error

    def _pass_on(self, flight: Flight | None) -> None:
        if flight is not None:
            self._labelled.put(flight)

    def _abort(self) -> None:
        self._decoded.abort()
        self._labelled.abort()
        self._network.abort()

    def _stop(self) -> None:
        self._abort()
        start = time.monotonic()
        for thread, ended, patience in zip(self._threads, self._ended, (_READS_S, _PATIENCE_S), strict=True):
            if thread.ident is not None:
                ended.wait(max(0.0, start + patience - time.monotonic()))
        self._network.close()

    def _guarded(self, lane: Callable[[], None], ended: threading.Event) -> None:
        try:
            lane()
        except AbortedError:
            pass
        except BaseException as error:
            self._error = self._error or error
            self._abort()
        finally:
            ended.set()

    def _decode(self) -> None:
        pictures = iter(self._source)
        while True:
            start = time.perf_counter()
            picture = next(pictures, None)
            if picture is None:
                break
            self.times["decode"].add((time.perf_counter() - start) * 1000)
            self._decoded.put(picture)
        self._decoded.close()

    def _encode(self) -> None:
        try:
            for flight in self._labelled:
                for picture, labels in flight.land():
                    self._write(picture, labels)
                flight.free()
            self._sink.close()
        except BaseException:
            self._sink.abort()  # here, because nobody else may touch a file that this thread writes
            raise

    def _write(self, picture: Picture, labels: Any) -> None:
        with self.times["render"].measure():
            rendered = self._render(picture, labels)
        with self.times["encode"].measure():
            self._sink.write(picture, rendered)
        self.done += 1
        seconds, dropped = picture.seconds, self._decoded.dropped
        self._events.append(FrameDone(self.done, self._total, picture.index, seconds, self.slowest, dropped))

    @property
    def slowest(self) -> str:
        spent = {name: times.total for name, times in self.times.items()}
        spent["encode"] += spent.pop("render")
        if self._is_live:  # where decoding is mostly waiting
            spent.pop("decode")
        return max(spent, key=lambda name: spent[name])

    def _waiting_events(self) -> Iterator[FrameDone]:
        while self._events:
            yield self._events.popleft()
