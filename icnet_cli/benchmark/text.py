"""A document of `icnet bench` as tables of words, for the console and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from icnet_cli.inference.environment import one_line

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A table and what is said under it. The first column is text, the others are figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = field(default=())

    def markdown(self) -> str:
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [_line(self.columns), _line(["---", *("---:" for _ in self.columns[1:])])]
        lines += [_line(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def sheet_of(document: Mapping[str, Any]) -> Sheet:
    """The table of a document, by its kind."""
    makers: dict[str, Callable[[Mapping[str, Any]], Sheet]] = {
        "networks": _networks,
        "table": _table,
        "stages": _stages,
        "video": _video,
        "reuse": _reuse,
        "compare": _compare,
    }
    return makers[document["kind"]](document)


# A column is its heading and what it shows of a row. Columns that show nothing in any row are left out.
Column = tuple[str, Callable[[Row], str]]


def _sheet(
    columns: Sequence[Column], rows: Sequence[Row], title: str = "", notes: Sequence[str] = ()
) -> Sheet:
    cells = [[show(row) for _, show in columns] for row in rows]
    wanted = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in cells)]
    return Sheet(
        tuple(columns[i][0] for i in wanted),
        tuple(tuple(row[i] or "-" for i in wanted) for row in cells),
        title,
        tuple(notes),
    )


def _figure(
    key: str, form: str = ".1f", within: str | None = None, times: float = 1.0
) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        place = row if within is None else row.get(within) or {}
        value = place.get(key)
        if value is None:
            return ""
        text = f"{value * times:{form}}"
        return f"{value * times:.0f}" if "e+" in text else text  # 35000, not 3.5e+04

    return show


def _words(key: str, within: str | None = None) -> Callable[[Row], str]:
    return lambda row: str((row if within is None else row.get(within) or {}).get(key) or "")


def _size(row: Row) -> str:
    return "x".join(map(str, row.get("resolution") or ()))


def _batch(row: Row) -> str:
    return "" if row.get("batch") in (None, 1) else str(row["batch"])


def _runs(row: Row) -> str:
    return f"{row['runs']} after {row['warmup']}" if row.get("runs") else ""


def _marked(key: str) -> Callable[[Row], str]:
    """A published figure; in brackets where it is worked out from the other one."""

    def show(row: Row) -> str:
        published = row.get("published") or {}
        text = _figure(key, ".4g", "published")(row)
        return f"({text})" if text and key in published.get("derived", ()) else text

    return show


_COST: tuple[Column, ...] = (
    ("params M", _figure("params_m", ".2f")),
    ("GFLOPs", _figure("gflops", ".1f")),
)
_TIMES: tuple[Column, ...] = (
    ("ms p50", _figure("ms_p50", ".2f")),
    ("p95", _figure("ms_p95", ".2f")),
    ("p99", _figure("ms_p99", ".2f")),
)
_PAPER: tuple[Column, ...] = (
    ("paper mIoU", _figure("miou", ".4g", "published")),
    ("paper ms", _marked("ms")),
    ("paper fps", _marked("fps")),
    ("paper's card", _words("hardware", "published")),
)


def _networks(document: Mapping[str, Any]) -> Sheet:
    columns: tuple[Column, ...] = (
        ("network", lambda row: row["model"] + (", plain" if row["backend"] == "plain" else "")),
        ("variant", _words("variant")),
        ("size", _size),
        ("batch", _batch),
        ("precision", _words("precision")),
        ("backend", _words("backend")),
        ("runs", _runs),
        *_TIMES,
        ("model fps", _figure("model_fps", ".4g")),
        ("times plain", _figure("speedup", ".2f")),
        *_COST,
        ("memory MB", _figure("peak_memory_mb", ".0f")),
        ("card's mIoU", _figure("miou", ".1f", "accuracy", 100)),
        *_PAPER,
    )
    return _sheet(columns, document["rows"], notes=_notes(document))


def _notes(document: Mapping[str, Any]) -> list[str]:
    notes = [f"Measured on {one_line(document['environment'])}."]
    published = [row.get("published") or {} for row in document["rows"]]
    if any(figures.get("derived") for figures in published):
        notes.append("Figures in brackets follow from the ones that are printed.")
    notes += dict.fromkeys(_card_words(row["accuracy"]) for row in document["rows"] if row.get("accuracy"))
    for name in document.get("plot_left_out", ()):
        notes.append(f"{name} is not in the plot: no mIoU of it is known.")
    return notes


def _card_words(accuracy: Mapping[str, Any]) -> str:
    size = accuracy.get("size")
    of = " ".join(str(accuracy[key]) for key in ("dataset", "split") if accuracy.get(key))
    at = f" at {size[0]}x{size[1]}" if size else ""
    return f"The card's mIoU is of {of or 'a data set that it does not name'}{at}, and was not measured here."


def _table(document: Mapping[str, Any]) -> Sheet:
    table = document["table"]
    columns: tuple[Column, ...] = (
        ("row", _words("name")),
        ("paper mIoU", _figure("miou", ".4g", "published")),
        ("paper category mIoU", _figure("category_miou", ".4g", "published")),
        ("paper params M", _figure("params_m", ".4g", "published")),
        ("paper ms", _marked("ms")),
        ("paper fps", _marked("fps")),
        ("paper GB", _figure("memory_gb", ".4g", "published")),
        ("paper's card", _words("hardware", "published")),
        ("size here", _size),
        ("runs", _runs),
        ("ms", _figure("ms_p50", ".2f")),
        ("model fps", _figure("model_fps", ".4g")),
        *_COST,
        ("memory MB", _figure("peak_memory_mb", ".0f")),
        ("mIoU", _figure("miou", ".1f", times=100)),
        ("trained here", _trained),
        ("paper's speed-up", _figure("speedup_published", ".1f")),
        ("speed-up here", _figure("speedup", ".1f")),
    )
    title = f"{table['title']} ({table['source']}, {table['where']}; {table['dataset']})"
    notes = [table["note"]] if table["note"] else []
    if any(row.get("ms_p50") for row in document["rows"]):
        notes += _notes(document)
    return _sheet(columns, document["rows"], title, notes)


def _trained(row: Row) -> str:
    return ", ".join(
        f"{one['weights']}: {100 * one['miou']:.1f} on {one['dataset'] or '?'} {one['split'] or ''}".rstrip()
        for one in row.get("trained") or ()
    )


def _stages(document: Mapping[str, Any]) -> Sheet:
    """Stages down, sizes across."""
    rows = document["rows"]
    sizes = list(dict.fromkeys(_size(row) for row in rows))
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        mine = merged.setdefault(f"{row['model']}: {row['stage']}", {})
        mine[_size(row)] = row
    columns: list[Column] = [("stage", _words("name"))]
    for size in sizes:
        columns += [
            (f"ms at {size}", _figure("ms_p50", ".2f", size)),
            ("share %", _figure("share", ".1f", size, 100)),
        ]
    variants = dict.fromkeys(
        f"{row['model']}: {row['variant']}, {row['runs']} runs at {_size(row)}." for row in rows
    )
    lines = [{"name": name, **by_size} for name, by_size in merged.items()]
    return _sheet(columns, lines, notes=[*variants, *_notes(document)])


def _video(document: Mapping[str, Any]) -> Sheet:
    columns: tuple[Column, ...] = (("stage", _words("stage")), *_TIMES)
    size = "x".join(map(str, document["size"]))
    notes = [
        f"{document['frames']} frames, network at {size} ({document['model']}, {document['variant']}): "
        f"end to end {document['end_to_end_fps']:.1f} fps, network alone {document['model_fps']:.1f} fps, "
        f"one stage after the other {document['sequential_fps']:.1f} fps (overlap {document['overlap']:.2f}).",
        *([f"The video was damaged: {document['problem']}."] if document.get("problem") else []),
        document["advice"],
        *_naive(document),
        *_notes(document),
    ]
    if "random weights" in document["variant"]:
        notes.append("Random weights label noise, which takes longer to enlarge and to encode than a street.")
    return _sheet(columns, document["rows"], notes=notes)


def _reuse(document: Mapping[str, Any]) -> Sheet:
    columns: tuple[Column, ...] = (
        ("reuse", _words("reuse")),
        ("carries", lambda row: "" if row["reuse"] == 1 else row["reuse_kind"]),
        ("smooth", lambda row: f"{row['smooth']:g}" if row["smooth"] else ""),
        ("end to end fps", _figure("end_to_end_fps")),
        ("times", _figure("speedup", ".2f")),
        ("cpu ms a frame", _figure("cpu_ms")),
        ("agreement %", _figure("agreement", ".2f", times=100)),
        ("flicker %", _figure("flicker", ".2f", times=100)),
        ("network runs", _words("network_runs")),
    )
    size = "x".join(map(str, document["size"]))
    neighbours = document["per_frame"]["neighbour_agreement"]
    notes = [
        f"{document['frames']} frames of {document['video']}, network at {size} ({document['model']}, "
        f"{document['variant']}, {document['backend']}). Agreement is with the network on each frame.",
        *_notes(document),
    ]
    if neighbours is not None:
        notes.insert(
            1, f"The network agrees with itself on neighbouring frames on {neighbours:.2%} of pixels."
        )
    return _sheet(columns, document["rows"], notes=notes)


def _naive(document: Mapping[str, Any]) -> list[str]:
    naive = document.get("naive")
    if naive is None:
        return []
    stages = ", ".join(f"{name} {spent:.1f}" for name, spent in naive["stages_ms"].items())
    labels = naive["labels_speedup"]
    return [
        f"The naive loop: {naive['fps']:.2f} fps over {naive['frames']} frames ({stages} ms). "
        f"segment is {naive['speedup']:.2f} times as fast"
        + (f", from scores to labels {labels:.1f} times." if labels else ".")
    ]


def _backends(row: Mapping[str, Any]) -> str:
    """One name where both are the same."""
    return " and ".join(dict.fromkeys(str(row[key]) for key in ("backend_a", "backend_b") if row.get(key)))


def _compare(document: Mapping[str, Any]) -> Sheet:
    columns: tuple[Column, ...] = (
        ("row", lambda row: ", ".join(str(row[key]) for key in ("name", "model", "stage") if row.get(key))),
        ("variant", _words("variant")),
        ("size", _size),
        ("batch", _batch),
        ("run by", _backends),
        ("ms A", _figure("ms_a", ".2f")),
        ("ms B", _figure("ms_b", ".2f")),
        ("B faster, times", _figure("speedup", ".2f")),
    )
    notes = [
        f"{side.upper()}: {one_line(document[f'environment_{side}'])}."
        for side in ("a", "b")
        if document.get(f"environment_{side}")
    ]
    notes += [f"Only in {side.upper()}: {name}" for side in ("a", "b") for name in document[f"only_{side}"]]
    return _sheet(columns, document["rows"], notes=notes)
