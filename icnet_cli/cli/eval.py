"""`icnet eval`."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, say
from icnet_cli.cli.progress import Status, watch
from icnet_cli.config import EvalConfig


def evaluate(config: EvalConfig, console: LoopConsole) -> None:
    """Measure weights on labelled pictures: mIoU, per class, at the labels' own size.

    \b
    Examples:
      icnet eval camvid/                     the default weights on val
      icnet eval camvid/ --weights fast-scnn-camvid --json
      icnet eval cityscapes/ --scales 0.75,1,1.25 --flip
      icnet eval cityscapes/ --predictions out/ --ids dataset
    """
    from icnet_cli.evaluation.evaluate import evaluate as run

    document = watch(run(config), console.progress, _status).to_dict()
    if console.json:
        emit_json(document)
    else:
        emit_table(result_table(document))
    for line in closing_lines(document):
        say(line)


def _status(event: Any) -> Status:
    return Status(event.done, event.total, unit="images", rate_unit="images/s", notes={"mIoU": event.miou})


def result_table(document: dict[str, Any]) -> Any:
    """The report as a table: IoU a class, then the means."""
    from rich import box
    from rich.table import Table

    table = Table("class", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("IoU", justify="right")
    for name, iou in document["per_class"].items():
        table.add_row(name, _share(iou))
    table.add_section()
    table.add_row("mIoU", _share(document["miou"]), style="bold")
    means = {
        "category mIoU": "category_miou",
        "pixel accuracy": "pixel_accuracy",
        "mean accuracy": "mean_accuracy",
    }
    for name, key in means.items():
        if key in document:
            table.add_row(name, _share(document[key]))
    return table


def closing_lines(document: dict[str, Any]) -> list[str]:
    """What was measured and how, and which figure of the weights' card it is."""
    protocol = document["protocol"]
    size = protocol["size"]
    how = "each at its own size" if size is None else f"at {size[0]}x{size[1]}"
    lines = [
        f"{document['images']} images of {protocol['dataset']} {protocol['split']}, {how}, "
        f"network {document['model_ms']:.1f} ms an image on {document['device']} {document['precision']}"
    ]
    if document.get("images_damaged"):
        lines.append(f"{document['images_damaged']} damaged images were left out")
    figure = document.get("reproduces")
    if figure:
        lines.append(
            f"the weights' card has {figure['card_value']:.4f} as {figure['field']}; "
            f"this is {figure['difference']:+.4f} from it"
        )
    return lines


def _share(value: float | None) -> str:
    # No pixel of the class, in the truth or in a prediction: no figure, which is not a zero.
    return "-" if value is None else f"{value:.4f}"
