"""A time by which each picture must be labelled, and what is chosen so that it is kept as the load changes.

Two meanings of keeping it. `--deadline`: a picture is labelled within that time of being taken. `--realtime`: pictures
are labelled at the source's own rate, with room for a few of them, as a player has that fills its queue while a slow
one is worked on.

What is chosen is a setting: the size at which the network sees the picture, how many frames one run of it serves, and
whether it runs beside the frames, in a thread of its own, so that none waits for it. Settings are ranked by what they
cost in quality: labels carried over eight frames lose less than a network that sees two thirds of the size.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]

SLACK = 8  # pictures of --realtime that may wait while one is worked on: a third of a second at 25 a second
FARTHEST = 8  # frames that a result may take to come when the network runs beside them
_READY, _STEADY = 0.9, 0.85  # shares of the time that a setting may be expected to take
_BETTER = 0.9  # and to go back to a better one it must be expected to take less than this of that
_PATIENCE, _MOST_PATIENCE = 12, 1000  # pictures for which it must look so; doubled where that was an error
_MEMORY = 24  # frames over which it is counted how often the flow asks for the network
_BESIDE = 1.6  # what running beside the frames costs: they share the cores


@dataclass(frozen=True)
class Setting:
    """One way to label pictures.

    Attributes:
        scale: of the sides of the network's input.
        span: frames that one run of the network serves at most.
        beside: whether it runs in a thread of its own; the span is then what its time makes it.
    """

    scale: float = 1.0
    span: int = 1
    beside: bool = False


# By what they lose, least first (measured on rendered streets and on road clips, see docs/video.md).
PUNCTUAL = (
    Setting(),
    *(Setting(scale, beside=True) for scale in (1.0, 0.8, 0.65, 0.5)),
    *(Setting(scale) for scale in (0.8, 0.65, 0.5, 0.4)),
    Setting(0.4, beside=True),
    Setting(0.3),
)
STEADY = (
    *(Setting(1.0, span) for span in (1, 2, 3, 5, 8, 12)),
    *(Setting(scale, span) for scale in (0.8, 0.65, 0.5, 0.4, 0.3) for span in (5, 8, 12)),
)


class Estimate:
    """What something takes, on the slow side: a running mean and its running deviation.

    As TCP foresees its round trips (RFC 6298).
    """

    def __init__(self) -> None:
        self.mean: float | None = None
        self._deviation = 0.0

    def add(self, value: float) -> None:
        if self.mean is None:
            self.mean, self._deviation = value, value / 16
            return
        self._deviation += (abs(value - self.mean) - self._deviation) / 8
        self.mean += (value - self.mean) / 8

    @property
    def slow(self) -> float | None:
        return None if self.mean is None else self.mean + 2 * self._deviation


class Costs:
    """Seconds of each kind of frame, learnt as they pass."""

    def __init__(self) -> None:
        self._network, self._carried = Estimate(), Estimate()

    def add_network(self, seconds: float, setting: Setting) -> None:
        """A run of the network at a setting's size; beside the frames or as one of them."""
        self._network.add(seconds / _work(setting.scale) / (_BESIDE if setting.beside else 1))

    def add_carried(self, seconds: float) -> None:
        self._carried.add(seconds)

    def network(self, setting: Setting, *, slow: bool = True) -> float | None:
        """What a run of the network at this setting takes, a slow one or the mean; None before one was seen."""
        seen = self._network.slow if slow else self._network.mean
        return None if seen is None else seen * _work(setting.scale) * (_BESIDE if setting.beside else 1)

    def carried(self, *, slow: bool = True) -> float | None:
        """What a frame takes that the network does not see; a tenth of one that it sees before one was."""
        own = self._carried.slow if slow else self._carried.mean
        if own is not None:
            return own
        seen = self.network(Setting(), slow=slow)
        return None if seen is None else 0.1 * seen


def _work(scale: float) -> float:
    """The share of the full size's work: most goes with the area, something stays."""
    return 0.1 + 0.9 * scale * scale


class Pace:
    """Chooses settings for one picture after another and counts what was late.

    Args:
        interval_s: the deadline, or the time from one picture to the next.
        slack: pictures that may be late for a while: 0 for a deadline of each, `SLACK` for a steady rate.
        sizes: whether the network takes other sizes than its own.
        beside: whether it may run in a thread of its own.
        clock: seconds; tests give their own.
        pause: waits so many seconds, where pictures do not come by the clock themselves.
    """

    def __init__(
        self,
        interval_s: float,
        slack: int = 0,
        *,
        sizes: bool = True,
        beside: bool = True,
        clock: Clock = time.perf_counter,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self.interval_s, self.slack, self._clock, self._pause = interval_s, slack, clock, pause
        self.settings = tuple(
            setting
            for setting in (STEADY if slack else PUNCTUAL)
            if (sizes or setting.scale == 1) and (beside or not setting.beside)
        )
        self.costs = Costs()
        self.setting = self.settings[0]
        self.chosen: Counter[Setting] = Counter()
        self.missed = self.changes = 0
        self.possible = True  # whether, by what it is expected to take, any setting keeps to the time
        self._looks_better, self._patience, self._since_better = 0, _PATIENCE, _MOST_PATIENCE
        self._taken = self._shown = self._origin = self.behind_s = 0.0
        self._due: float | None = None
        self._since_network, self._forced = (
            0,
            0.0,
        )  # share of frames on which the network ran before it was due

    def take(self, seconds: float | None = None) -> Setting:
        """A picture is taken, of this time on the source's clock where it has one; the setting for it."""
        if self.setting.beside and self._pause is not None and self.chosen:
            # A file gives its frames at once: without a pause most would pass while the network sees one.
            self._pause(max(0.0, self._taken + self.interval_s - self._clock()))
        self._taken = self._clock()
        if self.slack:
            self._shown = self.chosen.total() * self.interval_s if seconds is None else seconds
            if self._due is None:
                self._origin = self._taken - self._shown
            self._due = self._origin + self._shown + self.slack * self.interval_s
        else:
            self._due = self._taken + self.interval_s
        self._choose()
        self.chosen[self.setting] += 1
        return self.setting

    def done(self, *, network: bool) -> None:
        """The picture is labelled; whether the network ran on it while it waited."""
        now = self._clock()
        self._since_network += 1
        forced = network and self._since_network < self.setting.span
        self._forced += (forced - self._forced) / _MEMORY
        if network:
            self._since_network = 0
            self.costs.add_network(now - self._taken, Setting(self.setting.scale))
        else:
            self.costs.add_carried(now - self._taken)
        assert self._due is not None
        if now > self._due:
            self.missed += 1
            # A player that ran dry goes on from here: what was late once does not make all that follows late.
            if self.slack:
                self.behind_s += max(0.0, self._taken - self._shown - self._origin)
                self._origin = self._taken - self._shown

    def fits(self, setting: Setting, share: float = 1.0) -> bool:
        """Whether a setting is expected to keep to this share of the time; True where nothing is known."""
        network, carried = self.costs.network(setting), self.costs.carried()
        if network is None or carried is None:
            return True
        limit = self.interval_s * share
        if setting.beside:
            return carried <= _READY * limit and network <= FARTHEST * limit
        if not self.slack:
            return network <= _READY * limit
        return self._mean(setting) <= _STEADY * limit and network <= self.slack * limit

    def _mean(self, setting: Setting) -> float:
        """Seconds a frame, with those runs of the network that the flow asks for before they are due.

        Of means, not of slow ones: what single frames take longer than others, the waiting ones make up for.
        """
        network = self.costs.network(setting, slow=False) or 0.0
        carried = self.costs.carried(slow=False) or 0.0
        due = 1 / setting.span
        share = due + self._forced * (1 - due)
        return share * network + (1 - share) * carried

    def _choose(self) -> None:
        self._since_better += 1
        if not self.fits(self.setting):
            if self._since_better <= 2 * _PATIENCE:
                self._patience = min(2 * self._patience, _MOST_PATIENCE)
            self._change(next((s for s in self.settings if self.fits(s)), self._cheapest()))
            self.possible = self.fits(self.setting)
            return
        self.possible = True
        rank = self.settings.index(self.setting)
        better = next((s for s in self.settings[:rank] if self.fits(s, _BETTER)), None)
        self._looks_better = self._looks_better + 1 if better else 0
        if better and self._looks_better >= self._patience:
            self._change(better)
            self._since_better = 0

    def _change(self, setting: Setting) -> None:
        self._looks_better = 0
        if setting != self.setting:
            self.changes += 1
            self.setting = setting

    def _cheapest(self) -> Setting:
        """Where none keeps to the time: the one that is late the least."""

        def cost(setting: Setting) -> float:
            network, carried = self.costs.network(setting) or 0.0, self.costs.carried() or 0.0
            if setting.beside:
                return max(carried, network / FARTHEST)
            return self._mean(setting) if self.slack else network

        return min(self.settings, key=cost)
