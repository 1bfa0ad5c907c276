"""The folders that an evaluation writes into: claimed before the first picture is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icnet_cli.config import EvalConfig
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.errors import output_error, usage_error, why
from icnet_cli.evaluation.confusion import Labels
from icnet_cli.pixels.files import write_labels_png


def free_folder(runs: Path, name: str) -> Path:
    """`runs`/NAME-N, the first N that is free."""
    taken = {path.name for path in runs.glob(f"{name}-*")}
    return runs / next(f"{name}-{n}" for n in range(1, 10**6) if f"{name}-{n}" not in taken)


def claim_folder(flag: str, folder: Path, overwrite: bool) -> None:
    """Make an output folder; `flag` is what the user calls it.

    Raises:
        IcnetError: USAGE where it is not empty and may not be written into; OUTPUT where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not overwrite:
            raise usage_error(f"{flag} {folder} is not empty; name another folder, or -y to write into it")
    except OSError as error:
        raise output_error(f"{flag} {folder} cannot be written: {why(error)}") from error


@dataclass(frozen=True)
class PredictionFolder:
    """Predictions as label PNGs that mirror the pictures' names and sub-folders.

    Attributes:
        ids: None writes train ids; else uint8 (256,), the value to write for each.
    """

    folder: Path
    ids: Labels | None = None

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    def to_dict(self) -> dict[str, str]:
        """Where they are and which ids they hold, for the report."""
        return {"folder": str(self.folder), "ids": "train" if self.ids is None else "dataset"}

    def write(self, name: str, labels: Labels) -> None:
        """Raises an output error."""
        write_labels_png(self.path(name), labels if self.ids is None else self.ids[labels])


def claim_predictions(config: EvalConfig, dataset: SegmentationDataset) -> PredictionFolder:
    """The folder of --predictions, made now: what cannot be written is known before the first picture.

    Raises:
        IcnetError: as `claim_folder`; USAGE too where a prediction would fall upon the dataset's own files.
    """
    folder = config.predictions
    assert folder is not None
    predictions = PredictionFolder(
        folder, dataset.classes.ids_of_train_ids() if config.ids == "dataset" else None
    )
    inputs = {path.resolve() for sample in dataset.samples for path in (sample.image, sample.labels)}
    for sample in dataset.samples:
        if predictions.path(sample.name).resolve() in inputs:
            raise usage_error(
                f"--predictions {folder} would write over the dataset's {predictions.path(sample.name)}; "
                "name another folder"
            )
    claim_folder("--predictions", folder, config.overwrite)
    return predictions
