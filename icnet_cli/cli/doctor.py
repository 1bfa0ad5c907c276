"""`icnet doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from icnet_cli.cli import files
from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, say
from icnet_cli.cli.progress import Status, watch
from icnet_cli.cli.values import known_variables, unread_variables
from icnet_cli.config import COMMANDS, DoctorConfig
from icnet_cli.errors import IcnetError, check_error

_STYLES = {"ok": "green", "absent": "dim", "warning": "yellow", "bad": "bold red"}


def doctor(config: DoctorConfig, console: LoopConsole) -> None:
    """Look at this machine: GPU, driver, codecs, backends, folders, settings; and run a network in every way there is.

    Ends with exit code 7 where something is broken or two ways of running the network disagree. What is merely not
    there is no fault.

    \b
    Examples:
      icnet doctor
      icnet doctor --no-parity        looks only
      icnet doctor --json > machine.json
    """
    from icnet_cli.doctor.examine import examine

    report = watch(examine(config, {"settings": settings}), console.progress, _status)
    document = report.to_dict()
    if console.json:
        emit_json(document)
    else:
        emit_table(result_table(document["findings"]))
    for finding in document["findings"]:
        if finding["cure"]:
            say(f"{finding['name']}: {finding['cure']}")
    bad = report.having("bad")
    if bad:
        raise check_error(f"{bad[0].group}, {bad[0].name}: {bad[0].detail} ({len(bad)} in all)")


def _status(event: Any) -> Status | None:
    if not hasattr(event, "done"):
        return None
    return Status(event.done, event.total, unit="checks", rate_unit="checks/s", notes={"now": event.name})


def settings() -> Iterator[Any]:
    """The config file, and the environment's ICNET_ variables: what is set, and what no option reads."""
    from icnet_cli.doctor.findings import ABSENT, BAD, OK, WARNING, Finding

    path = files.default_path()
    if path.is_file():
        try:
            for command in COMMANDS:
                files.options_for(command, path)
            yield Finding("settings", "config file", OK, str(path))
        except IcnetError as error:
            yield Finding("settings", "config file", BAD, str(error))
    else:
        yield Finding("settings", "config file", ABSENT, f"none at {path}")
    for name in sorted(known_variables() & set(os.environ)):
        yield Finding("settings", name, OK, os.environ[name])
    for name, why, meant in unread_variables():
        yield Finding("settings", name, WARNING, why, meant or "unset it")


def result_table(findings: list[dict[str, Any]]) -> Any:
    """A line a finding, under the headings of their groups."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    group = None
    for finding in findings:
        if finding["group"] != group:
            table.add_section()
            group = finding["group"]
            table.add_row(Text(group, style="bold"), "", "")
        state = Text(finding["state"], style=_STYLES[finding["state"]])
        table.add_row(Text(f"  {finding['name']}"), state, Text(finding["detail"]))
    return table
