from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from icnet_cli.cli import values
from icnet_cli.config import COMMANDS, EvalConfig, SegmentConfig


@pytest.mark.parametrize(
    ("text", "size"), [("512x1024", (512, 1024)), ("32X64", (32, 64)), (" 7×9 ", (7, 9))]
)
def test_a_size_is_height_times_width(text: str, size: tuple[int, int]) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize("text", ["512", "512x", "x512", "-3x4", "axb", "1x2x3", "", "512.5x3", "9999999x3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HEIGHTxWIDTH"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("0", 0),
        ("45s", 45),
        ("90m", 5400),
        ("2h30m", 9000),
        ("1:02", 62),
        ("1:01:02.5", 3662.5),
    ],
)
def test_a_time_is_seconds_units_or_a_clock(text: str, seconds: float) -> None:
    assert values.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1:2:3:4", "5d", "nan", "inf", "1m2h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time"):
        values.parse_seconds(text)


def item(kind: type, name: str) -> dataclasses.Field:
    return next(field for field in dataclasses.fields(kind) if field.name == name)


@pytest.mark.parametrize(
    ("kind", "name", "text", "value"),
    [
        (SegmentConfig, "alpha", "0.25", 0.25),
        (SegmentConfig, "frames", "7", 7),
        (SegmentConfig, "legend", "Yes", True),
        (SegmentConfig, "legend", "off", False),
        (SegmentConfig, "output", "a/b.mp4", Path("a/b.mp4")),
        (EvalConfig, "scales", "0.5, 1,2", (0.5, 1.0, 2.0)),
    ],
)
def test_a_field_is_parsed_by_its_type(kind: type, name: str, text: str, value: object) -> None:
    assert values.parse(item(kind, name), text) == value


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (SegmentConfig, "alpha", "nan"),
        (SegmentConfig, "alpha", "inf"),
        (SegmentConfig, "frames", "1.5"),
        (SegmentConfig, "legend", "perhaps"),
        (SegmentConfig, "output", " "),
        (EvalConfig, "scales", "1,x"),
    ],
)
def test_what_does_not_fit_a_field_is_refused(kind: type, name: str, text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        values.parse(item(kind, name), text)


@pytest.mark.parametrize("kind", dict.fromkeys(COMMANDS.values()), ids=lambda kind: kind.__name__)
def test_every_field_can_be_an_option(kind: type) -> None:
    for field in dataclasses.fields(kind):
        assert values.help_of(field)
        if values.type_of(field) != "bool":
            assert values.metavar_of(field)
            assert values.type_of(field) in values.PARSERS
