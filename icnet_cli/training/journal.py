"""What a run leaves to be looked at: a few predictions at each evaluation, where it ran, and its page."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError
from icnet_cli.evaluation.network import network_labels
from icnet_cli.inference.environment import describe
from icnet_cli.pixels.files import write_atomically, write_labels_png, write_picture
from icnet_cli.reports.pictures import small_labels, small_picture
from icnet_cli.reports.train_page import (
    CLASSES_FILE,
    ENVIRONMENT_FILE,
    PAGE,
    SAMPLES,
    read_run,
    sample_path,
    train_page,
)
from icnet_cli.training.run import Run

PICTURES = 3  # of the validation split
SIDE = 320  # pixels of their longer side: a few kilobytes each


class Journal:
    """Writes `samples/`, `environment.json` and `report.html` into the run folder; one process of a run has it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        last = max(0, len(run.val) - 1) if run.val else 0
        self._indices = sorted({round(i * last / max(1, PICTURES - 1)) for i in range(PICTURES)})

    def begin(self, step: int) -> None:
        """The run begins, or goes on, at `step`: predictions past it are forgotten, and where it runs is noted."""
        folder = self.run.folder
        for path in (folder / SAMPLES).glob("*-*.png"):
            word = path.name.split("-")[0]
            if word.isdigit() and int(word) > step:
                path.unlink(missing_ok=True)
        place = folder / ENVIRONMENT_FILE
        known = [one for one in _places(place) if one.get("step", 0) <= step]
        here = describe(self.run.device)
        if not known or {**known[-1], "step": 0} != {**here, "step": 0}:
            known.append({"step": step, **here})
        write_atomically(place, (json.dumps(known, indent=1) + "\n").encode())

    def sample(self, network: nn.Module, step: int) -> None:
        """Keep what the network, in its evaluation mode, says of the same few pictures."""
        if self.run.val is not None:
            with suppress(IcnetError):  # hours of training do not end for the want of a picture
                self._sample(self.run.val, network, step)

    def _sample(self, val: SegmentationDataset, network: nn.Module, step: int) -> None:
        run = self.run
        for number, index in enumerate(self._indices):
            image, truth = val.read(index)
            self._keep_once(number, image, truth)
            labels = network_labels(network, image, run.input_size, run.device, run.recipe.normalisation)
            write_labels_png(sample_path(run.folder, str(step), number), small_labels(labels, SIDE))

    def _keep_once(self, number: int, image: np.ndarray, truth: np.ndarray) -> None:
        folder = self.run.folder
        if sample_path(folder, "truth", number).exists():
            return
        classes = json.dumps(self.run.layout.classes.to_dict()) + "\n"
        write_atomically(folder / SAMPLES / CLASSES_FILE, classes.encode())
        write_picture(sample_path(folder, "image", number), small_picture(image, SIDE))
        write_labels_png(sample_path(folder, "truth", number), small_labels(truth, SIDE))

    def write_page(self) -> None:
        """Write the page anew from what the folder holds by now; where that fails, the one before stays."""
        with suppress(IcnetError):
            text = train_page(read_run(self.run.folder))
            write_atomically(self.run.folder / PAGE, text.encode("utf-8"))


def _places(path: Path) -> list[dict[str, Any]]:
    """Where the run has been until now; what is damaged is left out."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return []
    kept = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one for one in kept if isinstance(one.get("step", 0), int | float)]
