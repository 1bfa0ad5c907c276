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
from fractions import Fraction
from pathlib import Path
from typing import Any

from icnet_cli.errors import usage_error

DEFAULT_WEIGHTS = "icnet-camvid"
MODELS = ("icnet", "fast-scnn", "pspnet50", "deeplabv3")
BRANCHES = ("sub4", "sub24", "sub124")
VIEWS = ("overlay", "color", "side-by-side", "labels")
STREAM_FORMATS = ("y4m", "raw")
STDOUT = "-"  # -o -: the frames go to standard output
MAX_PIXELS = 8192 * 4320
IDS = ("train", "dataset")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
BACKENDS = ("auto", "torch")

WHAT = "What to read and write"
NETWORK = "The network"
PICTURE = "The picture"
ENCODING = "The video file"
SCHEDULE = "How long and how fast"
CUTS = "How much to cut"

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def argument(metavar: str, help: str, **default: Any) -> Any:
    """A field given by its place on the command line; required unless it has a `default`."""
    return field(metadata={"help": help, "metavar": metavar, "argument": True}, **default)


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
    if isinstance(value, Path | Fraction):
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


def _alpha() -> Any:
    help = "Strength of the classes' colours over the picture."
    return option(0.5, help, minimum=0, maximum=1, panel=PICTURE)


def _legend() -> Any:
    return option(False, "Draw the class names and colours into the picture.", panel=PICTURE)


def _palette(shows: str) -> Any:
    help = "Other colours: the name of a class table (cityscapes, camvid, coco-stuff) or a YAML file."
    return option(None, help, metavar="NAME|FILE", panel=PICTURE, shows=shows)


def _only() -> Any:
    help = "Show only these classes, with commas: person,car."
    return option(None, help, metavar="NAME,...", panel=PICTURE, shows="all")


def _blur() -> Any:
    help = "Hide these classes in the picture, with commas: person,car."
    return option(None, help, metavar="NAME,...", panel=PICTURE, shows="none")


def _codec() -> Any:
    help = "Video codec: h264, hevc, av1, vp9, ffv1, or an encoder's own name."
    return option(None, help, metavar="NAME", panel=ENCODING, shows="h264; vp9 in .webm")


def _crf() -> Any:
    help = "Quality of the video, lower is better."
    return option(None, help, minimum=0, maximum=63, panel=ENCODING, shows="the codec's own balance")


def _preset() -> Any:
    help = "Speed of the encoder, in its own words: ultrafast ... veryslow."
    return option(None, help, metavar="NAME", panel=ENCODING, shows="veryfast")


def _pix_fmt() -> Any:
    help = "Pixel format of the video, in FFmpeg's words: yuv444p, yuv420p10le, ..."
    return option(None, help, metavar="NAME", panel=ENCODING, shows="yuv420p")


def _no_audio() -> Any:
    return option(False, "Leave the sound out.", panel=ENCODING)


def _format() -> Any:
    help = "With -o -: y4m, or the bare samples of each frame."
    return option(None, help, choices=STREAM_FORMATS, env=False, panel=ENCODING, shows="y4m")


def _fps() -> Any:
    help = (
        "Frames a second, 25 or 30000/1001: with -o - frames are repeated or left out to keep time; "
        "of a video made from pictures."
    )
    shows = "the source's; 25 of pictures"
    return option(
        None, help, metavar="RATE", above=0, maximum=1000, env=False, panel=ENCODING, shows=shows
    )


def _stream() -> Any:
    help = "Which video stream, by its index in the file."
    return option(None, help, minimum=0, panel=WHAT, shows="the best one")


def _max_pixels() -> Any:
    help = "Refuse pictures of more pixels than this, before they are decoded."
    return option(MAX_PIXELS, help, minimum=1, maximum=2**30, panel=WHAT, shows="8192x4320")


def _skip_damaged() -> Any:
    return option(False, "Leave out damaged or missing pairs, and count them, instead of ending.", panel=WHAT)


@dataclass(frozen=True)
class SegmentConfig(Config):
    """`icnet segment`: road video or pictures in, per-pixel classes out."""

    source: str = argument(
        "SOURCE", "A video file, an image, a folder of images, a quoted glob of them, or - for a video on stdin."
    )
    output: Path = required(
        "Where to write: a video (.mp4 .mkv .mov .webm), one .png, a folder, or - for y4m on stdout.",
        flags=("--output", "-o"), metavar="OUT", env=False, panel=WHAT,
    )
    more: tuple[str, ...] | None = argument(
        "MORE", "More videos: each goes to the output folder under its own name.", default=None
    )
    overwrite: bool = _overwrite()
    stats: Path | None = option(
        None, "Also write a row a frame, the share of each class in it, to this .csv or .jsonl.",
        metavar="FILE", env=False, panel=WHAT,
    )
    confidence: bool = option(
        False, "With --stats: also the mean probability of each pixel's first class.", env=False, panel=WHAT
    )
    ids: str = _ids()
    start_s: float | None = option(
        None, "Begin here: seconds, or [h:]m:s.", flags=("--start",), kind="time", minimum=0, panel=WHAT
    )
    end_s: float | None = option(
        None, "End here: seconds, or [h:]m:s.", flags=("--end",), kind="time", above=0, panel=WHAT
    )
    frames: int | None = option(None, "Write at most this many frames.", minimum=1, panel=WHAT)
    every: int = option(1, "Take only each Nth frame; its duration is stretched.", minimum=1, panel=WHAT)
    stream: int | None = _stream()
    max_pixels: int = _max_pixels()
    no_audio: bool = _no_audio()

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
    alpha: float = _alpha()
    only: tuple[str, ...] | None = _only()
    blur: tuple[str, ...] | None = _blur()
    legend: bool = _legend()
    palette: str | None = _palette("the weights' own")

    codec: str | None = _codec()
    crf: int | None = _crf()
    preset: str | None = _preset()
    pix_fmt: str | None = _pix_fmt()
    format: str | None = _format()
    fps: Fraction | None = _fps()

    def _contradictions(self) -> list[str]:
        found = []
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            found.append(f"--end {self.end_s:g} s is not after --start {self.start_s:g} s")
        if self.start_s and self.source == STDOUT:
            found.append("--start needs a file: what comes through a pipe cannot be sought")
        return found + _output_contradictions(self)


def _output_contradictions(config: SegmentConfig | PaintConfig) -> list[str]:
    found = []
    if config.format is not None and str(config.output) != STDOUT:
        found.append("--format is for -o -; a file's name says what it is")
    stats = getattr(config, "stats", None)
    if stats is not None and stats.suffix.lower() not in (".csv", ".jsonl"):
        found.append(f"--stats writes a .csv or a .jsonl, not {stats.name}")
    if getattr(config, "confidence", False) and stats is None:
        found.append("--confidence is a column of --stats FILE")
    return found


@dataclass(frozen=True)
class PaintConfig(Config):
    """`icnet paint`: labels that were written before, over their video again."""

    labels: Path = argument("LABELS", "A label video: what `icnet segment -o labels.mkv --view labels` wrote.")
    source: str = argument("SOURCE", "The video, or the folder of pictures, that the labels were made from.")
    output: Path = required(
        "Where to write: a video (.mp4 .mkv .mov .webm), one .png, a folder, or - for y4m on stdout.",
        flags=("--output", "-o"), metavar="OUT", env=False, panel=WHAT,
    )
    overwrite: bool = _overwrite()
    frames: int | None = option(None, "Write at most this many frames.", minimum=1, panel=WHAT)
    stream: int | None = _stream()
    max_pixels: int = _max_pixels()
    no_audio: bool = _no_audio()

    view: str = option(
        "overlay", "What to show: classes over the picture, classes alone, or both side by side.",
        choices=VIEWS[:3], panel=PICTURE,
    )
    alpha: float = _alpha()
    only: tuple[str, ...] | None = _only()
    blur: tuple[str, ...] | None = _blur()
    legend: bool = _legend()
    palette: str | None = _palette("the labels' own")

    codec: str | None = _codec()
    crf: int | None = _crf()
    preset: str | None = _preset()
    pix_fmt: str | None = _pix_fmt()
    format: str | None = _format()
    fps: Fraction | None = _fps()

    def _contradictions(self) -> list[str]:
        return _output_contradictions(self)


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
class PruneConfig(Config):
    """`icnet prune`: fewer channels, and the accuracy that fine-tuning wins back."""

    weights: str | None = argument(
        "WEIGHTS", "A .safetensors file or a bundled name; left out, the newest run under runs/train.",
        default=None,
    )
    data: Path | None = option(
        None, "Dataset to fine-tune and to measure on.", metavar="DIR", panel=WHAT, env=False,
        shows="the one that the weights' run was trained on",
    )
    output: Path | None = option(
        None, "The pruned weights.", flags=("--output", "-o"), metavar="FILE", env=False, panel=WHAT,
        shows="pruned.safetensors in the run folder",
    )
    overwrite: bool = _overwrite()
    resume: Path | None = option(
        None, "Go on with this run folder (runs/prune/NAME-N), in the step it was in.", metavar="DIR",
        env=False, panel=WHAT,
    )
    skip_damaged: bool = _skip_damaged()
    cache: str = option(
        "none", "Keep the decoded pictures in memory.", choices=("none", "memory"), panel=WHAT
    )
    workers: int | None = option(
        None, "Processes that read and augment; 0 does it in this one.", minimum=0, maximum=256, panel=WHAT,
        shows="one a core on a GPU, at most 8; 0 on a CPU",
    )

    keep: float | None = option(
        None, "Prune to this share of the full-width network's channels, whatever the weights have now.",
        above=0, maximum=1, panel=CUTS,
    )
    target_ms: float | None = option(
        None, "Prune until the network takes no longer than this on the device at --size.", above=0, panel=CUTS,
    )
    max_drop: float | None = option(
        None, "Stop, and go back to the last step that holds, once mIoU has fallen by more than this many "
        "points (hundredths).", minimum=0, maximum=100, panel=CUTS,
    )
    progressive: bool = option(
        False, "Cut in steps, each fine-tuned before the next. This is what happens unless --one-shot.",
        env=False, panel=CUTS,
    )
    one_shot: bool = option(False, "Cut once.", env=False, panel=CUTS)
    steps: int | None = option(
        None, "Equal steps of progressive pruning.", minimum=1, maximum=100, panel=CUTS, shows="2"
    )
    no_tune: bool = option(False, "Cut only; needs no data.", env=False, panel=CUTS)
    round_to: int = option(
        8, "Channel counts are multiples of this, and at least this.", minimum=1, maximum=512, panel=CUTS
    )

    recipe: str | None = option(
        None, "Recipe: a name that comes with the tool, or a YAML file.", metavar="NAME|FILE", panel=SCHEDULE,
        shows="that of the weights' run, else the dataset layout's",
    )
    tune_epochs: int | None = option(
        None, "Passes over the data after each cut.", minimum=1, panel=SCHEDULE, shows="a tenth of the recipe's"
    )
    tune_steps: int | None = option(
        None, "Optimizer steps after each cut.", minimum=1, panel=SCHEDULE, shows="a tenth of the recipe's"
    )
    time_budget_s: float | None = option(
        None, "Fit all fine-tuning into this much time: 90m, 2h30m, or seconds.", flags=("--time-budget",),
        kind="time", above=0, panel=SCHEDULE,
    )
    batch: int | None = option(
        None, "Pictures in memory at once.", minimum=1, panel=SCHEDULE, shows="the recipe's"
    )
    lr: float | None = option(None, "Base learning rate.", above=0, panel=SCHEDULE, shows="the recipe's")
    seed: int = option(0, "Seed of everything random.", minimum=0, maximum=2**32 - 1, panel=SCHEDULE)

    size: tuple[int, int] | None = option(
        None, "Size of the network's input at which it is timed and measured, height x width.",
        minimum=32, maximum=16384, panel=NETWORK, shows="the weights' training size",
    )
    device: str = _device()
    precision: str = _precision()

    def _contradictions(self) -> list[str]:
        if self.resume is not None:
            # What a machine's environment may set for all commands (a device, say) is no contradiction.
            shared = ("resume", "device", "precision", "workers", "cache", "batch", "size", "seed", "skip_damaged")
            given = [flag_of(f) for f in fields(self) if f.name not in shared and getattr(self, f.name) != f.default]
            return [f"--resume goes on with the run's own arguments; leave out {', '.join(given)}"] if given else []
        found = []
        if (self.keep is None) == (self.target_ms is None):
            found.append("give --keep (0.5, say) or --target-ms, one of the two")
        if self.one_shot and (self.progressive or self.steps is not None):
            found.append("--one-shot cuts once; leave out --progressive and --steps")
        if self.no_tune and (self.progressive or self.steps is not None):
            found.append("--no-tune cuts once; --progressive and --steps are for fine-tuning in between")
        if self.no_tune and self.max_drop is not None:
            found.append("--max-drop is measured after fine-tuning; leave out --no-tune")
        if self.tune_epochs is not None and self.tune_steps is not None:
            found.append("--tune-epochs and --tune-steps both set the length; give one")
        return found


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


PUBLISHED_TABLES = (
    "icnet-downsampling", "icnet-compression", "icnet-ablation", "icnet-supplement", "deeplabv3", "fast-scnn",
    "fast-scnn-training", "icnet-test", "icnet-supplement-methods", "icnet-camvid", "fast-scnn-methods",
    "cityscapes-methods", "camvid-methods",
)  # fmt: skip
BENCH = "What to measure"


@dataclass(frozen=True)
class BenchConfig(Config):
    """`icnet bench`: how fast the networks, or the whole way from video to video, are on this machine."""

    other: Path | None = argument("B.json", "The second file of --compare.", default=None)
    table: str | None = option(
        None, "Rebuild a table of the papers: its networks timed here, its figures beside.", env=False,
        choices=PUBLISHED_TABLES, metavar="NAME", panel=BENCH,
    )
    stages: bool = option(
        False, "The network's time by stage, at the size and at half of it.", env=False, panel=BENCH
    )
    video: Path | None = option(
        None, "Time all of `icnet segment` on this video, stage by stage.", metavar="FILE", env=False, panel=BENCH
    )
    compare: Path | None = option(
        None, "Compare two files of `icnet bench --json`: --compare A.json B.json.", metavar="A.json",
        env=False, panel=BENCH,
    )
    view: str = option("overlay", "With --video: what is shown.", choices=VIEWS, env=False, panel=BENCH)
    preset: str | None = option(
        None, "With --video: speed of the encoder: ultrafast ... veryslow.", metavar="NAME", env=False,
        panel=BENCH, shows="veryfast",
    )
    frames: int | None = option(
        None, "With --video: take at most this many frames.", minimum=1, env=False, panel=BENCH
    )
    data: Path | None = option(
        None, "With --table and --weights: measure the mIoU of these weights on this dataset.", metavar="DIR",
        env=False, panel=BENCH,
    )
    split: str = option("val", "Split of --data.", metavar="NAME", env=False, panel=BENCH)

    size: tuple[int, int] | None = option(
        None, "Size of the network's input, height x width.", flags=("--size", "--resolution"),
        minimum=32, maximum=16384, panel=NETWORK, shows="1024x2048; with --video what segment takes",
    )
    model: str = option("all", "Network to time.", choices=("all", *MODELS), env=False, panel=NETWORK)
    keep: float | None = option(
        None, "Share of the full-width network's channels.", above=0, maximum=1, env=False, panel=NETWORK,
        shows="0.5 for icnet, else 1",
    )
    branches: str | None = option(
        None, "Stop ICNet's cascade here.", choices=BRANCHES, env=False, panel=NETWORK, shows="sub124"
    )
    head: str | None = option(
        None, "How ICNet's head is written: as published, or the same function at less work.",
        choices=("published", "fused"), env=False, panel=NETWORK, shows="fused",
    )
    plain: bool = option(
        False, "Also time each network as it is written: published head, not folded, contiguous fp32.",
        env=False, panel=NETWORK,
    )
    weights: str | None = option(
        None, "Time the network of these weights: a bundled name or a .safetensors file.",
        metavar="NAME|FILE", env=False, panel=NETWORK, shows="bundled ones where they fit, else random",
    )
    device: str = _device()
    precision: str = _precision()
    backend: str = option("auto", "What runs the network.", choices=BACKENDS, panel=NETWORK)

    batch: int = option(1, "Pictures in one run of the network.", minimum=1, maximum=1024, panel=SCHEDULE)
    seconds: float = option(
        20.0, "Each row ends after this time, with at least 3 timed runs.", above=0, env=False, panel=SCHEDULE
    )
    quick: bool = option(
        False, "3 runs to warm up and 10 timed ones, instead of 100 and 100.", env=False, panel=SCHEDULE
    )

    markdown: bool = option(False, "Print the table as Markdown.", env=False, panel=WHAT)
    plot: Path | None = option(
        None, "Draw mIoU against frames a second: the papers' points and ours.", metavar="FILE.png",
        env=False, panel=WHAT,
    )
    overwrite: bool = _overwrite()

    def _contradictions(self) -> list[str]:
        kinds = {"--table": self.table, "--stages": self.stages, "--video": self.video, "--compare": self.compare}
        given = [name for name, value in kinds.items() if value]
        found = [f"{' and '.join(given)} are different things to measure; give one"] if len(given) > 1 else []
        if (self.compare is None) != (self.other is None):
            found.append("--compare needs two files: --compare A.json B.json")
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            found.append(f"--plot writes a .png, not {self.plot.name}")
        if self.plot is not None and given and given != ["--table"]:
            found.append(f"--plot has nothing to draw with {given[0]}")
        networks = {"--keep": self.keep, "--branches": self.branches, "--head": self.head}
        named = [name for name, value in networks.items() if value is not None]
        if self.weights is not None and not self.table:
            named += [] if self.model == "all" else ["--model"]
            if named:
                found.append(f"--weights say what the network is; leave out {', '.join(named)}")
        if self.table and (named or self.model != "all"):
            found.append("--table says what its networks are; leave out --model, --keep, --branches and --head")
        if self.data is not None and not (self.table and self.weights):
            found.append("--data is for --table with --weights")
        return found


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

    weights: str = argument("NAME|FILE", "A known name (`icnet weights list`) or a .safetensors file.")


@dataclass(frozen=True)
class WeightsVerifyConfig(Config):
    """`icnet weights verify`: whether weights files are whole, and the ones that were published."""

    weights: str | None = argument(
        "NAME|FILE", "A known name or a .safetensors file; left out, all that `icnet weights list` names.",
        default=None,
    )


@dataclass(frozen=True)
class WeightsImportConfig(Config):
    """`icnet weights import`: other people's weights as ours."""

    source: Path = argument("FILE", "A caffemodel of ICNet's authors, or a state dict of Fast-SCNN or ResNet-50.")
    output: Path | None = option(
        None, "Weights file to write.", flags=("--output", "-o"), metavar="OUT.safetensors", env=False, panel=WHAT,
        shows="your weights folder, under the file's own name",
    )
    name: str | None = option(
        None, "Keep it in your weights folder under this name, for --weights NAME.",
        flags=("--as",), metavar="NAME", env=False, panel=WHAT,
    )
    overwrite: bool = _overwrite()

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

    weights: str = argument("WEIGHTS", "A known name (`icnet weights list`) or a .safetensors file.")
    to: str = required("Format to write.", choices=tuple(EXPORT_SUFFIXES), panel=WHAT)
    output: Path = required(
        "File to write: .onnx, .pt2 or .xml (OpenVINO writes a .bin beside it).",
        flags=("--output", "-o"), metavar="FILE", env=False, panel=WHAT,
    )
    overwrite: bool = _overwrite()
    size: tuple[int, int] | None = option(
        None, "The one size of picture it takes, height x width.", minimum=32, maximum=16384, panel=NETWORK,
        shows="the weights' training size",
    )
    dynamic: bool = option(False, "Take pictures of any size from 33x33 up.", panel=NETWORK)
    with_argmax: bool = option(False, "Give labels (uint8) instead of logits.", panel=NETWORK)
    raw: bool = option(
        False, "Take normalised float NCHW instead of uint8 NHWC RGB pictures.", panel=NETWORK
    )
    fp16: bool = option(False, "Half precision.", panel=NETWORK)
    int8: bool = option(
        False, "8-bit convolutions (onnx, openvino), calibrated on --calibrate. Faster, and less accurate.",
        panel=NETWORK,
    )
    calibrate: Path | None = option(
        None, "Pictures, or a dataset (then the mIoU lost is told too), to calibrate int8 on.",
        metavar="DIR", env=False, panel=NETWORK,
    )
    pictures: Path | None = option(
        None, "A picture or a folder of them to compare the file with the network on.", metavar="PATH", env=False,
        panel=WHAT, shows="a drawn street",
    )
    min_agreement: float | None = option(
        None, "Least share of pixels with the same label; under it the file is not kept, exit 7.",
        minimum=0, maximum=1, metavar="SHARE", panel=WHAT, shows="0.999; 0.995 with --fp16; none with --int8",
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


# The command's words on the command line, and what it can be told: also the sections of a config file.
COMMANDS: dict[str, type[Config]] = {
    "segment": SegmentConfig,
    "paint": PaintConfig,
    "train": TrainConfig,
    "prune": PruneConfig,
    "eval": EvalConfig,
    "bench": BenchConfig,
    "data check": DataCheckConfig,
    "weights list": WeightsListConfig,
    "weights show": WeightsConfig,
    "weights path": WeightsConfig,
    "weights verify": WeightsVerifyConfig,
    "weights import": WeightsImportConfig,
    "export": ExportConfig,
}
