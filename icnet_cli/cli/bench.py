"""`icnet bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icnet_cli.cli.console import LoopConsole, emit, emit_json, emit_table
from icnet_cli.cli.progress import Status, say_news, watch
from icnet_cli.config import BenchConfig
from icnet_cli.errors import usage_error

if TYPE_CHECKING:
    from icnet_cli.benchmark.text import Sheet

_MARGIN = 3  # Rich's space beside a column


def bench(config: BenchConfig, console: LoopConsole) -> None:
    """Measure how fast the networks are here, and put the papers' figures beside.

    \b
    Examples:
      icnet bench --resolution 1024x2048             the bundled networks
      icnet bench --model icnet --keep 0.25 --quick
      icnet bench --stages --model pspnet50          a network's time by stage
      icnet bench --video street.mp4                 where the time goes
      icnet bench --video street.mp4 --reuse 1,2,3,5 --plot trade.png
      icnet bench --table icnet-ablation --markdown  a paper's table, rebuilt
      icnet bench --compare before.json after.json   two results of --json
    """
    if config.markdown and console.json:
        raise usage_error("--markdown and --json both take stdout; give one")
    from icnet_cli.benchmark.bench import bench as run
    from icnet_cli.benchmark.text import sheet_of

    document = watch(run(config), console.progress, _status)
    if console.json:
        emit_json(document)
        return
    sheet = sheet_of(document)
    if config.markdown:
        emit(sheet.markdown())
        return
    for part in parts(sheet, terminal_width()):
        emit_table(_rich(part))
        emit("")
    for line in sheet.notes:
        say_news(line, console.progress)


def _status(event: Any) -> Status | str | None:
    if hasattr(event, "text"):  # a notice
        return str(event.text)
    if hasattr(event, "slowest"):  # a frame of --video
        return Status(event.done, event.total, notes={"slowest": event.slowest})
    if not hasattr(event, "name"):  # a frame that is looked at
        return Status(event.done, event.total, notes={"measuring": "labels"})
    return Status(event.done, event.total, unit="rows", rate_unit="rows/s", notes={"timing": event.name})


def terminal_width() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def parts(sheet: Sheet, width: int) -> list[Sheet]:
    """The table cut into ones that fit `width` characters, one under the other, each with the first column."""
    from dataclasses import replace

    longest = [max(map(len, column)) + _MARGIN for column in zip(sheet.columns, *sheet.rows, strict=True)]
    groups: list[list[int]] = [[]]
    for index in range(1, len(longest)):
        used = longest[0] + sum(longest[i] for i in groups[-1])
        if groups[-1] and used + longest[index] > width:
            groups.append([])
        groups[-1].append(index)
    return [
        replace(
            sheet,
            columns=tuple(sheet.columns[i] for i in (0, *group)),
            rows=tuple(tuple(row[i] for i in (0, *group)) for row in sheet.rows),
            title=sheet.title if number == 0 else "",
        )
        for number, group in enumerate(groups)
    ]


def _rich(sheet: Sheet) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, title=escape(sheet.title) or None, title_justify="left"
    )
    for index, name in enumerate(sheet.columns):
        table.add_column(escape(name), justify="right" if index else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(escape, row))
    return table
