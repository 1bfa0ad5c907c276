"""The same input gives the same labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.robust import twice
from tests.robust.launcher import Launcher


def test_the_same_labels_twice(
    tmp_path: Path, launcher: Launcher, weights: Path, figure: Callable[[str], None]
) -> None:
    tally = twice.measure(tmp_path, 2, launcher, weights)
    figure(tally.line)
    assert tally.met, tally.line


def test_a_difference_would_be_seen(tmp_path: Path) -> None:
    for name, data in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(data)
    hashes = [twice.hash_of(tmp_path / name) for name in ("a", "b")]
    assert not twice.Tally(hashes).met
    assert not twice.Tally(hashes[:1]).met
