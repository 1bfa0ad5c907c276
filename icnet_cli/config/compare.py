"""What `icnet compare` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.shared import (
    STDOUT,
    WHAT,
    backend_option,
    device_option,
    overwrite_option,
    precision_option,
    size_option,
    skip_damaged_option,
)


@dataclass(frozen=True)
class CompareConfig(Config):
    """`icnet compare`: two weights on the same frames."""

    a: str = argument(
        "A",
        "Weights: a bundled name, a .safetensors file, or an exported .onnx or .xml.",
        completes="weights",
    )
    b: str = argument("B", "The weights to compare them with, of the same classes.", completes="weights")
    source: str = argument(
        "VIDEO|DATASET", "A video, a folder of images, or a dataset, whose truth then says which is right."
    )
    output: Path | None = option(
        None,
        "Write a video of both with a moving border (.mp4 .mkv .mov .webm), or a page (a folder, or a .html file).",
        flags=("--output", "-o"),
        metavar="OUT",
        env=False,
        panel=WHAT,
        shows="the figures only",
    )
    overwrite: bool = overwrite_option()
    split: str | None = option(
        None, "Of a dataset: split to compare on.", metavar="NAME", env=False, panel=WHAT, shows="val"
    )
    skip_damaged: bool = skip_damaged_option()
    start_s: float | None = option(
        None,
        "Of a video: begin here: seconds, or [h:]m:s.",
        flags=("--start",),
        kind="time",
        minimum=0,
        env=False,
        panel=WHAT,
    )
    end_s: float | None = option(
        None,
        "Of a video: end here: seconds, or [h:]m:s.",
        flags=("--end",),
        kind="time",
        above=0,
        env=False,
        panel=WHAT,
    )
    frames: int | None = option(
        None, "Compare on at most this many frames or pictures.", minimum=1, env=False, panel=WHAT
    )

    size: tuple[int, int] | None = size_option(
        "Size of both networks' input, height x width.",
        shows="what segment takes on a video, what eval takes on a dataset",
    )
    device: str = device_option()
    precision: str = precision_option()
    backend: str = backend_option("torch")

    def _contradictions(self) -> list[str]:
        found = []
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            found.append(f"--end {self.end_s:g} s is not after --start {self.start_s:g} s")
        if STDOUT in (self.source, str(self.output)):
            found.append("compare reads and writes files, not - ")
        return found
