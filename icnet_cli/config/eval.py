"""What `icnet eval` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.live import NOWHERE, address_problems
from icnet_cli.config.shared import (
    BRANCHES,
    NETWORK,
    WHAT,
    backend_option,
    device_option,
    ids_option,
    overwrite_option,
    precision_option,
    size_option,
    skip_damaged_option,
    weights_option,
)
from icnet_cli.config.temporal import (
    BETWEEN,
    deadline_option,
    pace_problems,
    realtime_option,
    reuse_kind_option,
    reuse_option,
    reuse_problems,
    smooth_option,
)

_of_files = partial(option, panel=WHAT, env=False)
_of_a_video = partial(option, panel=BETWEEN, env=False)

INPUT_SCALES = (0.25, 0.5, 1.0)  # the 2017 paper's Figure 3; any others are what --scales is for

# What --temporal adds, and what is for labelled pictures alone.
_FOR_VIDEOS = ("truth", "frames", "reuse", "reuse_kind", "smooth", "deadline_s", "realtime")
_FOR_PICTURES = (
    "dataset", "predictions", "report", "regions", "region_bin", "output", "diff", "ablation", "input_scale",
)  # fmt: skip
# These may be said for all commands at once, in the environment or a config file.
_FOR_PICTURES_IF_TYPED = ("split", "ids", "skip_damaged", "branches", "scales", "flip")


@dataclass(frozen=True)
class EvalConfig(Config):
    """`icnet eval`: how well weights do on labelled pictures."""

    dataset: Path = argument(
        "DATASET", "A folder: Cityscapes, CamVid, COCO-Stuff, or images/ and labels/.", default=NOWHERE
    )
    temporal: Path | None = _of_a_video(
        None,
        "Instead of a dataset: how steady the labels of this video are, along the flow between its frames.",
        metavar="VIDEO",
    )
    truth: Path | None = _of_a_video(
        None,
        "With --temporal: the exact labels, a folder of PNGs in the frames' order or an .npz.",
        metavar="DIR",
    )
    frames: int | None = _of_a_video(None, "With --temporal: take at most this many frames.", minimum=1)
    reuse: str | None = reuse_option(env=False)
    reuse_kind: str = reuse_kind_option(env=False)
    smooth: float = smooth_option(env=False)
    deadline_s: float | None = deadline_option(env=False)
    realtime: bool = realtime_option(env=False)
    split: str = option(
        "val", "Split to measure on; of val/10, every tenth sample.", metavar="NAME", panel=WHAT
    )
    predictions: Path | None = _of_files(
        None, "Write each prediction as a label PNG into this folder.", metavar="DIR"
    )
    ids: str = ids_option()
    overwrite: bool = overwrite_option()
    skip_damaged: bool = skip_damaged_option()
    report: Path | None = _of_files(
        None,
        "Write a page of figures and pictures into this folder: one file, index.html, that needs no network.",
        metavar="DIR",
    )
    regions: bool = _of_files(
        False,
        "Also the accuracy of connected regions by their size, and how it changes from branch to branch.",
    )
    region_bin: int = _of_files(
        3000, "With --regions: pixels from one of the 40 sizes to the next.", minimum=1
    )
    output: Path | None = _of_files(
        None,
        "With --regions: folder for regions.json, regions.csv and regions.png.",
        flags=("--output", "-o"),
        metavar="DIR",
        shows="runs/eval/WEIGHTS-N",
    )
    diff: Path | None = _of_files(
        None,
        "With --branches all: write the predictions of the branches and what changes between them, as pictures.",
        metavar="DIR",
    )

    weights: str = weights_option()
    branches: str | None = option(
        None,
        "Answer from fewer branches of ICNet's cascade, or from all in turn.",
        choices=(*BRANCHES, "all"),
        panel=NETWORK,
        shows="sub124",
    )
    ablation: str | None = option(
        None,
        "Switch a part of the network off: skip, Fast-SCNN's connection from its first layers.",
        choices=("skip",),
        env=False,
        panel=NETWORK,
    )
    input_scale: float = option(
        1.0,
        "Shrink what the network sees to this part of its size.",
        choices=INPUT_SCALES,
        metavar="X",
        env=False,
        panel=NETWORK,
    )
    size: tuple[int, int] | None = size_option(
        "Size of the network's input, height x width; labels are compared at their own size.",
        shows="the weights' training size for pictures of its aspect, else what segment takes",
    )
    scales: tuple[float, ...] = option(
        (1.0,),
        "Average the predictions at these scales, with commas: 0.75,1,1.25.",
        metavar="X,...",
        above=0,
        maximum=8,
        panel=NETWORK,
    )
    flip: bool = option(False, "Average with the mirrored picture's prediction.", panel=NETWORK)
    device: str = device_option()
    precision: str = precision_option()
    backend: str = backend_option("torch")

    def _contradictions(self) -> list[str]:
        found = reuse_problems(self.reuse, self.reuse_kind) + self._temporal_problems()
        found += pace_problems(self.reuse, self.deadline_s, self.realtime)
        if self.diff is not None and self.branches != "all":
            found.append("--diff compares the branches; add --branches all")
        if self.report is not None and self.report.suffix.lower() in (".html", ".htm"):
            found.append(
                f"--report is a folder, in which the page is index.html; name it without {self.report.suffix}"
            )
        if not self.regions and (self.output is not None or self.region_bin != EvalConfig.region_bin):
            given = "-o" if self.output is not None else "--region-bin"
            found.append(f"{given} is for --regions")
        return found

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        if self.temporal is not None:
            words = "--temporal measures a video; leave out"
            return {flag: f"{words} {flag}" for flag in self.given(_FOR_PICTURES_IF_TYPED)}
        words = "is for the label PNGs of --predictions DIR"
        return {flag: f"{flag} {words}" for flag in self.given(("ids",)) if self.predictions is None}

    def _temporal_problems(self) -> list[str]:
        if self.temporal is None:
            missing = ["DATASET is missing: a folder, or --temporal VIDEO"] if self.dataset == NOWHERE else []
            return missing + [f"{flag} is for --temporal VIDEO" for flag in self.given(_FOR_VIDEOS)]
        given = self.given(_FOR_PICTURES)
        found = [f"--temporal measures a video; leave out {', '.join(given)}"] if given else []
        return found + address_problems("--temporal", self.temporal)
