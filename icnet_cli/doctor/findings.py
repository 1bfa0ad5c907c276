"""What a check found, and how a check that itself fails is told of: as a finding, never as a traceback."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from icnet_cli.errors import IcnetError

_LONGEST = 400  # of what an exception says: some recite a build's whole story
OK, ABSENT, WARNING, BAD = "ok", "absent", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        group: its heading. name: what was looked at.
        state: `ok`; `absent`, what is not there and need not be; `warning`, what will get in the way of something;
            `bad`, what is broken: the command then ends with exit code 7.
        detail: what was found, in words. cure: what to do about it, where there is something.
    """

    group: str
    name: str
    state: str
    detail: str
    cure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as the JSON report has it."""
        return asdict(self)


Check = Callable[[], Iterable[Finding]]


def guarded(group: str, name: str, check: Check) -> list[Finding]:
    """The check's findings; where it raises, what it raised as a `bad` one."""
    found: list[Finding] = []
    try:
        found += check()
    except Exception as error:  # the doctor is for machines on which anything may be broken
        kind = "" if isinstance(error, IcnetError) else f"{type(error).__name__}: "
        words = " ".join(f"{kind}{error}".split())
        found.append(Finding(group, name, BAD, words[:_LONGEST]))
    return found


def version_of(package: str) -> str | None:
    """The installed version of a distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
