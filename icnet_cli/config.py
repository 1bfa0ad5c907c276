"""What each command can be told: one frozen dataclass a command.

The text beside a field is its help on the command line (`cli/options.py` turns the
dataclass into options, so none is written twice), and the bounds beside it are checked
by `check()`, which collects every problem and raises once, before the disk or the GPU
is touched. Sizes are (height, width); seconds end in `_s`.
"""

# ruff: noqa: RUF009  (the helpers below only spell out dataclasses.field and its metadata)

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from icnet_cli.errors import usage_error

DEFAULT_WEIGHTS = "icnet-camvid"
MODELS = ("icnet", "fast-scnn", "pspnet50", "deeplabv3")
BRANCHES = ("sub4", "sub24", "sub124")
VIEWS = ("overlay", "color", "side-by-side", "labels")
IDS = ("train", "dataset")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")

WHAT = "What to read and write"
NETWORK = "The network"
PICTURE = "The picture"
ENCODING = "The video file"
SCHEDULE = "How long and how fast"

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def argument(metavar: str, help: str) -> Any:
    """A required field given by its place on the command line."""
    return field(metadata={"help": help, "metavar": metavar, "argument": True})


def required(help: str, **metadata: Any) -> Any:
    """A field that must be given, by name."""
    return field(metadata={"help": help, **metadata})


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A field with a default.

    Metadata: `flags` (names on the command line; default the field's own, hyphenated), `metavar`,
    `choices`, `minimum`, `maximum`, `above` (exclusive lower bound; of each element where the value is a
    tuple), `kind` ("time": 12.5, 1:02.5 or 90m), `env` (False: not from the environment), `panel`
    (heading in the help), `shows` (the default in words, where the value says too little).
    """
    return field(default=default, metadata={"help": help, **metadata})


def flag_of(item: Field[Any]) -> str:
    """What the user calls this field: SOURCE, or its long option."""
    if item.metadata.get("argument"):
        return str(item.metadata["metavar"])
    long = [name for name in item.metadata.get("flags", ()) if name.startswith("--")]
    return long[0] if long else "--" + item.name.replace("_", "-")


def _field_problems(item: Field[Any], value: Any) -> Iterator[str]:
    name, bounds = flag_of(item), item.metadata
    for part in value if isinstance(value, tuple) else (value,):
        if part is None:
            continue
        if "choices" in bounds and part not in bounds["choices"]:
            yield f"{name} must be one of {', '.join(bounds['choices'])}, not {part!r}"
        if "above" in bounds and not part > bounds["above"]:
            yield f"{name} must be above {bounds['above']}, not {part}"
        if "minimum" in bounds and not part >= bounds["minimum"]:
            yield f"{name} must be at least {bounds['minimum']}, not {part}"
        if "maximum" in bounds and not part <= bounds["maximum"]:
            yield f"{name} must be at most {bounds['maximum']}, not {part}"
    if value == ():
        yield f"{name} needs at least one value"
    if item.name == "device" and not _DEVICE.fullmatch(str(value)):
        yield f"--device must be auto, cpu, cuda or cuda:N, not {value!r}"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Config:
    """What all commands' configurations share: checking themselves and being written down."""

    def problems(self) -> list[str]:
        """Everything that can be seen to be wrong without touching the disk or a device, in words."""
        found = [text for item in fields(self) for text in _field_problems(item, getattr(self, item.name))]
        return found + self._contradictions()

    def _contradictions(self) -> list[str]:
        return []

    def check(self) -> None:
        """Raise one usage error that names every problem."""
        found = self.problems()
        if found:
            raise usage_error("; ".join(found))

    def to_dict(self) -> dict[str, Any]:
        """The merged configuration as JSON-able values, for a run to store."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


# An option reads best in two or three lines.
# fmt: off
def _device() -> Any:
    help = "Where the network runs: auto, cpu, cuda or cuda:N. auto takes a GPU where there is one."
    return option("auto", help, metavar="DEVICE", panel=NETWORK)


def _precision() -> Any:
    help = "Arithmetic of the network. auto: fp32 on a CPU, half precision on a GPU. With fp32 TF32 is off."
    return option("auto", help, choices=PRECISIONS, panel=NETWORK)


def _weights() -> Any:
    help = "Weights: a bundled name (`icnet weights list`) or a .safetensors file."
    return option(DEFAULT_WEIGHTS, help, metavar="NAME|FILE", panel=NETWORK)


def _ids() -> Any:
    help = "Values of the label PNGs: train ids, or the dataset's own ids."
    return option("train", help, choices=IDS, panel=WHAT)


def _overwrite() -> Any:
    help = "Replace an output that exists."
    return option(False, help, flags=("--overwrite", "-y"), panel=WHAT, env=False)


def _skip_damaged() -> Any:
    return option(False, "Leave out damaged or missing pairs, and count them, instead of ending.", panel=WHAT)


@dataclass(frozen=True)
class SegmentConfig(Config):
    """`icnet segment`: road video or pictures in, per-pixel classes out."""

    source: str = argument("SOURCE", "A video file, an image, a folder of images, or a quoted glob of them.")
    output: Path = required(
        "Where to write: a video (.mp4 .mkv .mov .webm), one .png, or a folder.",
        flags=("--output", "-o"), metavar="OUT", env=False, panel=WHAT,
    )
    overwrite: bool = _overwrite()
    ids: str = _ids()
    start_s: float | None = option(
        None, "Begin here: seconds, or [h:]m:s.", flags=("--start",), kind="time", minimum=0, panel=WHAT
    )
    end_s: float | None = option(
        None, "End here: seconds, or [h:]m:s.", flags=("--end",), kind="time", above=0, panel=WHAT
    )
    frames: int | None = option(None, "Write at most this many frames.", minimum=1, panel=WHAT)
    every: int = option(1, "Take only each Nth frame; its duration is stretched.", minimum=1, panel=WHAT)
    stream: int | None = option(
        None, "Which video stream, by its index in the file.", minimum=0, panel=WHAT, shows="the best one"
    )
    no_audio: bool = option(False, "Leave the sound out.", panel=ENCODING)

    weights: str = _weights()
    size: tuple[int, int] | None = option(
        None, "Size of the network's input, height x width. The output keeps the source's size.",
        minimum=32, maximum=16384, panel=NETWORK,
        shows="the source's aspect at the training pixel count, never above the source",
    )
    device: str = _device()
    precision: str = _precision()

    view: str | None = option(
        None, "What to show: classes over the picture, classes alone, both side by side, or class numbers.",
        choices=VIEWS, panel=PICTURE, shows="overlay; labels for a folder or a name like labels.*",
    )
    alpha: float = option(
        0.5, "Strength of the classes' colours over the picture.", minimum=0, maximum=1, panel=PICTURE
    )
    legend: bool = option(False, "Draw the class names and colours into the picture.", panel=PICTURE)
    palette: str | None = option(
        None, "Other colours: the name of a class table (cityscapes, camvid, coco-stuff) or a YAML file.",
        metavar="NAME|FILE", panel=PICTURE, shows="the weights' own",
    )

    codec: str | None = option(
        None, "Video codec: h264, hevc, av1, vp9, ffv1, or an encoder's own name.",
        metavar="NAME", panel=ENCODING, shows="h264; vp9 in .webm",
    )
    crf: int | None = option(
        None, "Quality of the video, lower is better.", minimum=0, maximum=63, panel=ENCODING,
        shows="the codec's own balance",
    )
    preset: str | None = option(
        None, "Speed of the encoder, in its own words: ultrafast ... veryslow.",
        metavar="NAME", panel=ENCODING, shows="veryfast",
    )

    def _contradictions(self) -> list[str]:
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            return [f"--end {self.end_s:g} s is not after --start {self.start_s:g} s"]
        return []


@dataclass(frozen=True)
class TrainConfig(Config):
    """`icnet train`: a folder of pictures and labels in, weights out."""

    dataset: Path = argument("DATASET", "A folder: Cityscapes, CamVid, COCO-Stuff, or images/ and labels/.")
    model: str = option("icnet", "Network to train.", choices=MODELS, panel=NETWORK)
    keep: float = option(
        1.0, "Share of the full-width network's channels to build.", above=0, maximum=1, panel=NETWORK
    )
    pretrained: str | None = option(
        None, "Weights to start from; layers whose shapes differ start fresh.",
        metavar="NAME|FILE", panel=NETWORK, shows="what the recipe says",
    )
    device: str = _device()
    precision: str = _precision()

    output: Path | None = option(
        None, "Run folder.", flags=("--output", "-o"), metavar="DIR", env=False, panel=WHAT,
        shows="runs/train/MODEL-N",
    )
    resume: Path | None = option(
        None, "Go on with this run folder, from its last checkpoint.", metavar="DIR", env=False, panel=WHAT
    )
    splits: tuple[str, ...] | None = option(
        None, "Splits to train on, with commas: train,val.", metavar="NAME,...", panel=WHAT,
        shows="what the recipe says",
    )
    skip_damaged: bool = _skip_damaged()
    cache: str = option(
        "none", "Keep the decoded pictures in memory.", choices=("none", "memory"), panel=WHAT
    )
    workers: int | None = option(
        None, "Processes that read and augment; 0 does it in this one.", minimum=0, maximum=256, panel=WHAT,
        shows="one a core on a GPU, at most 8; 0 on a CPU",
    )
    tensorboard: bool = option(
        False, "Also write TensorBoard events (needs the tensorboard extra).", panel=WHAT
    )

    recipe: str | None = option(
        None, "Recipe: a name that comes with the tool, or a YAML file.", metavar="NAME|FILE", panel=SCHEDULE,
        shows="the dataset layout's",
    )
    epochs: int | None = option(
        None, "Passes over the data.", minimum=1, panel=SCHEDULE, shows="the recipe's"
    )
    steps: int | None = option(None, "Optimizer steps.", minimum=1, panel=SCHEDULE, shows="the recipe's")
    time_budget_s: float | None = option(
        None, "Fit the schedule into this much time: 90m, 2h30m, or seconds.", flags=("--time-budget",),
        kind="time", above=0, panel=SCHEDULE,
    )
    batch: int | None = option(
        None, "Pictures in memory at once.", minimum=1, panel=SCHEDULE, shows="the recipe's"
    )
    accumulate: int | None = option(
        None, "Batches summed into one step.", minimum=1, panel=SCHEDULE,
        shows="what keeps the recipe's effective batch",
    )
    lr: float | None = option(None, "Base learning rate.", above=0, panel=SCHEDULE, shows="the recipe's")
    crop: tuple[int, int] | None = option(
        None, "Size of the training crops, height x width.", minimum=32, maximum=16384, panel=SCHEDULE,
        shows="the recipe's",
    )
    seed: int = option(0, "Seed of everything random.", minimum=0, maximum=2**32 - 1, panel=SCHEDULE)

    def _contradictions(self) -> list[str]:
        if self.epochs is not None and self.steps is not None:
            return ["--epochs and --steps both set the length; give one"]
        return []


@dataclass(frozen=True)
class EvalConfig(Config):
    """`icnet eval`: how well weights do on labelled pictures."""

    dataset: Path = argument("DATASET", "A folder: Cityscapes, CamVid, COCO-Stuff, or images/ and labels/.")
    split: str = option("val", "Split to measure on.", metavar="NAME", panel=WHAT)
    predictions: Path | None = option(
        None, "Write each prediction as a label PNG into this folder.", metavar="DIR", env=False, panel=WHAT
    )
    ids: str = _ids()
    overwrite: bool = _overwrite()
    skip_damaged: bool = _skip_damaged()

    weights: str = _weights()
    branches: str | None = option(
        None, "Answer from fewer branches of ICNet's cascade.", choices=BRANCHES, panel=NETWORK,
        shows="sub124",
    )
    size: tuple[int, int] | None = option(
        None, "Size of the network's input, height x width; labels are compared at their own size.",
        minimum=32, maximum=16384, panel=NETWORK, shows="the weights' training size",
    )
    scales: tuple[float, ...] = option(
        (1.0,), "Average the predictions at these scales, with commas: 0.75,1,1.25.",
        metavar="X,...", above=0, maximum=8, panel=NETWORK,
    )
    flip: bool = option(False, "Average with the mirrored picture's prediction.", panel=NETWORK)
    device: str = _device()
    precision: str = _precision()


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

    weights: str = argument("NAME|FILE", "A bundled name (`icnet weights list`) or a .safetensors file.")


# The command's words on the command line, and what it can be told: also the sections of a config file.
COMMANDS: dict[str, type[Config]] = {
    "segment": SegmentConfig,
    "train": TrainConfig,
    "eval": EvalConfig,
    "data check": DataCheckConfig,
    "weights list": WeightsListConfig,
    "weights show": WeightsConfig,
    "weights path": WeightsConfig,
}
