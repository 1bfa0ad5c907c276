"""`icnet weights import`: other people's weights into a weights file of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.bundled import SUFFIX, bundled_weights, local_folder
from icnet_cli.checkpoints.foreign import Foreign, read_foreign
from icnet_cli.checkpoints.format import load_weights, save_weights
from icnet_cli.checkpoints.start import CARD_KEY
from icnet_cli.config import WeightsImportConfig
from icnet_cli.errors import output_error, usage_error, why
from icnet_cli.outputs import NOWHERE, refuse_unwritable


def import_weights(config: WeightsImportConfig) -> dict[str, Any]:
    """Convert, write, read back; the report says what was taken and what was not.

    Raises:
        IcnetError: exit 2 for an output that exists, 4 for a file that is not what it must be, 5 for the disk.
    """
    output = config.output or _named(config.name or config.source.stem)
    refuse_unwritable(output, overwrite=config.overwrite, inputs=(config.source,))
    foreign = read_foreign(config.source)
    card: dict[str, Any] = {
        "data": f"imported: {foreign.kind}",
        "licence": "as its authors say; importing changes nothing about it",
        "source": config.source.name,
        "notes": list(foreign.notes),
    }
    if not foreign.complete:
        card[CARD_KEY] = True
    save_weights(output, foreign.network, replace(foreign.meta, card=card))  # type: ignore[arg-type]
    load_weights(output)  # what cannot be read back was not imported
    return _report(foreign, output)


def _named(name: str) -> Path:
    """A place in the user's own weights folder, which is made here."""
    if name in bundled_weights():
        raise usage_error(f"{name} comes with the tool; give another name with --as")
    folder = local_folder()
    if folder.is_relative_to(NOWHERE):
        raise usage_error(
            "it is not known where your home is, to keep weights in: set HOME, or name a file with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"cannot make the weights folder {folder}: {why(error)}") from error
    return folder / f"{name}{SUFFIX}"


def _report(foreign: Foreign, output: Path) -> dict[str, Any]:
    return {
        "output": str(output),
        "kind": foreign.kind,
        "model": foreign.meta.model,
        "complete": foreign.complete,
        "tensors_taken": foreign.taken,
        "tensors_left_out": list(foreign.left_out),
        "classes": foreign.meta.classes.name,
        "train_size": list(foreign.meta.train_size),
        "notes": list(foreign.notes),
    }
