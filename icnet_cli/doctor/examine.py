"""`icnet doctor`: every check in turn; a generator of small events that ends with the report."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from icnet_cli.config import DoctorConfig
from icnet_cli.doctor import machine, parity, video
from icnet_cli.doctor.findings import BAD, OK, WARNING, Check, Finding, guarded
from icnet_cli.doctor.parity import GROUP, Parity, Way

CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("program", "program", machine.program),
    ("libraries", "torch", machine.libraries),
    ("libraries", "opencv", machine.opencv),
    ("gpu", "gpu", machine.gpu),
    ("backends", "backends", parity.backends),
    ("video", "codecs", video.codecs),
    ("video", "hardware codecs", video.hardware),
    ("weights", "weights", machine.weights),
    ("folders", "folders", machine.folders),
)


@dataclass(frozen=True)
class CheckDone:
    """After each check: how many of how many, and its name."""

    done: int
    total: int
    name: str


@dataclass(frozen=True)
class DoctorReport:
    """Everything that was found, in order."""

    findings: list[Finding] = field(default_factory=list)

    def having(self, state: str) -> list[Finding]:
        """The findings of one state."""
        return [finding for finding in self.findings if finding.state == state]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document: `ok` unless something is bad, how many of what, and `findings`."""
        return {
            "ok": not self.having(BAD),
            "bad": len(self.having(BAD)),
            "warnings": len(self.having(WARNING)),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def examine(
    config: DoctorConfig, more: Mapping[str, Check] | None = None
) -> Generator[CheckDone, None, DoctorReport]:
    """Look at everything. No check ends another: what one raises is what it found.

    Args:
        more: checks of the caller's own by name (settings, say), each a group of its own.

    Raises:
        IcnetError: 2 for arguments.
    """
    config.check()
    checks = [*CHECKS, *((name, name, check) for name, check in (more or {}).items())]
    ways: list[Way] = []
    if not config.no_parity:
        with suppress(Exception):  # without torch there are none, which the checks will tell
            ways = parity.ways()
    total = len(checks) + (0 if config.no_parity else 1 + len(ways))
    found: list[Finding] = []
    for done, (group, name, check) in enumerate(checks, start=1):
        found += guarded(group, name, check)
        yield CheckDone(done, total, name)
    if not config.no_parity:
        yield from _parity(config.weights, ways, found, total)
    return DoctorReport(found)


def _parity(
    weights: str, ways: list[Way], found: list[Finding], total: int
) -> Generator[CheckDone, None, None]:
    made: list[Parity] = []

    def reference() -> list[Finding]:
        made.append(Parity(weights))
        detail = f"the reference, {weights}, {made[0].reference_ms:.0f} ms a frame"
        return [Finding(GROUP, "torch cpu fp32", OK, detail)]

    found += guarded(GROUP, "torch cpu fp32", reference)
    yield CheckDone(total - len(ways), total, "the reference")
    for index, way in enumerate(ways if made else (), start=1):
        found += guarded(GROUP, way.name, lambda way=way: [made[0].finding(way)])  # type: ignore[misc]
        yield CheckDone(total - len(ways) + index, total, way.name)
