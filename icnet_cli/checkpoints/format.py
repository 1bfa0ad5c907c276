"""The weights file: safetensors, with a JSON document in its header that builds the network again.

Nothing is ever unpickled. What a file claims is checked against what its own configuration builds (on torch's meta
device, which takes no memory) before any tensor is read, so a hostile header cannot make us allocate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from icnet_cli.checkpoints.bundled import SUFFIX
from icnet_cli.checkpoints.header import HEADER_KEY, MAX_HEADER_BYTES
from icnet_cli.classes import ClassTable
from icnet_cli.config import EXPORT_SUFFIXES
from icnet_cli.errors import IcnetError, check_error, output_error, weights_error
from icnet_cli.models import Network, build, name_of
from icnet_cli.outputs import whole_file

FORMAT_VERSION = 1
MAX_CHANNELS = 16384

# torch counts batches in every BatchNorm; nothing here reads it.
_IGNORED = "num_batches_tracked"


@dataclass(frozen=True)
class Normalisation:
    """What turns a picture's 0..255 values into the network's input: (value - mean) / std, a channel.

    Attributes:
        mean, std: in RGB order, in units of 0..255.
        order: `RGB` or `BGR`, the order of the network's input channels.
    """

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    order: str = "RGB"

    def __post_init__(self) -> None:
        values = (*self.mean, *self.std)
        good = len(values) == 6 and all(math.isfinite(v) for v in values) and all(s > 0 for s in self.std)
        if not good or self.order not in ("RGB", "BGR"):
            raise ValueError(
                "normalisation needs three finite means, three positive stds and order RGB or BGR"
            )

    def apply(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) RGB, uint8 or float in 0..255 -> (N, 3, H, W) float32, the network's input."""
        mean = torch.tensor(self.mean, device=pictures.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=pictures.device).view(1, 3, 1, 1)
        x = (pictures.float() - mean) / std
        return x.flip(1) if self.order == "BGR" else x

    @property
    def fill(self) -> tuple[int, int, int]:
        """The RGB colour that becomes (almost) zero: what a picture is padded with."""
        r, g, b = (min(255, max(0, round(m))) for m in self.mean)
        return r, g, b


@dataclass(frozen=True)
class WeightsMeta:
    """What a weights file says about itself.

    Attributes:
        model: registered name of the network; config: what builds it.
        train_size: (height, width) of the pictures it was trained at.
        card: the model card: data, licence, recipe, command, seed, steps, hardware, metrics with their protocol.
        history: what was done to the channels (pruning), oldest first.
    """

    model: str
    config: dict[str, Any]
    classes: ClassTable
    normalisation: Normalisation
    train_size: tuple[int, int]
    card: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(
        cls, network: Network, classes: ClassTable, train_size: tuple[int, int], **rest: Any
    ) -> WeightsMeta:
        rest.setdefault("normalisation", Normalisation())
        return cls(name_of(network), network.config_dict(), classes, train_size=train_size, **rest)

    def to_json(self) -> str:
        document = {
            "format_version": FORMAT_VERSION,
            "model": self.model,
            "config": self.config,
            "classes": self.classes.to_dict(),
            "normalisation": asdict(self.normalisation),
            "train_size": list(self.train_size),
            "card": self.card,
            "history": self.history,
        }
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> WeightsMeta:
        """Raises IcnetError (exit 4) for a document that is not one of ours."""
        try:
            document = json.loads(text)
            version = document["format_version"]
            if version != FORMAT_VERSION:
                raise weights_error(f"weights format {version} is not known here (1 is); update icnet")
            normalisation = document["normalisation"]
            height, width = (int(n) for n in document["train_size"])
            if not (32 <= height <= 16384 and 32 <= width <= 16384):
                raise ValueError(f"train_size {height}x{width}")
            return cls(
                model=str(document["model"]),
                config=_checked_config(document["config"]),
                classes=ClassTable.from_dict(document["classes"]),
                normalisation=Normalisation(
                    tuple(normalisation["mean"]), tuple(normalisation["std"]), normalisation["order"]
                ),
                train_size=(height, width),
                card=dict(document.get("card", {})),
                history=list(document.get("history", [])),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise weights_error(f"the weights' header cannot be read ({error!r:.120})") from error


def _checked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    counts = [config.get("num_classes", 1), *dict(config.get("channels", {})).values()]
    if not all(isinstance(n, int) and 0 < n <= MAX_CHANNELS for n in counts):
        raise ValueError(f"a channel count is not between 1 and {MAX_CHANNELS}")
    keep = config.get("keep", 1.0)
    if not isinstance(keep, int | float) or not 0 < keep <= 1:
        raise ValueError(f"keep is {keep!r}, not a share")
    return dict(config)


@dataclass(frozen=True)
class LoadedWeights:
    """What a weights file held: the network, ready to run, what it says of itself, and where it lies."""

    network: Network
    meta: WeightsMeta
    path: Path


def save_weights(path: Path, network: Network, meta: WeightsMeta, half: bool = False) -> None:
    """Write `network` and `meta` to `path`, whole or not at all.

    With `half` the convolutions' weights are stored in fp16; BatchNorm and biases stay fp32, because a running variance
    may pass fp16's 65504 and they are a hundredth of the file.

    Raises:
        IcnetError: exit 7 for values that are not finite numbers, which `load_weights` would refuse.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(_IGNORED):
            continue
        dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
        tensors[name] = tensor.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(tensors[name]).all():
            raise check_error(f"{path} is not written: {name} holds values that are not finite numbers")
    write_atomically(path, lambda part: save_file(tensors, part, {HEADER_KEY: meta.to_json()}))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(part_path)`; the result is `path` only when it is complete and on the disk."""
    try:
        with whole_file(path) as part:
            write(part)
    except SafetensorError as error:
        raise output_error(f"cannot write {path}: {error}") from error


def read_meta(path: Path) -> WeightsMeta:
    """The file's own description, without its tensors."""
    with _opened(path) as file:
        return _meta_of(file, path)


def load_weights(path: Path) -> LoadedWeights:
    """The network (eval mode, fp32, on the CPU) that a weights file describes.

    Raises:
        IcnetError: exit 4 where the file is not a weights file of ours, or does not hold what it describes.
    """
    with _opened(path) as file:
        meta = _meta_of(file, path)
        try:
            # Without memory and without values: what the file claims is checked before anything is allocated.
            with torch.device("meta"):
                network = build(meta.model, meta.config)
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise weights_error(f"{path}: its header builds no network: {error}") from error
        expected = network.state_dict()
        _check_tensors(file, {k: v for k, v in expected.items() if not k.endswith(_IGNORED)}, path)
        # Not zeros_like: of a tensor without memory it loads torch's symbolic shapes, a third of a second.
        state = {k: torch.zeros(v.shape, dtype=v.dtype) for k, v in expected.items() if k.endswith(_IGNORED)}
        for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            state[name] = file.get_tensor(name).float()
            if not torch.isfinite(state[name]).all():
                raise weights_error(f"{path}: {name} holds values that are not finite numbers")
        network.load_state_dict(state, assign=True)
    if meta.classes.num_classes != network.num_classes:
        raise weights_error(
            f"{path}: it names {meta.classes.num_classes} classes but scores {network.num_classes}"
        )
    return LoadedWeights(network.eval(), meta, path)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise weights_error(f"no weights file {path}; `icnet weights list` names the bundled ones")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, path.stat().st_size):
            raise weights_error(f"{path} is not a safetensors file, or it is cut short{_cure(path)}")
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise weights_error(f"{path} is not a readable safetensors file: {error}") from error


def _cure(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in EXPORT_SUFFIXES.values():  # which no import takes
        return "; give the .safetensors that it was exported from"
    return "" if suffix == SUFFIX else f"; other programs' weights go through icnet weights import {path}"


def _meta_of(file: Any, path: Path) -> WeightsMeta:
    header = (file.metadata() or {}).get(HEADER_KEY)
    if header is None:
        raise weights_error(
            f"{path} is a safetensors file but not one of icnet's: it has no description; "
            f"icnet weights import {path} takes those of programs that it knows"
        )
    try:
        return WeightsMeta.from_json(header)
    except IcnetError as error:
        raise weights_error(f"{path}: {error}") from error


def _check_tensors(file: Any, expected: Mapping[str, Tensor], path: Path) -> None:
    names = set(file.keys())
    for word, some in (("lacks", set(expected) - names), ("has an unknown", names - set(expected))):
        if some:
            raise weights_error(f"{path} {word} tensor {min(some)} ({len(some)} in all)")
    for name, tensor in expected.items():
        shape = file.get_slice(name).get_shape()
        if list(shape) != list(tensor.shape):
            raise weights_error(
                f"{path}: {name} has shape {list(shape)}, its network wants {list(tensor.shape)}"
            )
