"""What `icnet eval` and `icnet bench` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from icnet_cli.config.fields import Config, argument, flag_of, option
from icnet_cli.config.gpu import hwaccel_option
from icnet_cli.config.live import NOWHERE
from icnet_cli.config.shared import (
    BACKENDS,
    BRANCHES,
    MODELS,
    NETWORK,
    SCHEDULE,
    VIEWS,
    WHAT,
    backend_option,
    device_option,
    ids_option,
    overwrite_option,
    precision_option,
    skip_damaged_option,
    weights_option,
)
from icnet_cli.config.temporal import (
    BETWEEN,
    reuse_kind_option,
    reuse_option,
    reuse_problems,
    smooth_option,
)


@dataclass(frozen=True)
class EvalConfig(Config):
    """`icnet eval`: how well weights do on labelled pictures."""

    dataset: Path = argument(
        "DATASET", "A folder: Cityscapes, CamVid, COCO-Stuff, or images/ and labels/.", default=NOWHERE
    )
    temporal: Path | None = option(
        None,
        "Instead of a dataset: how steady the labels of this video are, along the flow between its frames.",
        metavar="VIDEO",
        env=False,
        panel=BETWEEN,
    )
    truth: Path | None = option(
        None,
        "With --temporal: the exact labels, a folder of PNGs in the frames' order or an .npz.",
        metavar="DIR",
        env=False,
        panel=BETWEEN,
    )
    frames: int | None = option(
        None, "With --temporal: take at most this many frames.", minimum=1, env=False, panel=BETWEEN
    )
    reuse: str | None = reuse_option(env=False)
    reuse_kind: str = reuse_kind_option(env=False)
    smooth: float = smooth_option(env=False)
    split: str = option("val", "Split to measure on.", metavar="NAME", panel=WHAT)
    predictions: Path | None = option(
        None, "Write each prediction as a label PNG into this folder.", metavar="DIR", env=False, panel=WHAT
    )
    ids: str = ids_option()
    overwrite: bool = overwrite_option()
    skip_damaged: bool = skip_damaged_option()
    report: Path | None = option(
        None,
        "Write a page of figures and pictures into this folder: one file, index.html, that needs no network.",
        metavar="DIR",
        env=False,
        panel=WHAT,
    )
    regions: bool = option(
        False,
        "Also the accuracy of connected regions by their size, and how it changes from branch to branch.",
        env=False,
        panel=WHAT,
    )
    region_bin: int = option(
        3000, "With --regions: pixels from one of the 40 sizes to the next.", minimum=1, env=False, panel=WHAT
    )
    output: Path | None = option(
        None,
        "With --regions: folder for regions.json, regions.csv and regions.png.",
        flags=("--output", "-o"),
        metavar="DIR",
        env=False,
        panel=WHAT,
        shows="runs/eval/WEIGHTS-N",
    )
    diff: Path | None = option(
        None,
        "With --branches all: write the predictions of the branches and what changes between them, as pictures.",
        metavar="DIR",
        env=False,
        panel=WHAT,
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
        "Shrink what the network sees to this part of its size: 0.25 or 0.5.",
        above=0,
        maximum=1,
        env=False,
        panel=NETWORK,
    )
    size: tuple[int, int] | None = option(
        None,
        "Size of the network's input, height x width; labels are compared at their own size.",
        minimum=32,
        maximum=16384,
        panel=NETWORK,
        shows="the weights' training size",
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
        if self.diff is not None and self.branches != "all":
            found.append("--diff compares the branches; add --branches all")
        if not self.regions and (self.output is not None or self.region_bin != EvalConfig.region_bin):
            given = "-o" if self.output is not None else "--region-bin"
            found.append(f"{given} is for --regions")
        return found

    def _temporal_problems(self) -> list[str]:
        def given(*names: str) -> list[str]:
            defaults = {item.name: item.default for item in fields(self)}
            return [flag_of(item) for item in fields(self) if item.name in names
                    and getattr(self, item.name) != defaults[item.name]]  # fmt: skip

        if self.temporal is None:
            missing = ["DATASET is missing: a folder, or --temporal VIDEO"] if self.dataset == NOWHERE else []
            return missing + [
                f"{flag} is for --temporal VIDEO"
                for flag in given("truth", "frames", "reuse", "reuse_kind", "smooth")
            ]
        of_pictures = given(
            "dataset", "split", "predictions", "ids", "skip_damaged", "report", "regions", "region_bin", "output",
            "diff", "branches", "ablation", "input_scale", "scales", "flip",
        )  # fmt: skip
        return [f"--temporal measures a video; leave out {', '.join(of_pictures)}"] if of_pictures else []


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
        None,
        "Rebuild a table of the papers: its networks timed here, its figures beside.",
        env=False,
        choices=PUBLISHED_TABLES,
        metavar="NAME",
        panel=BENCH,
    )
    stages: bool = option(
        False, "The network's time by stage, at the size and at half of it.", env=False, panel=BENCH
    )
    video: Path | None = option(
        None,
        "Time all of `icnet segment` on this video, stage by stage.",
        metavar="FILE",
        env=False,
        panel=BENCH,
    )
    compare: Path | None = option(
        None,
        "Compare two files of `icnet bench --json`: --compare A.json B.json.",
        metavar="A.json",
        env=False,
        panel=BENCH,
    )
    view: str = option("overlay", "With --video: what is shown.", choices=VIEWS, env=False, panel=BENCH)
    preset: str | None = option(
        None,
        "With --video: speed of the encoder: ultrafast ... veryslow.",
        metavar="NAME",
        env=False,
        panel=BENCH,
        shows="veryfast",
    )
    frames: int | None = option(
        None, "With --video: take at most this many frames.", minimum=1, env=False, panel=BENCH
    )
    hwaccel: str = hwaccel_option(BENCH)
    reuse: tuple[str, ...] | None = option(
        None,
        "With --video: what is gained and lost by each of these ways to reuse what the network found: 1,2,3,5,auto.",
        metavar="K,...",
        env=False,
        panel=BENCH,
    )
    reuse_kind: str = reuse_kind_option(env=False)
    smooth: float = smooth_option(env=False)
    naive: bool = option(
        False,
        "With --video: also the loop that a first program has, for comparison.",
        env=False,
        panel=BENCH,
    )
    data: Path | None = option(
        None,
        "With --table and --weights: measure the mIoU of these weights on this dataset.",
        metavar="DIR",
        env=False,
        panel=BENCH,
    )
    split: str = option("val", "Split of --data.", metavar="NAME", env=False, panel=BENCH)

    size: tuple[int, int] | None = option(
        None,
        "Size of the network's input, height x width.",
        flags=("--size", "--resolution"),
        minimum=32,
        maximum=16384,
        panel=NETWORK,
        shows="1024x2048; with --video what segment takes",
    )
    model: str = option("all", "Network to time.", choices=("all", *MODELS), env=False, panel=NETWORK)
    keep: float | None = option(
        None,
        "Share of the full-width network's channels.",
        above=0,
        maximum=1,
        env=False,
        panel=NETWORK,
        shows="0.5 for icnet, else 1",
    )
    branches: str | None = option(
        None, "Stop ICNet's cascade here.", choices=BRANCHES, env=False, panel=NETWORK, shows="sub124"
    )
    head: str | None = option(
        None,
        "How ICNet's head is written: as published, or the same function at less work.",
        choices=("published", "fused"),
        env=False,
        panel=NETWORK,
        shows="fused",
    )
    plain: bool = option(
        False,
        "Also time each network as it is written: published head, not folded, contiguous fp32.",
        env=False,
        panel=NETWORK,
    )
    weights: str | None = option(
        None,
        "Time the network of these weights: a bundled name, a .safetensors or an exported file.",
        metavar="NAME|FILE",
        env=False,
        panel=NETWORK,
        completes="weights",
        shows="bundled ones where they fit, else random",
    )
    device: str = device_option()
    precision: str = precision_option()
    backend: str = option(
        "auto",
        "What runs the network; all times each that is installed. auto: torch; with --video what segment takes.",
        choices=(*BACKENDS, "all"),
        panel=NETWORK,
    )

    batch: int = option(1, "Pictures in one run of the network.", minimum=1, maximum=1024, panel=SCHEDULE)
    seconds: float = option(
        20.0, "Each row ends after this time, with at least 3 timed runs.", above=0, env=False, panel=SCHEDULE
    )
    quick: bool = option(
        False, "3 runs to warm up and 10 timed ones, instead of 100 and 100.", env=False, panel=SCHEDULE
    )

    markdown: bool = option(False, "Print the table as Markdown.", env=False, panel=WHAT)
    plot: Path | None = option(
        None,
        "Draw mIoU against frames a second: the papers' points and ours.",
        metavar="FILE.png",
        env=False,
        panel=WHAT,
    )
    overwrite: bool = overwrite_option()

    def _contradictions(self) -> list[str]:
        kinds = {
            "--table": self.table,
            "--stages": self.stages,
            "--video": self.video,
            "--compare": self.compare,
        }
        given = [name for name, value in kinds.items() if value]
        found = [f"{' and '.join(given)} are different things to measure; give one"] if len(given) > 1 else []
        if (self.compare is None) != (self.other is None):
            found.append("--compare needs two files: --compare A.json B.json")
        if self.naive and not self.video:
            found.append("--naive is for --video FILE")
        if self.naive and self.weights is None and self.model != "all":
            found.append("--naive needs trained weights; name them with --weights")
        if self.backend == "all" and given and given != ["--compare"]:
            found.append("--backend all is for networks on their own")
        if self.backend not in ("auto", "torch") and (self.table or self.stages):
            found.append(f"{given[0]} times torch; leave --backend {self.backend} out")
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            found.append(f"--plot writes a .png, not {self.plot.name}")
        for word in self.reuse or ():
            found += reuse_problems(word, self.reuse_kind)
        loose = self.reuse_kind != "scores" or self.smooth > 0
        if self.reuse is None and loose:
            found.append("--reuse-kind and --smooth are for --video FILE --reuse K,...")
        if self.reuse is not None and self.video is None:
            found.append("--reuse is for --video FILE")
        drawn = given == ["--table"] or (given == ["--video"] and self.reuse is not None)
        if self.plot is not None and given and not drawn:
            found.append(f"--plot has nothing to draw with {given[0]}")
        networks = {"--keep": self.keep, "--branches": self.branches, "--head": self.head}
        named = [name for name, value in networks.items() if value is not None]
        if self.weights is not None and not self.table:
            named += [] if self.model == "all" else ["--model"]
            if named:
                found.append(f"--weights say what the network is; leave out {', '.join(named)}")
        if self.table and (named or self.model != "all"):
            found.append(
                "--table says what its networks are; leave out --model, --keep, --branches and --head"
            )
        if self.data is not None and not (self.table and self.weights):
            found.append("--data is for --table with --weights")
        return found
