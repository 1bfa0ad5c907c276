"""The model card in words: the same facts as the header of the weights file, for a person to read."""

from __future__ import annotations

from typing import Any

from icnet_cli.checkpoints.format import WeightsMeta

# Written by the metrics' field names; the order is the order on the card, the file's own figure last.
FIGURES = {
    "val_of_train_only_run": "on the val split, which training did not see",
    "val_seen_in_training": "on the val split, which training saw: not a measure of new frames",
}
_WORDS = ("data", "licence", "recipe", "command", "seed", "hardware", "averaged", "logit_adjustment")


def card_markdown(name: str, meta: WeightsMeta) -> str:
    """A model card as Markdown: what it is, what it was made from, what it measures and how that was measured."""
    height, width = meta.train_size
    lines = [
        f"# {name}",
        "",
        f"{meta.model}, {meta.classes.num_classes} classes ({', '.join(meta.classes.names)}).",
        f"Network input {height}x{width} (height x width).",
        "",
        "| | |",
        "|---|---|",
        *(f"| {word.replace('_', ' ')} | {_cell(meta.card[word])} |" for word in _WORDS if word in meta.card),
    ]
    steps, epochs = meta.card.get("step"), meta.card.get("epochs")
    if steps is not None:
        lines.append(
            f"| steps | {steps} ({epochs} epochs; splits {', '.join(meta.card.get('splits', []))}) |"
        )
    return "\n".join([*lines, "", "## Figures", "", *_figures(meta.card.get("metrics", {})), ""])


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")


def _figures(metrics: dict[str, Any]) -> list[str]:
    lines = []
    for field, words in FIGURES.items():
        if field not in metrics:
            continue
        figure = metrics[field]
        lines.append(
            f"- `{field}`: mIoU {figure['miou']:.4f} {words}, {figure.get('images')} images "
            f"({_protocol(figure.get('protocol', {}))})."
        )
        if "command" in figure:
            lines.append(f"  Its command: {figure['command']}.")
    return lines or ["None measured."]


def _protocol(protocol: dict[str, Any]) -> str:
    """How it was measured; what does not apply, as branches to Fast-SCNN, is left out."""
    said = {key: value for key, value in sorted(protocol.items()) if value is not None}
    if "size" in said:
        said["size"] = "x".join(map(str, said["size"]))
    if "scales" in said:
        said["scales"] = " ".join(f"{scale:g}" for scale in said["scales"])
    if "flip" in said:
        said["flip"] = "yes" if said["flip"] else "no"
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in said.items())
