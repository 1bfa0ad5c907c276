"""`icnet weights`: list, show, path, verify, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icnet_cli.cli.console import Console, emit, emit_json, one_line, say
from icnet_cli.config import WeightsConfig, WeightsImportConfig, WeightsListConfig, WeightsVerifyConfig
from icnet_cli.errors import IcnetError, check_error

_BAR = 24  # characters of a full-width layer


def list_bundled(config: WeightsListConfig, console: Console) -> None:
    """The weights that come with the tool, and those that were imported.

    \b
    Examples:
      icnet weights list
      icnet weights list --json
    """
    from icnet_cli.checkpoints.bundled import bundled_weights, local_weights
    from icnet_cli.checkpoints.format import read_meta
    from icnet_cli.checkpoints.start import WORDS

    bundled = bundled_weights()
    rows: list[dict[str, Any]] = []
    for name, path in (local_weights() | bundled).items():
        origin = "bundled" if name in bundled else "local"
        try:
            rows.append({"name": name, "origin": origin, **_summary(read_meta(path))})
        except IcnetError as error:
            say(f"left out: {error}")  # one damaged file hides no other
    if console.json:
        emit_json({"weights": rows})
        return
    for row in rows:
        size = "x".join(map(str, row["train_size"]))
        classes = f"{len(row['class_names'])} classes ({row['dataset']})"
        mark = f", {WORDS}" if row["trunk_only"] else ""
        emit(f"{row['name']}: {row['model']}, {classes}, {size}, {row['origin']}{mark}")


def show(config: WeightsConfig, console: Console) -> None:
    """What a weights file says about itself: its network, classes, training, accuracy and channels.

    \b
    Examples:
      icnet weights show icnet-camvid
      icnet weights show runs/train/icnet-1/best.safetensors
      icnet weights show icnet-camvid --json
    """
    from icnet_cli.checkpoints.bundled import find_weights
    from icnet_cli.checkpoints.digest import sha256
    from icnet_cli.checkpoints.format import read_meta

    path = find_weights(config.weights)
    meta = read_meta(path)
    summary = {**_summary(meta), "sha256": sha256(path), "bytes": path.stat().st_size}
    if console.json:
        emit_json({**summary, "config": meta.config, "card": meta.card, "history": meta.history})
        return
    options = {name: value for name, value in meta.config.items() if name != "channels"}
    for line in _lines({**summary, "config": options, "card": meta.card, "history": meta.history}):
        emit(one_line_indented(line))
    for line in channel_lines(meta):
        emit(line)


def path(config: WeightsConfig, console: Console) -> None:
    """Where the file of some weights is.

    \b
    Examples:
      icnet weights path icnet-camvid
      cp "$(icnet weights path icnet-camvid)" elsewhere/
    """
    from icnet_cli.checkpoints.bundled import find_weights

    found = find_weights(config.weights)
    if console.json:
        emit_json({"path": found})
    else:
        emit(str(found))


def verify(config: WeightsVerifyConfig, console: Console) -> None:
    """Whether weights files can be read whole, and are the ones whose SHA-256 was published beside them.

    Ends with exit code 7 where one is not.

    \b
    Examples:
      icnet weights verify                      all that have a name
      icnet weights verify downloaded.safetensors
    """
    from icnet_cli.checkpoints.bundled import bundled_weights, find_weights, local_weights

    known = local_weights() | bundled_weights()
    paths = [find_weights(config.weights)] if config.weights else list(known.values())
    rows = [_verified(path) for path in paths]
    if console.json:
        emit_json({"weights": rows})
    else:
        for row in rows:
            emit(one_line(f"{row['path']}: {row['verdict']}; sha256 {row['sha256']}"))
    bad = [row for row in rows if not row["good"]]
    if bad:
        raise check_error(
            one_line(f"{bad[0]['path']}: {bad[0]['verdict']} ({len(bad)} of {len(rows)} files are bad)")
        )


def _verified(path: Path) -> dict[str, Any]:
    from icnet_cli.checkpoints.digest import published_sha256, sha256
    from icnet_cli.checkpoints.format import load_weights

    found, published = sha256(path), published_sha256(path)
    row = {"path": str(path), "sha256": found, "published": published[0] if published else None}
    if published and published[0] != found:
        return row | {
            "good": False,
            "verdict": f"not the file of {published[1].name}, whose sha256 is {published[0]}",
        }
    try:
        load_weights(path)
    except IcnetError as error:
        return row | {"good": False, "verdict": str(error).removeprefix(str(path)).lstrip(": ")}
    words = f"good, as {published[1].name} has it" if published else "good; no published sha256 is beside it"
    return row | {"good": True, "verdict": words}


def import_foreign(config: WeightsImportConfig, console: Console) -> None:
    """Turn other people's weights into a weights file of ours.

    Takes the caffemodels of ICNet's authors, Fast-SCNN state dicts of the common PyTorch port, and torchvision's
    ResNet-50 (a start for training).

    \b
    Examples:
      icnet weights import icnet_cityscapes_train_30k.caffemodel --as theirs
      icnet weights import fast_scnn_citys.pth -o fast-scnn.safetensors
      icnet segment street.mp4 -o out.mp4 --weights theirs
    """
    from icnet_cli.export.importing import import_weights

    report = import_weights(config)
    size = "x".join(map(str, report["train_size"]))
    say(f"{report['output']}: {report['model']} for {report['classes']} at {size}, from {report['kind']}")
    left = report["tensors_left_out"]
    more = f"; left out {len(left)}: {', '.join(left[:4])}{', ...' if len(left) > 4 else ''}" if left else ""
    say(f"took {report['tensors_taken']} tensors{more}")
    for note in report["notes"]:
        say(f"note: {note}")
    if console.json:
        emit_json(report)


def channel_lines(meta: Any) -> list[str]:
    """The network's channel counts, a bar a layer: how much of the full width is left."""
    from icnet_cli.models import NETWORKS

    channels = meta.config.get("channels", {})
    options = {name: value for name, value in meta.config.items() if name not in ("channels", "keep")}
    try:
        full = NETWORKS[meta.model].config_type(**options, keep=1.0).channels  # type: ignore[call-arg]
    except (KeyError, TypeError, ValueError):
        full = {}
    found = ["channels, of the full width's:"]
    for name, count in channels.items():
        whole = max(full.get(name, count), count)
        filled = max(1, round(_BAR * count / whole))
        bar = "█" * filled + "·" * (_BAR - filled)
        found.append(f"  {name[:24]:24} {count:5} / {whole:5} {bar} {count / whole:4.0%}")
    return found


def one_line_indented(text: str) -> str:
    """`one_line` that keeps the indent."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text)


def _summary(meta: Any) -> dict[str, Any]:
    from icnet_cli.checkpoints.start import is_trunk_only

    return {
        "model": meta.model,
        "train_size": list(meta.train_size),
        "dataset": meta.classes.name,
        "class_names": list(meta.classes.names),
        "trunk_only": is_trunk_only(meta),
    }


def _lines(document: dict[str, Any], indent: str = "") -> list[str]:
    """`name: value` lines; the parts of a mapping stand under it."""
    lines: list[str] = []
    for name, value in document.items():
        if isinstance(value, list) and not value:
            continue
        if isinstance(value, list) and isinstance(value[0], dict):  # the cuts of a pruned network, say
            value = {str(number): part for number, part in enumerate(value, 1)}
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{name}: {text}")
    return lines
