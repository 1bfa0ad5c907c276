"""`icnet eval`."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import LoopConsole, emit_json, emit_table, score
from icnet_cli.cli.progress import Status, say_news, watch
from icnet_cli.config import EvalConfig


def evaluate(config: EvalConfig, console: LoopConsole) -> None:
    """Measure weights on labelled pictures: mIoU, per class, at the labels' own size.

    \b
    Examples:
      icnet eval camvid/                     the default weights on val
      icnet eval camvid/ --weights fast-scnn-camvid --json
      icnet eval camvid/ --scales 0.75,1,1.25 --flip
      icnet eval cityscapes/ --weights mine.safetensors --predictions out/
      icnet eval camvid/ --regions           accuracy by the size of things
      icnet eval camvid/ --branches all --diff maps/
      icnet eval camvid/ --report page/      figures, and the worst frames
      icnet eval --temporal street.mp4       how steady the labels of a video are
      icnet eval --temporal street.mp4 --reuse 3 --truth labels/
    """
    if config.temporal is not None:
        from icnet_cli.cli.temporal import evaluate_video

        evaluate_video(config, console)
        return
    from icnet_cli.evaluation.evaluate import evaluate as run
    from icnet_cli.evaluation.page import PageNotWrittenError

    try:
        report = watch(run(config), console.progress, _status)
    except PageNotWrittenError as error:
        tell(error.report, console)  # the figures are not lost with their page
        raise
    tell(report.to_dict(), console)


def tell(document: dict[str, Any], console: LoopConsole) -> None:
    """The report for --json, else its tables; then the closing lines."""
    if console.json:
        emit_json(document)
    else:
        for table in tables(document):
            emit_table(table)
    for line in closing_lines(document):
        say_news(line, console.progress)


def _status(event: Any) -> Status:
    return Status(event.done, event.total, unit="images", rate_unit="images/s", notes={"mIoU": event.miou})


def result_table(document: dict[str, Any]) -> Any:
    """The report as a table: IoU a class, then the means."""
    from rich import box
    from rich.table import Table

    table = Table("class", box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("IoU", justify="right")
    for name, iou in document["per_class"].items():
        table.add_row(name, score(iou))
    table.add_section()
    table.add_row("mIoU", score(document["miou"]), style="bold")
    means = {
        "category mIoU": "category_miou",
        "pixel accuracy": "pixel_accuracy",
        "mean accuracy": "mean_accuracy",
    }
    for name, key in means.items():
        if key in document:
            table.add_row(name, score(document[key]))
    return table


def tables(document: dict[str, Any]) -> list[Any]:
    """The report's tables: the classes, and the branches and regions where they were asked for."""
    found = [result_table(document)]
    if "branches" in document:
        found.append(branch_table(document["branches"]))
    if "folder" in document.get("regions", ()):  # those of a page alone are on the page
        found.append(region_table(document["regions"]))
    return found


def branch_table(branches: dict[str, Any]) -> Any:
    """A row a branch of the cascade."""
    from rich import box
    from rich.table import Table

    table = Table("branches", box=box.SIMPLE_HEAD, show_edge=False)
    for title in ("mIoU", "pixel accuracy", "network ms"):
        table.add_column(title, justify="right")
    for name, row in branches.items():
        table.add_row(name, score(row["miou"]), score(row["pixel_accuracy"]), f"{row['model_ms']:.1f}")
    return table


def region_table(regions: dict[str, Any]) -> Any:
    """A row a size of region: accuracy of each branch, and the change from one to the next."""
    from rich import box
    from rich.table import Table

    rows = regions["rows"]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("pixels", no_wrap=True)
    titles = [*rows[0]["accuracy"], *rows[0]["change"]] if rows else []
    for title in ("regions", *titles):
        table.add_column(title, justify="right")
    for row in rows:
        accuracies = [score(value) for value in row["accuracy"].values()]
        changes = [f"{value:+.4f}" for value in row["change"].values()]
        table.add_row(f"{row['from']} to {row['to']}", str(row["regions"]), *accuracies, *changes)
    return table


def closing_lines(document: dict[str, Any]) -> list[str]:
    """What was measured and how, and which figure of the weights' card it is."""
    from icnet_cli.reports.figures import measured_on

    protocol = document["protocol"]
    size = protocol["size"]
    how = "each at a size of its own" if size is None else f"at {size[0]}x{size[1]}"
    if protocol["scales"] != [1.0]:
        how += f" times {', '.join(f'{scale:g}' for scale in protocol['scales'])}"
        how += ", averaged" if len(protocol["scales"]) > 1 else ""
    if protocol.get("flip"):
        how += ", averaged with the mirrored picture"
    if protocol.get("ablation"):
        how += f", without {protocol['ablation']}"
    lines = [
        f"{document['images']} image{'' if document['images'] == 1 else 's'} of {measured_on(document)}, {how}, "
        f"network {document['model_ms']:.1f} ms an image on {document['device']} {document['precision']}"
    ]
    if document.get("images_damaged"):
        lines.append(f"{document['images_damaged']} damaged images were left out")
    if "predictions" in document:
        told = document["predictions"]
        lines.append(f"the labels that were found, as PNGs of {told['ids']} ids, are in {told['folder']}")
    regions = document.get("regions")
    if regions and "folder" in regions:
        larger = f"; {regions['larger']} larger regions are not counted" if regions["larger"] else ""
        lines.append(f"regions.json, regions.csv and regions.png in {regions['folder']}{larger}")
    if "differences" in document:
        lines.append(f"predictions of each branch and what changes between them in {document['differences']}")
    if "report" in document:
        lines.append(f"the page is {document['report']}")
    figure = document.get("reproduces")
    if figure:
        lines.append(
            f"the weights' card has {figure['card_value']:.4f} as {figure['field']}; "
            f"this is {figure['difference']:+.4f} from it"
        )
    return lines
