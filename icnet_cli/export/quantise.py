"""8-bit convolutions by ONNX Runtime's calibration; never chosen by itself, and always told what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.data.layout import Layout, Sample
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import IcnetError
from icnet_cli.evaluation.confusion import Confusion
from icnet_cli.inference.backends.base import ExportedModel
from icnet_cli.inference.backends.graph import quietly
from icnet_cli.models import Network
from icnet_cli.pixels.files import labels_at, read_picture, shrink_or_grow

from .agreement import Picture, model_input, original_labels, picture_files, spread

CALIBRATED_ON = 32  # pictures
MEASURED_ON = 50


@dataclass(frozen=True)
class Calibration:
    """Pictures to calibrate on, and labelled ones to measure on where the folder is a dataset."""

    pictures: tuple[Path, ...]
    layout: Layout | None
    labelled: tuple[Sample, ...]

    def frames(self, size: tuple[int, int]) -> Iterator[Picture]:
        for path in self.pictures:
            yield shrink_or_grow(read_picture(path), size)


def open_calibration(source: Path) -> Calibration:
    """A dataset: calibrate on train, measure on val. Any other folder of pictures: calibrate only.

    Raises:
        IcnetError: exit 3 where there are no pictures.
    """
    try:
        layout = recognise(source)
        splits = {split: layout.samples(split) for split in layout.splits()}
    except IcnetError:
        return Calibration(tuple(spread(picture_files(source), CALIBRATED_ON)), None, ())
    learnt = splits.get("train") or next(iter(splits.values()))
    pictures = spread([sample.image for sample in learnt], CALIBRATED_ON)
    held_out = splits.get("val") or learnt
    chosen = np.linspace(0, len(held_out) - 1, min(len(held_out), MEASURED_ON)).round().astype(int)
    return Calibration(tuple(pictures), layout, tuple(held_out[i] for i in chosen))


class _Reader:
    """ONNX Runtime's CalibrationDataReader: one input a call, None at the end."""

    def __init__(self, frames: Iterator[Picture], model: ExportedModel) -> None:
        self._frames, self._model = frames, model

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        frame = next(self._frames, None)
        return None if frame is None else {self._model.ports.input: model_input(frame, self._model)}


def quantise_onnx(source: Path, target: Path, model: ExportedModel, frames: Iterator[Picture]) -> None:
    """Write `target`, whose convolutions compute in 8 bits; the rest and the file's description stay."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    CalibrationDataReader.register(_Reader)
    with quietly():
        quantize_static(
            str(source),
            str(target),
            _Reader(frames, model),  # type: ignore[arg-type]
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # 7 bits: processors with AVX2 and without VNNI add pairs of products in 16 bits, which those of 8-bit
            # weights overflow: the labels would depend on who runs the file.
            reduce_range=True,
        )
    described = onnx.load(str(source), load_external_data=False).metadata_props
    made = onnx.load(str(target))
    onnx.helper.set_model_props(made, {prop.key: prop.value for prop in described})
    onnx.save(made, str(target))


def miou_lost(
    calibration: Calibration, model: ExportedModel, network: Network, size: tuple[int, int]
) -> dict[str, Any]:
    """mIoU of the network and of the file on labelled pictures at `size`, labels compared at their own size."""
    layout = calibration.layout
    if layout is None or layout.classes.names != model.meta.classes.names:
        return {}
    confusions = Confusion(network.num_classes), Confusion(network.num_classes)
    for sample in calibration.labelled:
        truth = layout.read_labels(sample)
        frame = shrink_or_grow(read_picture(sample.image), size)
        found = original_labels(network, model.meta, frame), model.labels(model_input(frame, model))[0]
        for confusion, labels in zip(confusions, found, strict=True):
            confusion.update(truth, labels_at(labels, truth.shape))
    before, after = (confusion.miou for confusion in confusions)
    images = len(calibration.labelled)
    return {"miou_before": before, "miou": after, "miou_lost": before - after, "miou_images": images}
