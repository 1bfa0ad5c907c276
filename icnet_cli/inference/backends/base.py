"""What all exported files share: what they say of themselves, and how they are run."""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.errors import weights_error

# What each kind of file is run with; the extra that brings it has the kind's name.
MODULES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "pt2": ()}
META_KEY, PORTS_KEY = "icnet", "icnet_ports"
FRAMES, RAW = "frames", "input"  # uint8 NHWC RGB; or float32 NCHW, normalised, in the network's channel order
LABELS, LOGITS = "labels", "logits"  # uint8 (N, H, W); or float32 (N, K, H, W)


def missing_modules(kind: str) -> list[str]:
    """The modules that `kind` needs and that are not installed; none of them is imported for it."""
    return [name for name in MODULES[kind] if importlib.util.find_spec(name) is None]


def need(kind: str) -> str:
    """What is missing, and the line that installs it."""
    missing = ", ".join(missing_modules(kind))
    return f"{kind} needs {missing}, not installed here: pip install 'icnet[{kind}]'"


def smallest_side(model: str, config: Mapping[str, Any]) -> int:
    """Of a picture for a file of free sizes: the deepest map needs two rows, as torch takes one for a constant."""
    deepest = 64 if model == "icnet" and config.get("output_stride") == 16 else 32
    return deepest + 1


@dataclass(frozen=True)
class Ports:
    """What goes in and out of an exported file, by name.

    Attributes:
        size: the (height, width) it takes, None where it takes any.
        precision: fp32, fp16 or int8.
    """

    input: str
    output: str
    size: tuple[int, int] | None
    precision: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Ports:
        document = json.loads(text)
        size = document["size"]
        return cls(
            document["input"],
            document["output"],
            size and (int(size[0]), int(size[1])),
            document["precision"],
        )


def metadata_of(meta: WeightsMeta, ports: Ports) -> dict[str, str]:
    """What is written into every exported file: the whole description, and its parts that other programs look for."""
    return {
        META_KEY: meta.to_json(),
        PORTS_KEY: ports.to_json(),
        "class_names": json.dumps(list(meta.classes.names)),
        "palette": json.dumps([list(color) for color in meta.classes.palette]),
    }


class ExportedModel(ABC):
    """A network in another program's hands.

    Attributes:
        meta: what its weights file said: classes, normalisation, training size.
        ports: what goes in and what comes out.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        try:
            self.meta = WeightsMeta.from_json(str(metadata[META_KEY]))
            self.ports = Ports.from_json(str(metadata[PORTS_KEY]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise weights_error(f"{path} was not exported by icnet: it does not say what it takes") from error
        self.path = path

    @abstractmethod
    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """One pass: what `ports.input` names to what `ports.output` names."""

    def labels(self, batch: NDArray[Any]) -> NDArray[np.uint8]:
        """Labels (N, H, W), whatever the file gives."""
        out = self.run(batch)
        return out.astype(np.uint8) if self.ports.output == LABELS else out.argmax(axis=1).astype(np.uint8)
