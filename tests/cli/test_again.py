"""The command that is told to go on with a run is one that does."""

from __future__ import annotations

import pytest

from icnet_cli.cli import again


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("segment a.mp4 -o b.mp4", "segment a.mp4 -o b.mp4 --resume"),
        ("segment a.mp4 -o b.mp4 --resume", "segment a.mp4 -o b.mp4 --resume"),
        ("segment -o b.mp4 -- -a.mp4", "segment -o b.mp4 --resume -- -a.mp4"),
        ("segment --resume -o b.mp4 -- -a.mp4 --", "segment --resume -o b.mp4 -- -a.mp4 --"),
        ("segment -o b -- --resume --", "segment -o b --resume -- --resume --"),
    ],
)
def test_resume_is_an_option_wherever_options_end(typed: str, told: str) -> None:
    again.remember(typed.split())
    assert again.with_resume() == f"icnet {told}"
