"""What the commands that look after data sets and weights files can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option, required
from icnet_cli.config.shared import NETWORK, WHAT, overwrite_option, size_option


@dataclass(frozen=True)
class DataCheckConfig(Config):
    """`icnet data check`: find what is wrong with a dataset before training does."""

    dataset: Path = argument("DATASET", "The dataset's folder.")


@dataclass(frozen=True)
class WeightsListConfig(Config):
    """`icnet weights list`: the weights that come with the tool."""


@dataclass(frozen=True)
class WeightsConfig(Config):
    """`icnet weights show` and `icnet weights path`: one weights file."""

    weights: str = argument(
        "NAME|FILE", "A known name (`icnet weights list`) or a .safetensors file.", "weights"
    )


@dataclass(frozen=True)
class WeightsVerifyConfig(Config):
    """`icnet weights verify`: whether weights files are whole, and the ones that were published."""

    weights: str | None = argument(
        "NAME|FILE",
        "A known name or a .safetensors file; left out, all that `icnet weights list` names.",
        completes="weights",
        default=None,
    )


@dataclass(frozen=True)
class WeightsImportConfig(Config):
    """`icnet weights import`: other people's weights as ours."""

    source: Path = argument(
        "FILE", "A caffemodel of ICNet's authors, or a state dict of Fast-SCNN or ResNet-50."
    )
    output: Path | None = option(
        None,
        "Weights file to write.",
        flags=("--output", "-o"),
        metavar="OUT.safetensors",
        env=False,
        panel=WHAT,
        shows="your weights folder, under the file's own name",
    )
    name: str | None = option(
        None,
        "Keep it in your weights folder under this name, for --weights NAME.",
        flags=("--as",),
        metavar="NAME",
        env=False,
        panel=WHAT,
    )
    overwrite: bool = overwrite_option()

    def _contradictions(self) -> list[str]:
        if self.output is not None and self.name is not None:
            return ["-o and --as both say where to; give one"]
        if self.output is not None and self.output.suffix != ".safetensors":
            return [f"-o must end in .safetensors, not {str(self.output)!r}"]
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            return [f"--as must be a plain name such as icnet-cityscapes, not {self.name!r}"]
        return []


EXPORT_SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "openvino": ".xml"}


@dataclass(frozen=True)
class ExportConfig(Config):
    """`icnet export`: a network for other programs to run."""

    weights: str = argument(
        "WEIGHTS", "A known name (`icnet weights list`) or a .safetensors file.", "weights"
    )
    to: str = required("Format to write.", choices=tuple(EXPORT_SUFFIXES), panel=WHAT)
    output: Path = required(
        "File to write: .onnx, .pt2 or .xml (OpenVINO writes a .bin beside it).",
        flags=("--output", "-o"),
        metavar="FILE",
        env=False,
        panel=WHAT,
    )
    overwrite: bool = overwrite_option()
    size: tuple[int, int] | None = size_option(
        "The one size of picture it takes, height x width.",
        shows="the weights' training size",
    )
    dynamic: bool = option(
        False,
        "Take pictures of any size from 33x33 up (65x65 of an ICNet of output stride 16).",
        panel=NETWORK,
    )
    with_argmax: bool = option(False, "Give labels (uint8) instead of logits.", panel=NETWORK)
    raw: bool = option(False, "Take normalised float NCHW instead of uint8 NHWC RGB pictures.", panel=NETWORK)
    fp16: bool = option(False, "Half precision.", panel=NETWORK)
    int8: bool = option(
        False,
        "8-bit convolutions (onnx, openvino), calibrated on --calibrate. Faster, and less accurate.",
        panel=NETWORK,
    )
    calibrate: Path | None = option(
        None,
        "Pictures, or a dataset (then the mIoU lost is told too), to calibrate int8 on.",
        metavar="DIR",
        env=False,
        panel=NETWORK,
    )
    pictures: Path | None = option(
        None,
        "A picture or a folder of them to compare the file with the network on.",
        metavar="PATH",
        env=False,
        panel=WHAT,
        shows="those of --calibrate, or else a drawn street",
    )
    min_agreement: float | None = option(
        None,
        "Least share of pixels with the same label; under it the file is not kept, exit 7.",
        minimum=0,
        maximum=1,
        metavar="SHARE",
        panel=WHAT,
        shows="0.999; 0.995 with --fp16; none with --int8",
    )

    def _contradictions(self) -> list[str]:
        found = []
        if self.dynamic and self.size is not None:
            found.append("--size and --dynamic contradict each other; give one")
        if self.fp16 and self.int8:
            found.append("--fp16 and --int8 contradict each other; give one")
        if self.int8 != (self.calibrate is not None):
            found.append("--int8 and --calibrate DIR go together")
        if self.int8 and self.to == "pt2":
            found.append("--int8 is for --to onnx and --to openvino")
        suffix = EXPORT_SUFFIXES.get(self.to)
        if suffix and self.output is not None and self.output.suffix.lower() != suffix:
            found.append(f"-o must end in {suffix} for --to {self.to}, not {str(self.output)!r}")
        return found
