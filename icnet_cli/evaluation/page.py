"""`icnet eval --report`: collects what the page shows beside the figures, and writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.classes import ClassTable
from icnet_cli.errors import IcnetError
from icnet_cli.evaluation.confusion import Labels
from icnet_cli.evaluation.regions import Regions, region_table
from icnet_cli.evaluation.worst import Gallery
from icnet_cli.pixels.files import write_atomically
from icnet_cli.reports.eval_page import ClassCropSet, eval_page

PAGE = "index.html"


class PageNotWrittenError(IcnetError):
    """The work is done and its figures are in `report`, but the page of it could not be written."""

    def __init__(self, error: IcnetError, report: Mapping[str, Any]) -> None:
        super().__init__(str(error), error.code)
        self.report = {key: value for key, value in report.items() if key not in ("report", "output")}


def write_page(path: Path, text: str, report: Mapping[str, Any]) -> None:
    """Write a page, whole or not at all. Raises PageNotWrittenError, so that hours of work are not lost with it."""
    try:
        write_atomically(path, text.encode("utf-8"))
    except IcnetError as error:
        raise PageNotWrittenError(error, report) from error


class ReportPage:
    """An observer of an evaluation that ends as `index.html` in `folder`.

    Args:
        curve: what the curve of accuracy by region size is called; None where the report has regions already.
    """

    def __init__(self, folder: Path, classes: ClassTable, curve: str | None) -> None:
        self.folder, self.classes, self._curve = folder, classes, curve
        self._gallery = Gallery(classes.num_classes)
        self._regions = Regions()

    def add(self, name: str, image: NDArray[np.uint8], truth: Labels, labels: Labels) -> None:
        """One picture (H, W, 3) with its truth and its labels (H, W)."""
        self._gallery.add(name, image, truth, labels)
        if self._curve is not None:
            self._regions.add(truth, labels)

    def figures(self) -> dict[str, Any]:
        """For the report: where the page is, the worst frames' names and figures, and the regions."""
        worst = [
            {"name": shot.name, "wrong": shot.wrong, "miou": shot.miou} for shot in self._gallery.frames.shots
        ]
        found: dict[str, Any] = {"report": str(self.folder / PAGE), "worst_frames": worst}
        if self._curve is not None:
            found["regions"] = region_table({self._curve: self._regions})
        return found

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the page of the whole report, whole or not at all. Raises PageNotWrittenError."""
        crops = self._gallery.crops
        sets = [
            ClassCropSet(best.items, worst.items) for best, worst in zip(crops.best, crops.worst, strict=True)
        ]
        text = eval_page(document, self.classes.palette_array(), self._gallery.frames.shots, sets)
        write_page(self.folder / PAGE, text, document)
