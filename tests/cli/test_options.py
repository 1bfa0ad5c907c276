from __future__ import annotations

from pathlib import Path

import pytest

from icnet_cli.cli import app
from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import IcnetError
from tests.cli.conftest import Icnet


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[SegmentConfig]:
    """The configs that `icnet segment` was given, instead of segmenting."""
    configs: list[SegmentConfig] = []

    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        """Stands in."""
        configs.append(config)

    monkeypatch.setitem(app.VERBS, "segment", segment)
    return configs


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "icnet.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_dataclasss_own(icnet: Icnet, seen: list[SegmentConfig]) -> None:
    assert icnet("segment", "a.mp4", "-o", "b.mp4").code == 0
    assert seen == [SegmentConfig("a.mp4", Path("b.mp4"))]


def test_options_reach_their_fields(icnet: Icnet, seen: list[SegmentConfig]) -> None:
    words = "segment a -o b.png -y --size 64x96 --start 1:00 --view color --no-audio --legend --weights w"
    assert icnet(*words.split()).code == 0
    expected = SegmentConfig(
        "a", Path("b.png"), overwrite=True, size=(64, 96), start_s=60.0, view="color", no_audio=True,
        legend=True, weights="w",
    )  # fmt: skip
    assert seen == [expected]


def test_flag_beats_environment_beats_file_beats_default(
    icnet: Icnet, seen: list[SegmentConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_config(tmp_path, "alpha: 0.1\nsegment:\n  every: 2\n  alpha: 0.2\n")
    line = ["segment", "a", "-o", "b", "-c", file]
    assert icnet("segment", "a", "-o", "b").code == 0
    assert icnet(*line).code == 0
    monkeypatch.setenv("ICNET_ALPHA", "0.3")
    assert icnet(*line).code == 0
    assert icnet(*line, "--alpha", "0.4").code == 0
    assert [config.alpha for config in seen] == [0.5, 0.2, 0.3, 0.4]
    assert [config.every for config in seen] == [1, 2, 2, 2]


def test_the_users_own_file_is_found(icnet: Icnet, seen: list[SegmentConfig], tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "icnet"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("legend: true\nno_audio: true\nsize: 64x64\n")
    icnet("segment", "a", "-o", "b")
    icnet("segment", "a", "-o", "b", "--no-legend")
    assert [config.legend for config in seen] == [True, False]
    assert seen[0].no_audio
    assert seen[0].size == (64, 64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: 3", "no such option: colour"),
        ("devise: cpu", "no such option: devise; is device meant?"),
        ("segment:\n  flip: true", "no such option: flip"),
        ("segment: 3", "must hold options"),
        ("- a\n- b", "option: value"),
        ("a: [", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("#" * (1 << 21), "larger than"),
        ("alpha: loud", "--alpha must be a number, not 'loud' (from "),
        ("alpha: 3", "--alpha must be at most 1, not 3.0 (from "),
    ],
)
def test_a_wrong_config_file_is_refused(refused, tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(2, "segment", "a", "-o", "b", "-c", write_config(tmp_path, text))


def test_a_config_file_that_is_not_there_is_refused(refused, tmp_path: Path) -> None:
    assert "no.yaml" in refused(2, "segment", "a", "-o", "b", "-c", tmp_path / "no.yaml")


def test_a_wrong_environment_variable_is_named(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICNET_SIZE", "big")
    assert "(from ICNET_SIZE)" in refused(2, "segment", "a", "-o", "b")


def test_an_output_is_not_taken_from_the_environment(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICNET_OUTPUT", "b.mp4")
    assert "--output is missing" in refused(2, "segment", "a")


def test_all_problems_are_said_at_once(refused) -> None:
    line = refused(2, "segment", "a", "--size", "12", "--alpha", "7", "--device", "gpu", "--every", "0")
    for name in ("--output", "--size", "--alpha", "--device", "--every"):
        assert name in line


@pytest.mark.parametrize(
    "words",
    [
        "segment a -o b --size 16x64",
        "segment a -o b --start 9 --end 3",
        "segment a -o b --view heat",
        "segment a -o b --precision fp64",
        "segment a -o b --device cuda:x",
        "train d --keep 0",
        "train d --keep 1.5",
        "train d --model unet",
        "train d --epochs 3 --steps 9",
        "train d --splits ,",
        "eval d --scales 0",
        "eval d --branches sub2",
        "eval d --progress loud",
    ],
)
def test_wrong_values_are_refused(refused, words: str) -> None:
    refused(2, *words.split())


def test_a_config_made_in_python_is_checked_alike() -> None:
    with pytest.raises(IcnetError, match="--alpha must be at most 1") as caught:
        SegmentConfig("a", Path("b"), alpha=2).check()
    assert caught.value.code == 2
    assert SegmentConfig("a", Path("b")).problems() == []


def test_a_config_can_be_written_down() -> None:
    document = SegmentConfig("a", Path("b"), size=(32, 64)).to_dict()
    assert document["output"] == "b"
    assert document["size"] == [32, 64]
