"""`icnet report`."""

from __future__ import annotations

from icnet_cli.cli.console import Console, emit, emit_json
from icnet_cli.config import ReportConfig
from icnet_cli.outputs import refuse_unwritable


def report(config: ReportConfig, console: Console) -> None:
    """Make the page of a training run: curves, predictions over time, setup and machine.

    \b
    Examples:
      icnet report runs/train/icnet-1
      icnet report runs/train/icnet-1 -o run.html
    """
    from icnet_cli.pixels.files import write_atomically
    from icnet_cli.reports.train_page import PAGE, read_run, run_document, train_page

    output = config.output or config.run / PAGE
    if config.output is not None:
        refuse_unwritable(output, overwrite=config.overwrite)
    record = read_run(config.run)
    write_atomically(output, train_page(record).encode("utf-8"))
    if console.json:
        emit_json({**run_document(record), "output": str(output)})
    else:
        emit(str(output))
