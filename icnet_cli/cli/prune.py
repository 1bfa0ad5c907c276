"""`icnet prune`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, score
from icnet_cli.cli.progress import Status, say_news, watch
from icnet_cli.cli.train import Narrator
from icnet_cli.config import PruneConfig
from icnet_cli.errors import ExitCode, IcnetError


def prune(config: PruneConfig, console: LoopConsole) -> None:
    """Make a network narrower, and fine-tune it back, to a share of its channels or to a latency.

    \b
    Examples:
      icnet prune --keep 0.5 --progressive                the newest run
      icnet prune mine.safetensors --data camvid/ --keep 0.5 -o half.safetensors
      icnet prune icnet-camvid --data camvid/ --target-ms 8 --max-drop 1.0
      icnet prune icnet-camvid --keep 0.5 --no-tune       cuts only, needs no data
      icnet prune --resume runs/prune/icnet-1-1
    """
    from icnet_cli.pruning.prune import prune as run

    narrator = PruneNarrator()
    try:
        document = watch(run(config), console.progress, narrator.status).to_dict()
    except BaseException as error:
        note_way_on(narrator.run_dir, error)
        raise
    if console.json:
        emit_json(document)
    else:
        emit_table(result_table(document))
    for line in closing_lines(document, config.max_drop):
        say_news(line, console.progress)


def note_way_on(run_dir: Path | None, error: BaseException) -> None:
    """Where a run that ends with `error` can be resumed, have the closing line say how."""
    told = isinstance(error, IcnetError) and error.code != ExitCode.OUTPUT  # it says itself what to do
    if run_dir is not None and run_dir.is_dir() and not told:
        error.add_note(f"go on with icnet prune --resume {run_dir}")


class PruneNarrator:
    """Turns pruning's events into statuses; the trainer's get the number of the step they are in."""

    def __init__(self) -> None:
        self.run_dir: Path | None = None
        self._step, self._train = 0, Narrator()

    def status(self, event: Any) -> Status | None:
        """The status after an event; None for the report."""
        if hasattr(event, "what"):
            self.run_dir = event.run_dir or self.run_dir
            rate = f"{event.unit}/s"
            now = {"now": event.what}
            return Status(
                event.done, event.total, unit=event.unit, rate_unit=rate, notes=now, news=event.news
            )
        if not hasattr(event, "event"):
            return None
        if event.step != self._step:
            self._step, self._train = event.step, Narrator()
        status = self._train.status(event.event)
        if status is None:
            return None
        place = f"{event.step}/{event.steps}"
        news = f"cut {place}, {status.news}" if status.news else None
        return replace(status, notes={"cut": place, **status.notes}, news=news)


def result_table(document: dict[str, Any]) -> Any:
    """The report as a table: the parent, then a row a cut."""
    from rich import box
    from rich.table import Table

    height, width = document["size"]
    table = Table("keep", box=box.SIMPLE_HEAD, show_edge=False)
    for title in ("M params", f"GFLOPs {height}x{width}", "ms", "mIoU before", "pruned", "tuned", ""):
        table.add_column(title, justify="right")
    start = document["start"]
    table.add_row(*_figures(start), "", "", score(start["miou_before"]), "parent")
    table.add_section()
    for row in document["steps"]:
        mious = (score(row[name]) for name in ("miou_before", "miou_pruned", "miou_tuned"))
        table.add_row(*_figures(row), *mious, "" if row["held"] else "taken back")
    return table


def _figures(row: dict[str, Any]) -> list[str]:
    gflops = f"{row['gflops']:.1f}" if row["gflops"] >= 1 else f"{row['gflops']:.3f}"  # of small pictures
    return [f"{row['keep']:g}", f"{row['params_m']:.2f}", gflops, f"{row['ms']:.2f}"]


def _has_plot(document: dict[str, Any]) -> bool:
    """The plot is of mIoU, which is not measured without a data set."""
    figures = [document["start"]["miou_before"]]
    figures += [row[key] for row in document["steps"] for key in ("miou_pruned", "miou_tuned")]
    return any(figure is not None for figure in figures)


def closing_lines(document: dict[str, Any], max_drop: float | None) -> list[str]:
    """Where the weights are, and whether a step was taken back."""
    lines = []
    if document["rolled_back"]:
        drop = "--max-drop" if max_drop is None else f"--max-drop {max_drop:g}"
        lines.append(f"the last step fell by more than {drop} points of mIoU; the one before it is kept")
    lines.append(
        f"{document['output']}, timed on {document['device']} {document['precision']}; "
        f"{'table and plot' if _has_plot(document) else 'table'} in {document['run_dir']}"
    )
    return lines
