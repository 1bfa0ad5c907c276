"""`icnet data`: check."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import LoopConsole, emit, emit_json, one_line
from icnet_cli.cli.progress import Pace, Status, shown
from icnet_cli.config import DataCheckConfig
from icnet_cli.errors import check_error


def check(config: DataCheckConfig, console: LoopConsole) -> None:
    """Find what is wrong with a dataset before training does, and say the fix for each.

    Ends with exit code 7 where it found errors.

    \b
    Examples:
      icnet data check camvid/
      icnet data check cityscapes/ --json > findings.json
    """
    from icnet_cli.data.check import check_dataset

    pace = Pace()
    with shown(console.progress) as display:

        def on_pair(done: int, total: int) -> None:
            display.show(pace.complete(Status(done, total, unit="images", rate_unit="images/s")))

        report = check_dataset(config.dataset, on_pair)
    if console.json:
        emit_json(report.to_dict())
    else:
        _print(report)
    if report.errors:
        raise check_error(f"{_count(len(report.errors), 'error')} in {config.dataset}; the fixes are above")


def _print(report: Any) -> None:
    splits = ", ".join(f"{split} {number}" for split, number in report.images.items())
    emit(f"{report.dataset}: {report.layout} layout, {splits or 'no images'}")
    for finding in [*report.errors, *report.warnings]:
        where = f"{finding.split}: " if finding.split else ""
        emit(one_line(f"{finding.severity}: {where}{finding.what}"))
        if finding.files:
            more = finding.count - len(finding.files)
            emit("  " + one_line(", ".join(finding.files) + (f" and {more} more" if more > 0 else "")))
        emit("  " + one_line(f"fix: {finding.fix}"))
    emit(f"{_count(len(report.errors), 'error')}, {_count(len(report.warnings), 'warning')}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
