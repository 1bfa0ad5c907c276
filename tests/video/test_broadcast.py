"""What broadcasters put beside the pictures, or begin amid a file: none spoils the rest; what is not read is told."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from icnet_cli.video import VideoReader, VideoWriter, open_video
from tests.video.copying import copy
from tests.video.video_clips import make_clip, number_in, packets, recording

COUNT = 20  # pictures of a recording


def both(folder: Path, first: Path, second: Path) -> Path:
    path = folder / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def read(path: Path, **options: Any) -> VideoReader:
    with open_video(path, **options) as reader:
        for _ in reader:
            pass
    return reader


def second_sound() -> dict[str, Any]:
    """For a recording: another track, with one packet of silence."""
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["second"] = out.add_stream("mp2", 48000)

    def after(out: Any) -> None:
        frame = av.AudioFrame(format="s16", layout="stereo", samples=1152)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate, frame.pts = 48000, 0
        out.mux([*state["second"].encode(frame), *state["second"].encode(None)])

    return {"before": before, "after": after}


def test_sound_of_which_nothing_is_known_is_left_out_and_the_other_kept(tmp_path: Path) -> None:
    """It was said that an mp4 cannot hold it, and that all sound should be left out."""
    first = recording(
        tmp_path / "a.ts", range(4 * COUNT)
    )  # longer than what is looked at to know its streams
    path = both(tmp_path, first, recording(tmp_path / "b.ts", range(COUNT), **second_sound()))
    writer = copy(path, tmp_path / "out.mp4")
    (line,) = writer.left_out
    assert line.startswith("audio ")
    assert line.endswith(" (stream 2) is left out: it begins so late in the file that nothing is known of it")
    assert writer.frames_written == 5 * COUNT
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [stream.type for stream in out.streams] == ["video", "audio"]
    assert len(packets(tmp_path / "out.mp4", "audio")) > len(packets(first, "audio"))


class Stumbling:
    """A container that fails as PyAV does at the end of a file in which a stream has begun that it does not know."""

    def __init__(self, container: Any) -> None:
        self._container, self.failures = container, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from self._container.demux(*streams)
        if not self.failures:
            self.failures += 1
            raise IndexError("list index out of range")


def test_a_stream_that_began_on_the_way_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recording(tmp_path / "a.ts", range(COUNT))
    opened: list[Stumbling] = []
    connect = VideoReader.connect

    def stumbling(reader: VideoReader) -> Stumbling:
        opened.append(Stumbling(connect(reader)))
        return opened[-1]

    monkeypatch.setattr(VideoReader, "connect", stumbling)
    with open_video(path) as reader:
        info = reader.info
        with VideoWriter(tmp_path / "out.mkv", reader, width=info.width, height=info.height) as writer:
            for frame in reader:
                writer.write(frame.yuv420(), pts=frame.pts, duration=frame.duration)
    assert [container.failures for container in opened] == [1, 1]  # the pictures', and the other tracks'
    assert (reader.frames_read, reader.frames_lost, writer.packets_lost) == (COUNT, 0, 0)


def declared(path: Path, kind: int, descriptors: bytes) -> Path:
    """The transport stream with its second sound (PID 0x102) declared as another kind of stream."""
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        if (data[at + 1] & 0x1F) << 8 | data[at + 2] == 0x1000 and data[at + 1] & 0x40:
            begin = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0) + 1
            section = _redeclared(bytes(data[begin : at + 188]), kind, descriptors)
            data[begin : at + 188] = section.ljust(at + 188 - begin, b"\xff")
    made = path.with_name(f"declared_{path.name}")
    made.write_bytes(data)
    return made


def _redeclared(section: bytes, kind: int, descriptors: bytes) -> bytes:
    """A program map (ISO/IEC 13818-1, 2.4.4.8) with another type and descriptors for the last of its streams."""
    end = 3 + ((section[1] & 0x0F) << 8 | section[2]) - 4
    at = last = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while at < end:
        last, at = at, at + 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    made = bytearray(section[:last] + bytes([kind]) + section[last + 1 : last + 3])
    made += struct.pack(">H", 0xF000 | len(descriptors)) + descriptors
    made[1:3] = struct.pack(">H", 0xB000 | len(made) + 4 - 3)
    return bytes(made) + struct.pack(">I", _crc(made))


def _crc(data: bytes) -> int:
    """CRC-32/MPEG-2."""
    crc = 0xFFFFFFFF
    for bit in (byte >> place & 1 for byte in data for place in range(7, -1, -1)):
        crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 ^ bit else 0)) & 0xFFFFFFFF
    return crc


TELETEXT = (6, b"\x56\x05ger\x10\x88")
ID3 = (0x15, b"\x26\x0d\xff\xffID3 \xffID3 \0\x0f")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("kind", "name"), [(TELETEXT, "subtitle unknown"), (ID3, "data timed_id3")], ids=["teletext", "id3"]
)
def test_what_no_container_here_holds_is_left_out_and_told(
    kind: tuple[int, bytes], name: str, suffix: str, tmp_path: Path
) -> None:
    """A file with teletext was taken for no video; ID3 tags were copied to an mp4 that then had none."""
    path = declared(recording(tmp_path / "a.ts", range(COUNT), **second_sound()), *kind)
    with open_video(path) as reader:
        assert name in reader.info.other_streams
    writer = copy(path, tmp_path / f"out{suffix}")
    assert writer.frames_written == COUNT
    (line,) = writer.left_out
    assert line.startswith(f"{name} (stream 2) is left out: ")
    with av.open(str(tmp_path / f"out{suffix}")) as out:
        assert [stream.type for stream in out.streams] == ["video", "audio"]


def test_how_much_of_a_file_lies_behind_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icnet_cli.video.reader._LEAST_UNREAD", 4000)
    elsewhere = {"mpegts_service_id": "7", "mpegts_pmt_start_pid": "768", "mpegts_start_pid": "528"}
    first = recording(tmp_path / "a.ts", range(COUNT))
    other = recording(tmp_path / "b.ts", range(COUNT), container_options=elsewhere)
    path = both(tmp_path, first, other)
    assert read(path).unread_share == pytest.approx(other.stat().st_size / path.stat().st_size, abs=0.1)
    assert read(path, end_s=0.4).unread_share == 0
    assert read(first).unread_share == read(both(tmp_path, first, first)).unread_share == 0
    assert read(recording(tmp_path / "a.mkv", range(COUNT))).unread_share == 0


@pytest.mark.parametrize("place", [0.5, 1.0])
def test_a_hole_in_a_recording_takes_nothing_behind_it(tmp_path: Path, place: float) -> None:
    """Or a recorder's file of fixed size. Nothing behind 0.6 MB of zeros was read, nor what the decoder still held."""
    path = recording(tmp_path / "a.ts", range(4 * COUNT))
    data = path.read_bytes()
    at = round(len(data) // 188 * place) * 188
    path.write_bytes(data[:at] + bytes(3 << 20) + data[at:])
    with open_video(path) as reader:
        numbers = [number_in(frame.rgb()) for frame in reader]
    assert numbers == list(range(4 * COUNT))
    assert reader.frames_lost == 1  # that something was there is told once
    writer = copy(path, tmp_path / "out.mp4")
    assert (writer.frames_written, writer.packets_lost <= 2) == (4 * COUNT, True)


@pytest.mark.parametrize("first", ["libx265", "mpeg2video"])
@pytest.mark.parametrize("second", ["mpeg2video", "libx265", "libx264"])
def test_pictures_of_another_codec_under_the_same_number_are_counted(
    tmp_path: Path, first: str, second: str
) -> None:
    """Some decoders take them without a word."""
    options = {
        "libx264": {"g": "10"},
        "libx265": {"x265-params": "log-level=0:keyint=10", "preset": "ultrafast"},
        "mpeg2video": {"g": "10", "b": "2000000"},
    }
    parts = [
        make_clip(tmp_path / f"{n}.ts", range(50), Fraction(1, 25), codec=codec, options=options[codec])
        for n, codec in enumerate((first, second))
    ]
    path = tmp_path / "changed.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = read(path)
    if first == second:
        assert (reader.frames_read, reader.frames_lost) == (100, 0)
    else:
        assert 45 <= reader.frames_read <= 50
        assert 30 <= reader.frames_lost <= 52
    for part in parts:
        whole = read(part)
        assert (whole.frames_read, whole.frames_lost) == (50, 0)


def test_a_last_picture_that_is_most_of_a_file_is_not_behind_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icnet_cli.video.reader._LEAST_UNREAD", 4000)
    noise = np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8)
    path = make_clip(tmp_path / "a.ts", [0], pictures=[noise], options={"qp": "1"})
    assert path.stat().st_size > 10_000
    assert read(path).unread_share == 0
