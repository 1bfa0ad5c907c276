"""Truncation is never silent where the file declares its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.robust import cuts
from tests.robust.launcher import Launcher


def test_a_cut_file_is_never_silent(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = cuts.measure(tmp_path, 20, 2, 0, launcher, weights)
    figure(tally.line)
    assert tally.met, tally.line
    assert tally.files == 200
    assert tally.told > 50


def test_whole_files_of_every_kind_are_not_called_short(
    seeds: list[Path], figure: Callable[[str], None]
) -> None:
    found = {path.name: cuts.read(path) for path in seeds}
    short = sum(state != (12, False) for state in found.values())
    figure(f"{len(found)} whole files of as many kinds: {short} called short")
    assert set(found.values()) == {(12, False)}, found


def test_silence_would_be_heard(tmp_path: Path, seeds: list[Path]) -> None:
    """A transport stream declares nothing: cut, it is what this test is there to find."""
    whole = next(path for path in seeds if path.suffix == ".ts")
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole.read_bytes()[: 188 * (whole.stat().st_size // 188 // 2)])
    tally = cuts.Tally()
    cuts._judge(tally, cut, "cut.ts")
    assert not tally.met
    assert len(tally.silent) == 1
