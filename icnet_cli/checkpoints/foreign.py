"""Other people's weights: recognised, checked tensor by tensor, and turned into ours.

- the ICNet authors' caffemodels, with BatchNorm merged into the convolutions or not;
- Fast-SCNN state dicts with the names of the common PyTorch port;
- torchvision's ResNet-50 state dict, the trunk's start for training.

A pickle is read by `torch.load(weights_only=True)`, which runs no code, and by nothing else.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from icnet_cli.classes import load_table
from icnet_cli.errors import IcnetError, weights_error, why
from icnet_cli.models import Network, build

from .bundled import SUFFIX
from .caffe import MAX_BYTES, CaffeLayer, read_caffemodel
from .format import HEADER_KEY, Normalisation, WeightsMeta
from .header import is_own
from .ported import (
    BN_PARTS,
    PORT_AUX,
    PORT_CLASSIFIER,
    RESNET_CLASSIFIER,
    RESNET_UNUSED,
    Source,
    caffe_names,
    port_names,
    take_conv,
    take_network,
    take_resnet_trunk,
)
from .state import DAMAGED

# B 103.939, G 116.779, R 123.68, no division (the authors' evaluation code).
CAFFE_NORMALISATION = Normalisation((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "BGR")
_AUX_NAMES = {"sub4_cls": ("sub4_cls", "sub4_out"), "sub24_cls": ("sub24_cls", "sub24_out")}
_COUNTER = "num_batches_tracked"
# What programs lay around a state dict, and what DataParallel, Lightning and torch.compile write before its names.
_AROUND = ("state_dict", "model_state_dict", "model")
_BEFORE = re.compile(r"(?:module\.|model\.|_orig_mod\.)*")
_ALONE = "save the model's state_dict() alone"
KNOWN = (
    "the ICNet authors' caffemodels, Fast-SCNN state dicts of the common PyTorch port, "
    "and torchvision's ResNet-50 state dict"
)


@dataclass(frozen=True)
class Foreign:
    """A foreign file as a network of ours.

    Attributes:
        kind: what the file is, in words.
        network: with every tensor that the file has a counterpart for; eval mode.
        state: those tensors alone, by our names.
        taken: how many tensors of the file that took; left_out: names of those without a place here.
        complete: False where parts of the network are fresh: a start for training, not a segmenter.
        notes: what one has to know about the result.
    """

    kind: str
    network: Network
    meta: WeightsMeta
    state: dict[str, Tensor]
    taken: int
    left_out: tuple[str, ...] = ()
    complete: bool = True
    notes: tuple[str, ...] = field(default=())


def is_foreign(path: Path) -> bool:
    """Whether a file is not one of ours: no safetensors, or without our description."""
    try:
        with safe_open(path, framework="pt") as file:
            return HEADER_KEY not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return path.suffix != SUFFIX  # a damaged one of ours is told as such


def read_foreign(path: Path) -> Foreign:
    """Recognise and convert.

    Raises:
        IcnetError: exit 4 where the file is of no known kind, or a tensor is missing, extra or of the wrong shape.
    """
    if not path.is_file():
        raise weights_error(f"no weights file {path}")
    try:
        return _convert(path)
    except IcnetError as error:
        message = str(error)
        raise weights_error(message if str(path) in message else f"{path}: {message}") from error


def _convert(path: Path) -> Foreign:
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        raise weights_error(f"{path} cannot be read: {why(error)}") from error
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return _from_state_dict(_read_pickle(path))
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _from_state_dict(_read_safetensors(path))
    layers = read_caffemodel(path)
    if not layers:
        raise weights_error(f"{path} {_seems(start)}; the known formats are {KNOWN}")
    return _from_caffe(layers)


def _seems(start: bytes) -> str:
    """What a file of no known format seems to be, by how it starts."""
    if not start:
        return "is empty"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        return "is text, not weights (a prototxt, or the page of a download that failed?)"
    return "is in no known format, or it is cut short or damaged"


# Reading --------------------------------------------------------------------------------------------------------------


def _read_pickle(path: Path) -> Mapping[str, Any]:
    """What torch.load gives, memory bounded by MAX_BYTES."""
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(item.file_size for item in archive.infolist()))
        if size > MAX_BYTES:
            raise weights_error(
                f"it unpacks to more than {MAX_BYTES >> 20} MiB, which none of these networks has"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: it is read, or it is not
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise weights_error(
            f"it is no state dict that can be read without running code, or it is damaged; {_ALONE}"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if is_own(path):
        raise weights_error("it is one of icnet's own weights files already: --weights takes it as it is")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise weights_error("it is not a readable safetensors file") from error


def _tensors(document: Any) -> dict[str, Tensor]:
    """The state dict inside, without what wrappers write before its names, and without BatchNorm's counters."""
    for key in _AROUND:
        if isinstance(document, Mapping) and isinstance(document.get(key), Mapping):
            document = document[key]
    if not isinstance(document, Mapping) or not document:
        raise weights_error("it holds no state dict (a mapping of names to tensors)")
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in document.items()):
        raise weights_error(f"it holds more than names and tensors; {_ALONE}")
    names = {name: _BEFORE.sub("", name, count=1) for name in document}
    if len(set(names.values())) < len(names):
        raise weights_error(f"it holds more than one network under the same names; {_ALONE}")
    return {short: document[name] for name, short in names.items() if not short.endswith(_COUNTER)}


# Converting -----------------------------------------------------------------------------------------------------------


def _from_state_dict(document: Any) -> Foreign:
    tensors = _tensors(document)
    if any(name.startswith("learning_to_downsample.") for name in tensors):
        return _from_port(tensors)
    if any(name.startswith("layer4.") for name in tensors):
        return _from_resnet(tensors)
    raise weights_error(f"its tensors' names are of no known network; the known formats are {KNOWN}")


def _loaded(network: Network, state: dict[str, Tensor]) -> Network:
    network.load_state_dict(state, strict=False)
    return network.eval()


def _from_caffe(layers: dict[str, CaffeLayer]) -> Foreign:
    tensors, scale = _named_blobs(layers)
    aux = {ours: _present(tensors, theirs) for ours, theirs in _AUX_NAMES.items()}
    table = load_table("cityscapes")
    config = {
        "num_classes": table.num_classes,
        "keep": 0.5,
        "head": "published",
        "pyramid": "published",
        "align_corners": True,
        "aux": all(aux.values()),
    }
    network, source = build("icnet", config), Source(tensors)
    state = take_network(network, source, caffe_names)
    for ours, theirs in {"conv6_cls": "conv6_cls", **(aux if config["aux"] else {})}.items():
        take_conv(state, ours, network.get_submodule(ours), source, str(theirs))  # type: ignore[arg-type]
    source.finish()
    if (
        scale is not None
    ):  # a learnt factor on the picture: the same as on the two first convolutions' weights
        for first in ("trunk.conv1_1", "conv1_sub1"):
            state[f"{first}.conv.weight"] *= scale.view(1, 3, 1, 1)
    merged = not any(layer.kind == "BN" for layer in layers.values())
    return Foreign(
        kind=f"the ICNet authors' caffemodel, BatchNorm {'merged' if merged else 'not merged'}",
        network=_loaded(network, state),
        meta=WeightsMeta.of(network, table, (1025, 2049), normalisation=CAFFE_NORMALISATION),
        state=state,
        taken=len(source.taken),
        notes=("pictures go in as BGR less the authors' means; sizes are 32k+1, such as 1025x2049",),
    )


def _present(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if f"{name}.weight" in tensors), None)


def _named_blobs(layers: dict[str, CaffeLayer]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Blobs by name (`conv1_2_3x3.weight`, `conv1_2_3x3/bn.running_mean`), and the factor on the picture if any."""
    tensors: dict[str, Tensor] = {}
    scale: Tensor | None = None
    for name, layer in layers.items():
        parts = BN_PARTS if layer.kind == "BN" else ("weight", "bias")
        if len(layer.blobs) > len(parts) or (layer.kind == "BN" and len(layer.blobs) < len(parts)):
            raise weights_error(
                f"its layer {name} has {len(layer.blobs)} blobs where {len(parts)} are expected"
            )
        blobs = {
            f"{name}.{part}": torch.from_numpy(blob) for part, blob in zip(parts, layer.blobs, strict=False)
        }
        if layer.kind == "Scale" and name == "data_sub1":
            scale = Source(blobs).take(f"{name}.weight", (3,))
            if len(blobs) > 1:
                raise weights_error(
                    "its layer data_sub1 adds to the picture, which the published network does not"
                )
        else:
            tensors |= blobs
    return tensors, scale


def _from_port(tensors: dict[str, Tensor]) -> Foreign:
    table = load_table("cityscapes")
    config = {
        "num_classes": table.num_classes,
        "depthwise_relu": True,
        "stem_padding": 0,
        "fusion_dilation": 1,
        "align_corners": True,
        "aux": False,
    }
    network, source = build("fast-scnn", config), Source(tensors)
    state = take_network(network, source, port_names)
    take_conv(state, "classifier", network.get_submodule("classifier"), source, PORT_CLASSIFIER)  # type: ignore[arg-type]
    left = source.finish((PORT_AUX,))
    notes = [
        "the port's own forms: a ReLU after each depthwise convolution, no padding in the first, no dilation in fusion"
    ]
    if left:
        notes.append("its one auxiliary classifier, which only training uses, is left out")
    return Foreign(
        kind="Fast-SCNN of the common PyTorch port",
        network=_loaded(network, state),
        meta=WeightsMeta.of(network, table, (1024, 2048)),
        state=state,
        taken=len(source.taken),
        left_out=left,
        notes=tuple(notes),
    )


def _from_resnet(tensors: dict[str, Tensor]) -> Foreign:
    table = load_table("cityscapes")
    torch.manual_seed(0)  # what is not in the file is the same each time
    network, source = build("pspnet50", {"num_classes": table.num_classes, "aux": False}), Source(tensors)
    state = take_resnet_trunk(network, source)
    taken = len(source.taken)
    for name, shape in RESNET_UNUSED.items():  # must be there all the same: else it is another network
        source.take(name, shape)
    left = (*RESNET_UNUSED, *source.finish((RESNET_CLASSIFIER,)))
    return Foreign(
        kind="torchvision's ResNet-50",
        network=_loaded(network, state),
        meta=WeightsMeta.of(network, table, (1024, 2048)),
        state=state,
        taken=taken,
        left_out=left,
        complete=False,
        notes=(
            "a start for training the full-width networks (icnet train --pretrained), not a segmenter",
            "the 7x7 stem, what reads it, and the ImageNet classifier have no place here",
            "its strides move from the 3x3 to the 1x1 before it, as PSPNet has them",
        ),
    )
