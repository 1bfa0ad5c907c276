"""What `icnet bench` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.gpu import hwaccel_option
from icnet_cli.config.live import address_problems
from icnet_cli.config.shared import (
    BACKENDS,
    BRANCHES,
    MODELS,
    NETWORK,
    SCHEDULE,
    VIEWS,
    WHAT,
    device_option,
    overwrite_option,
    precision_option,
    size_option,
)
from icnet_cli.config.temporal import reuse_kind_option, reuse_problems, smooth_option

PUBLISHED_TABLES = (
    "icnet-downsampling", "icnet-compression", "icnet-ablation", "icnet-supplement", "deeplabv3", "fast-scnn",
    "fast-scnn-training", "icnet-test", "icnet-supplement-methods", "icnet-camvid", "fast-scnn-methods",
    "cityscapes-methods", "camvid-methods",
)  # fmt: skip
BENCH = "What to measure"

# What each kind of measuring passes over. --compare reads two files, and times nothing.
_UNREAD = {
    "--compare": (
        "hwaccel", "size", "model", "keep", "branches", "head", "weights", "device", "precision", "backend",
        "batch", "seconds", "quick",
    ),
    "--stages": ("hwaccel", "batch"),
    "--table": ("hwaccel",),
    "--video": ("batch",),
    "--reuse": ("batch", "hwaccel", "backend", "naive", "seconds"),
    "networks on their own": ("hwaccel",),
}  # fmt: skip

_measured = partial(option, panel=BENCH, env=False)
_of_the_network = partial(option, panel=NETWORK, env=False)


@dataclass(frozen=True)
class BenchConfig(Config):
    """`icnet bench`: how fast the networks, or the whole way from video to video, are on this machine."""

    other: Path | None = argument("B.json", "The second file of --compare.", default=None)
    table: str | None = _measured(
        None,
        "Rebuild a table of the papers: its networks timed here, its figures beside.",
        choices=PUBLISHED_TABLES,
        metavar="NAME",
    )
    stages: bool = _measured(False, "The network's time by stage, at the size and at half of it.")
    video: Path | None = _measured(
        None, "Time all of `icnet segment` on this video, stage by stage.", metavar="FILE"
    )
    compare: Path | None = _measured(
        None, "Compare two files of `icnet bench --json`: --compare A.json B.json.", metavar="A.json"
    )
    view: str = _measured("overlay", "With --video: what is shown.", choices=VIEWS)
    preset: str | None = _measured(
        None, "With --video: speed of the encoder: ultrafast ... veryslow.", metavar="NAME", shows="veryfast"
    )
    frames: int | None = _measured(None, "With --video: take at most this many frames.", minimum=1)
    hwaccel: str = hwaccel_option(BENCH)
    reuse: tuple[str, ...] | None = _measured(
        None,
        "With --video: what is gained and lost by each of these ways to reuse what the network found: 1,2,3,5,auto.",
        metavar="K,...",
    )
    reuse_kind: str = reuse_kind_option(env=False)
    smooth: float = smooth_option(env=False)
    naive: bool = _measured(False, "With --video: also the loop that a first program has, for comparison.")
    data: Path | None = _measured(
        None,
        "With --table and --weights: measure the mIoU of these weights on this dataset.",
        metavar="DIR",
    )
    split: str = _measured("val", "Split of --data.", metavar="NAME")

    size: tuple[int, int] | None = size_option(
        "Size of the network's input, height x width.",
        flags=("--size", "--resolution"),
        shows="1024x2048; with --video what segment takes",
    )
    model: str = _of_the_network("all", "Network to time.", choices=("all", *MODELS))
    keep: float | None = _of_the_network(
        None,
        "Share of the full-width network's channels.",
        above=0,
        maximum=1,
        shows="0.5 for icnet, else 1",
    )
    branches: str | None = _of_the_network(
        None, "Stop ICNet's cascade here.", choices=BRANCHES, shows="sub124"
    )
    head: str | None = _of_the_network(
        None,
        "How ICNet's head is written: as published, or the same function at less work.",
        choices=("published", "fused"),
        shows="fused",
    )
    plain: bool = _of_the_network(
        False, "Also time each network as it is written: published head, not folded, contiguous fp32."
    )
    weights: str | None = _of_the_network(
        None,
        "Time the network of these weights: a bundled name, a .safetensors or an exported file.",
        metavar="NAME|FILE",
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
        "Draw mIoU against frames a second: the papers' points and ours; with --reuse: agreement and flicker.",
        metavar="FILE.png",
        env=False,
        panel=WHAT,
    )
    overwrite: bool = overwrite_option()

    def _contradictions(self) -> list[str]:
        given = self._kinds_given()
        found = [f"{' and '.join(given)} are different things to measure; give one"] if len(given) > 1 else []
        if (self.compare is None) != (self.other is None):
            found.append("--compare needs two files: --compare A.json B.json")
        if self.naive and not self.video:
            found.append("--naive is for --video FILE")
        named = self.given(("keep", "branches", "head"))
        if self.video and self.model == "all" and self.weights is None and named:
            found.append(f"--video times one network: say with --model whose {', '.join(named)} is meant")
        if self.naive and self.weights is None and self.model != "all":
            found.append("--naive needs trained weights; name them with --weights")
        if self.backend == "all" and given and given != ["--compare"]:
            found.append("--backend all is for networks on their own")
        if self.backend not in ("auto", "torch") and (self.table or self.stages):
            found.append(f"{given[0]} times torch; leave --backend {self.backend} out")
        found += address_problems("--video", self.video)
        found += self._reuse_problems() + self._plot_problems() + self._network_problems()
        return found + self._unread(given)

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        kind = "--reuse" if self.reuse else next(iter(self._kinds_given()), "networks on their own")
        return {flag: f"{flag} is not for {kind}; leave it out" for flag in self.given(_UNREAD[kind])}

    def _kinds_given(self) -> list[str]:
        kinds = {
            "--table": self.table,
            "--stages": self.stages,
            "--video": self.video,
            "--compare": self.compare,
        }
        return [name for name, value in kinds.items() if value]

    def _unread(self, given: list[str]) -> list[str]:
        """What would be passed over in silence."""
        of_video = {"--view": self.view != "overlay", "--preset": self.preset, "--frames": self.frames}
        found = (
            [] if self.video else [f"{name} is for --video FILE" for name, told in of_video.items() if told]
        )
        if self.data is None and self.split != "val":
            found.append("--split is for --data")
        if self.plain and given:
            found.append(f"--plain is for networks on their own; leave it or {given[0]} out")
        if self.table and self.weights is not None and self.data is None:
            found.append("--table takes --weights to measure their mIoU; add --data DIR")
        return found

    def _reuse_problems(self) -> list[str]:
        found = [text for word in self.reuse or () for text in reuse_problems(word, self.reuse_kind)]
        if self.reuse is None and (self.reuse_kind != "scores" or self.smooth > 0):
            found.append("--reuse-kind and --smooth are for --video FILE --reuse K,...")
        if self.reuse is not None and self.video is None:
            found.append("--reuse is for --video FILE")
        return found

    def _plot_problems(self) -> list[str]:
        if self.plot is None:
            return []
        found, given = [], self._kinds_given()
        if self.plot.suffix.lower() != ".png":
            found.append(f"--plot writes a .png, not {self.plot.name}")
        drawn = not given or given == ["--table"] or (given == ["--video"] and self.reuse is not None)
        if not drawn:
            found.append(f"--plot has nothing to draw with {given[0]}")
        return found

    def _network_problems(self) -> list[str]:
        """What says twice which network is timed."""
        networks = {"--keep": self.keep, "--branches": self.branches, "--head": self.head}
        named = [name for name, value in networks.items() if value is not None]
        named += [] if self.model == "all" else ["--model"]
        found = []
        if self.weights is not None and not self.table and named:
            found.append(f"--weights say what the network is; leave out {', '.join(named)}")
        if self.table and named:
            found.append(
                "--table says what its networks are; leave out --model, --keep, --branches and --head"
            )
        if self.data is not None and not (self.table and self.weights):
            found.append("--data is for --table with --weights")
        return found
