"""A traced network into a file of each format, with its description inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from icnet_cli.inference.backends.base import Ports
from icnet_cli.inference.backends.graph import quietly, save_onnx, to_onnx, to_openvino

Writer = Callable[[Path, ExportedProgram, Ports, Mapping[str, str]], None]


def write_onnx(path: Path, program: ExportedProgram, ports: Ports, metadata: Mapping[str, str]) -> None:
    """One .onnx file; input and output are named as `ports` has them."""
    made = to_onnx(program)
    made.model.graph.outputs[0].name = ports.output
    made.model.metadata_props.update(metadata)
    save_onnx(path, made)


def write_pt2(path: Path, program: ExportedProgram, ports: Ports, metadata: Mapping[str, str]) -> None:
    """One .pt2 file of torch.export."""
    with quietly():
        torch.export.save(program, path, extra_files=dict(metadata))


def write_openvino(path: Path, program: ExportedProgram, ports: Ports, metadata: Mapping[str, str]) -> None:
    """An .xml and a .bin beside it. With fp16 the weights are halved; how it computes, the device chooses."""
    save_openvino(path, to_openvino(program), ports, metadata)


def save_openvino(path: Path, model: object, ports: Ports, metadata: Mapping[str, str]) -> None:
    """Name the model's ends, describe it, write it."""
    import openvino

    assert isinstance(model, openvino.Model)
    model.inputs[0].get_tensor().set_names({ports.input})
    model.outputs[0].get_tensor().set_names({ports.output})
    for key, value in metadata.items():
        model.set_rt_info(value, [key])
    openvino.save_model(model, path, compress_to_fp16=ports.precision == "fp16")


WRITERS: dict[str, Writer] = {"onnx": write_onnx, "pt2": write_pt2, "openvino": write_openvino}
