"""What `icnet report` can be told."""

# ruff: noqa: RUF009  (the helpers only spell out dataclasses.field and its metadata)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icnet_cli.config.fields import Config, argument, option
from icnet_cli.config.shared import WHAT, overwrite_option


@dataclass(frozen=True)
class ReportConfig(Config):
    """`icnet report`: the page of a training run, from its folder."""

    run: Path = argument("RUN", "The folder of a training run, finished, stopped or still going on.")
    output: Path | None = option(
        None,
        "Where to write the page.",
        flags=("--output", "-o"),
        metavar="FILE.html",
        env=False,
        panel=WHAT,
        shows="report.html in the run folder, made anew",
    )
    overwrite: bool = overwrite_option()

    def _contradictions(self) -> list[str]:
        if self.output is not None and self.output.suffix.lower() not in (".html", ".htm"):
            return [f"-o writes a page, .html, not {self.output.name}"]
        return []
