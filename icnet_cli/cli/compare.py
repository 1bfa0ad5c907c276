"""`icnet compare`."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, score
from icnet_cli.cli.progress import Status, say_news, watch
from icnet_cli.config import CompareConfig


def compare(config: CompareConfig, console: LoopConsole) -> None:
    """Put two weights side by side: where they disagree, what each costs, how steady each is.

    \b
    Examples:
      icnet compare icnet-camvid fast-scnn-camvid street.mp4
      icnet compare icnet-camvid fast-scnn-camvid street.mp4 -o wipe.mp4
      icnet compare before.safetensors after.safetensors street.mp4 -o page/
      icnet compare icnet-camvid pruned.safetensors camvid/ -o page.html
    """
    from icnet_cli.evaluation.page import PageNotWrittenError
    from icnet_cli.pipeline.compare import compare as run
    from icnet_cli.pipeline.segment import DamagedInputError

    try:
        document = watch(run(config), console.progress, _status)
    except (DamagedInputError, PageNotWrittenError) as error:
        tell(error.report, console)  # what could be compared is told; the error then says what was lost
        raise
    tell(document, console)


def _status(event: Any) -> Status:
    return Status(event.done, event.total, notes={"disagreement": event.disagreement})


def tell(document: dict[str, Any], console: LoopConsole) -> None:
    """The report for --json, else a table; then the closing lines."""
    if console.json:
        emit_json(document)
    else:
        emit_table(class_table(document))
    for line in closing_lines(document):
        say_news(line, console.progress)


def class_table(document: dict[str, Any]) -> Any:
    """A row a class: the disagreement, and IoU or flicker of each side where they are known."""
    from rich import box
    from rich.table import Table

    a, b = document["a"], document["b"]
    table = Table("class", box=box.SIMPLE_HEAD, show_edge=False)
    kinds = [("per_class", "IoU", score), ("flicker_per_class", "flicker", _percent)]
    known = [kind for kind in kinds if kind[0] in a]
    titles = ["disagreement", "pixels A", "pixels B"]
    titles += [f"{title} {side}" for _, title, _ in known for side in "AB"]
    for title in titles:
        table.add_column(title, justify="right")
    for name, share in document["per_class"].items():
        cells = [_percent(share), *(_percent(side["class_share"][name]) for side in (a, b))]
        cells += [write(side[key][name]) for key, _, write in known for side in (a, b)]
        table.add_row(name, *cells)
    return table


def closing_lines(document: dict[str, Any]) -> list[str]:
    """Disagreement, who is right, speed, flicker, and where the output is."""
    a, b = document["a"], document["b"]
    unit = "frames" if document["kind"] == "video" else "pictures"
    lines = [
        f"{document['frames']} {unit}: A {a['weights']} and B {b['weights']} disagree on "
        f"{_percent(document['disagreement'])} of the pixels"
    ]
    if "truth" in document:
        truth = document["truth"]
        lines.append(
            f"mIoU A {score(a['miou'])}, B {score(b['miou'])}; only A right {_percent(truth['only_a_right'])}, "
            f"only B right {_percent(truth['only_b_right'])}"
        )
    if "flicker" in a:
        lines.append(f"flicker A {_percent(a['flicker'])}, B {_percent(b['flicker'])}")
    lines.append(f"A {_pace(a)}, B {_pace(b)}: B takes {document['time_ratio']:.2f} times as long a picture")
    lines += list(document.get("left_out", ()))
    if "output" in document:
        lines.append(f"written to {document['output']}")
    return lines


def _pace(side: dict[str, Any]) -> str:
    how = f"{side['device']} {side['precision']} {side['backend']}"
    return f"{side['ms_p50']:.1f} ms at {side['size'][0]}x{side['size'][1]} ({how})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
