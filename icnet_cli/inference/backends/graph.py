"""The network as a program of torch.export, for other compilers and runtimes to take over."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.inference.fold import fold_batchnorm

if TYPE_CHECKING:
    import openvino

ONNX_OPSET = 18  # what torch's exporter writes without converting


class ScoresGraph(nn.Module):
    """uint8 (1, H, W, 3) RGB in, float32 scores (1, h, w, K) out: channels last at both ends, as pictures and
    `pixels.labels` have them."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network, self.order = fold_batchnorm(network), normalisation.order
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        x = (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std
        x = x.flip(1) if self.order == "BGR" else x
        return self.network.scores(x).permute(0, 2, 3, 1)  # type: ignore[operator, no-any-return]


def scores_program(
    network: nn.Module, normalisation: Normalisation, size: tuple[int, int], channels_last: bool = False
) -> ExportedProgram:
    """`ScoresGraph` of pictures of one size; with `channels_last` its convolutions' weights lie so, as torch likes."""
    graph = ScoresGraph(network, normalisation).eval().requires_grad_(False)
    if channels_last:
        graph.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    picture = torch.zeros((1, *size, 3), dtype=torch.uint8)
    with quietly(), torch.no_grad():
        return torch.export.export(graph, (picture,), strict=False)


def to_onnx(program: ExportedProgram) -> torch.onnx.ONNXProgram:
    """torch.onnx's program of it, not yet written."""
    with quietly():
        made = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=ONNX_OPSET)
    if made is None:
        raise RuntimeError("torch.onnx.export gave no program")
    return made


def save_onnx(path: Path, made: torch.onnx.ONNXProgram) -> None:
    """One .onnx file, weights inside."""
    made.model.producer_name = "icnet"
    made.save(str(path), external_data=False)


def to_openvino(program: ExportedProgram) -> openvino.Model:
    """OpenVINO's model of it."""
    import openvino

    with quietly():
        model: Any = openvino.convert_model(program)
    return model


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporters' warnings: they are about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
