"""What `icnet doctor` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from icnet_cli.config.fields import Config, option
from icnet_cli.config.shared import WHAT, weights_option


@dataclass(frozen=True)
class DoctorConfig(Config):
    """`icnet doctor`: what this machine has, and whether every way of running a network agrees."""

    no_parity: bool = option(
        False, "Look only, and run no network: takes a few seconds.", env=False, panel=WHAT
    )
    weights: str = weights_option()

    def unread(self) -> dict[str, str]:
        """See `Config.unread`."""
        words = "is for the comparison that --no-parity leaves out"
        return {flag: f"{flag} {words}" for flag in self.given(("weights",)) if self.no_parity}
