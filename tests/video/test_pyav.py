"""What PyAV 18 and 19 tell in different ways: each test holds with both, and fails where one is taken for both."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from copying import copy
from video_clips import make_clip

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import open_video
from icnet_cli.video.attachments import attach
from icnet_cli.video.one_clock import ticks_per_frame
from icnet_cli.video.pyav import (
    chapters_of,
    open_input,
    rate_of,
    rates_of,
    rational,
    sample_aspect_of,
    size_of,
    tags_of,
    time_base_of,
)
from icnet_cli.video.source import is_still, reading

MILLI = Fraction(1, 1000)


class Rational:
    """As 19 has them, whichever is installed: two integers, falsy where they say nothing, and no Fraction."""

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator, self.denominator = numerator, denominator

    def __bool__(self) -> bool:
        return bool(self.numerator and self.denominator)


class Wide(Rational):
    """One that tells at once whoever computes with it instead of with a Fraction: 19 rounds to 32 bits there."""

    def __mul__(self, other: object) -> Any:
        raise AssertionError("computed in PyAV's own arithmetic")

    __rmul__ = __truediv__ = __rtruediv__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__


KINDS = [Fraction, Rational, Wide, *([av.AVRational] if hasattr(av, "AVRational") else [])]
UNKNOWN = [None, Fraction(0), Rational(0, 1), Rational(1, 0), Rational(-1, 0), Rational(0, 0)]
UNKNOWN += [av.AVRational(*pair) for pair in ((0, 1), (1, 0), (0, 0)) if hasattr(av, "AVRational")]


def stream(time_base: Any = MILLI, average: Any = None, guessed: Any = None, aspect: Any = None) -> Any:
    return SimpleNamespace(
        time_base=time_base, average_rate=average, guessed_rate=guessed, sample_aspect_ratio=aspect,
        frames=1, duration=None,
    )  # fmt: skip


@pytest.mark.parametrize("value", UNKNOWN)
def test_what_is_not_known_is_none(value: Any) -> None:
    assert rational(value) is None
    assert rates_of(stream(average=value, guessed=value)) == []
    assert rate_of(stream(average=value, guessed=Fraction(30))) == 30
    assert rate_of(stream(average=value, guessed=value)) is None
    assert sample_aspect_of(stream(aspect=value)) == 1
    assert ticks_per_frame(stream(average=value, guessed=value)) == 40  # 25 a second are assumed
    with pytest.raises(ValueError, match="tick"):
        time_base_of(stream(value))
    assert chapters_of(SimpleNamespace(chapters=lambda: [chapter(value), chapter(MILLI)])) == [chapter(MILLI)]


def chapter(time_base: Any) -> dict[str, Any]:
    return {"id": 1, "start": 0, "end": 500, "time_base": time_base, "metadata": {"title": "one"}}


@pytest.mark.parametrize("value", UNKNOWN)
def test_a_video_without_a_clock_is_an_input_error(value: Any) -> None:
    with pytest.raises(IcnetError) as raised, reading("a.mp4"):
        ticks_per_frame(stream(value))
    assert raised.value.code == ExitCode.INPUT


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_is_a_fraction(kind: Any) -> None:
    known = stream(kind(1, 90_000), kind(30_000, 1001), kind(30, 1), kind(4, 3))
    found = [time_base_of(known), *rates_of(known), sample_aspect_of(known)]
    assert found == [Fraction(1, 90_000), Fraction(30_000, 1001), 30, Fraction(4, 3)]
    assert {type(value) for value in found} == {Fraction}
    assert (rate_of(known), ticks_per_frame(known)) == (Fraction(30_000, 1001), 3003)
    assert is_still(stream(kind(1, 1)))
    assert not is_still(known)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_no_rational_of_pyavs_own_leaves_the_reader(tmp_path: Path, suffix: str) -> None:
    """Two of 19's are multiplied in 32 bits, and none of them can be rounded."""
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    clip = make_clip(
        tmp_path / f"in{suffix}",
        range(5),
        Fraction(1, 25),
        codec=codec,
        sar=Fraction(4, 3),
        options={"bf": "0"},
    )
    with open_video(clip) as reader:
        info = reader.info
        bases = {type(frame.time_base) for frame in reader}
        times = {type(reader.mark.packet_end), type(reader._counted.end), type(reader._clock.now)}
    assert {type(info.time_base), type(info.frame_rate), type(info.sample_aspect_ratio)} | bases | times == {
        Fraction
    }
    assert info.frame_rate == 25


def test_where_only_ffmpegs_guess_at_a_rate_is_known_it_counts(tmp_path: Path) -> None:
    """One picture, in a file that says neither a rate nor how long it is shown: its average is None, or 0/1."""
    clip, bare = make_clip(tmp_path / "in.mkv", [0], MILLI, codec="ffv1"), tmp_path / "bare.mkv"
    with av.open(str(clip)) as source, av.open(str(bare), "w") as out:
        twin = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux():
            packet.stream, packet.duration = twin, 0
            if packet.size:
                out.mux_one(packet)
    with av.open(str(bare)) as container:
        assert not container.streams.video[0].average_rate
        assert rates_of(container.streams.video[0]) == [1000]
    with open_video(bare) as reader:
        assert reader.info.frame_rate == 1000
        assert len(list(reader)) == 1


@pytest.mark.parametrize(("told", "size"), [(None, 0), (-78, 0), (0, 0), (5, 5)])
def test_the_size_of_what_is_read(told: int | None, size: int) -> None:
    assert size_of(SimpleNamespace(size=told)) == size


# Tags in another encoding ---------------------------------------------------------------------------------------------

PLAIN, LATIN, SHOWN = b"K#ln", "Köln".encode("latin-1"), "K\N{REPLACEMENT CHARACTER}ln"


def in_latin_1(path: Path) -> Path:
    """A clip whose title, whose track's and whose chapter's are no UTF-8, as old cameras and programs write them."""

    def before(out: Any) -> None:
        title = {"title": PLAIN.decode()}
        out.streams.video[0].metadata.update(title)
        out.set_chapters([{**chapter(MILLI), "metadata": title}])

    make_clip(path, range(0, 1000, 40), MILLI, metadata={"title": PLAIN.decode()}, before=before)
    data = path.read_bytes()
    assert data.count(PLAIN) == 3
    path.write_bytes(data.replace(PLAIN, LATIN))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_tags_that_are_no_utf_8_are_read_as_text(tmp_path: Path, suffix: str) -> None:
    """Such a file is read as any other; its tags are copied as UTF-8, with a mark where a letter was unreadable."""
    clip, out = in_latin_1(tmp_path / "in.mkv"), tmp_path / f"out{suffix}"
    copy(clip, out)
    assert LATIN not in out.read_bytes()
    for path in (clip, out):
        with open_input(str(path)) as container:
            tags = [tags_of(container), *(found["metadata"] for found in chapters_of(container))]
            tags += [tags_of(container.streams.video[0])] if path.suffix == ".mkv" else []
        assert [found.get("title", found.get("TITLE")) for found in tags] == [SHOWN] * len(tags)
        json.dumps(tags, ensure_ascii=False).encode()  # a lone surrogate would raise


def test_a_file_with_such_tags_takes_documents(tmp_path: Path) -> None:
    clip = in_latin_1(tmp_path / "in.mkv")
    attach(clip, {"a.json": b"{}"})
    assert LATIN not in clip.read_bytes()
    with open_input(str(clip)) as container:
        assert [found["metadata"]["title"] for found in chapters_of(container)] == [SHOWN]
        assert (tags_of(container)["title"], chapters_of(container)[0]["time_base"]) == (
            SHOWN,
            Fraction(1, 10**9),
        )


def test_a_decoder_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """Asked for its name after that, PyAV 19 ends the whole process."""
    path = make_clip(tmp_path / "a.mkv", codec="ffv1")
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes(extradata), bytes(byte ^ 0x5A for byte in extradata)))
    with (
        pytest.raises(IcnetError, match="no picture in it could be decoded") as caught,
        open_video(path) as video,
    ):
        list(video)
    assert caught.value.code == ExitCode.INPUT
