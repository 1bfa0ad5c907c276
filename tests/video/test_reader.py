"""Every frame with its own time, and every wound counted."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from video_clips import make_clip, number_in, numbers, times

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import Shortfall, open_video

TICK = Fraction(1, 90000)
VARIABLE = [0, 3003, 6006, 15000, 15100, 40000, 40091, 90000, 91000, 130000, 130900, 200000]
GAP = [n * 3003 for n in range(6)] + [900000 + n * 3003 for n in range(6)]
OFFSET = [123457 + n * 3003 for n in range(12)]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("ticks", [VARIABLE, GAP, OFFSET], ids=["variable", "gap", "offset"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_are_the_files_own(tmp_path: Path, suffix: str, ticks: list[int], b_frames: int) -> None:
    path = make_clip(tmp_path / f"clip{suffix}", ticks, TICK, b_frames=b_frames)
    read = times(path)
    assert [pts for pts, _ in read] == [t * TICK for t in ticks]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert [duration for _, duration in read[:-1]] == [s * TICK for s in steps]
    assert numbers(path) == list(range(12))


def test_a_frame_knows_its_time_and_place(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", [n * 512 for n in range(4)], last_duration=1024)
    with open_video(path) as reader:
        frames = list(reader)
        assert abs(float(reader.info.frame_rate or 0) - 20) < 6
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert [round(f.seconds, 6) for f in frames] == [0, 0.04, 0.08, 0.12]
    assert frames[-1].duration_s == pytest.approx(0.08)
    assert frames[0].key


def test_a_container_without_times_gets_rising_ones(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.h264", range(8), Fraction(1, 25))
    read = [pts for pts, _ in times(path)]
    assert read == sorted(set(read))
    assert len(read) == 8


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_range_is_half_open_and_keeps_the_sources_numbers(
    tmp_path: Path, suffix: str, b_frames: int
) -> None:
    options = {"g": "6"}
    base = TICK if suffix != ".mkv" else Fraction(1, 1000)
    ticks = [round(Fraction(n, 25) / base) for n in range(30)]
    path = make_clip(tmp_path / f"clip{suffix}", ticks, base, b_frames=b_frames, options=options)
    with open_video(path, start_s=0.4, end_s=0.8) as reader:
        assert reader.info.frames_estimated in (None, 10)
        frames = list(reader)
        assert [f.index for f in frames] == list(range(10, 20))
        assert [number_in(f.rgb()) for f in frames] == list(range(10, 20))
        assert reader.finished
        assert reader.shortfall is None


def test_a_range_counts_from_the_files_beginning(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "late.mp4", [900000 + n * 3600 for n in range(20)], TICK)
    with open_video(path, start_s=0.2) as reader:
        first = next(iter(reader))
    assert (first.index, first.pts) == (5, 900000 + 5 * 3600)


def test_ranges_without_a_frame_are_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    for options in ({"start_s": 60.0}, {"start_s": -1.0}, {"start_s": 2.0, "end_s": 1.0}, {"end_s": 0.0}):
        with pytest.raises(IcnetError) as caught:
            open_video(path, **options)
        assert caught.value.code == ExitCode.USAGE


def _read(path: Path) -> Any:
    with open_video(path) as reader:
        for frame in reader:
            frame.rgb()
    return reader


CUTTABLE = {
    ".mp4": {"movflags": "faststart"},
    ".mov": {"movflags": "faststart"},
    ".mkv": {},
    ".webm": {},
    ".avi": {},
}


def _clip(path: Path, **options: Any) -> Path:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(path.suffix, "libx264")
    speed = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else None
    return make_clip(path, range(24), Fraction(1, 25), codec=codec, options=speed, **options)


@pytest.mark.parametrize("suffix", CUTTABLE)
def test_a_cut_file_says_what_is_missing_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    whole = _clip(tmp_path / f"whole{suffix}", container_options=CUTTABLE[suffix])
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    silent, readable = [], 0
    for part in range(1, 20):
        cut.write_bytes(data[: len(data) * part // 20])
        try:
            reader = _read(cut)
        except IcnetError:
            continue
        readable += 1
        whole_frames = reader.frames_read - reader.frames_damaged
        if whole_frames < 24 and reader.shortfall is None and not reader.frames_damaged:
            silent.append((part, reader.frames_read))
    assert not silent
    assert readable >= 5


@pytest.mark.parametrize("suffix", CUTTABLE)
@pytest.mark.parametrize("audio", [None, "longer"])
def test_a_whole_file_is_never_called_short(tmp_path: Path, suffix: str, audio: str | None) -> None:
    options: dict[str, Any] = {"container_options": CUTTABLE[suffix]}
    if audio:
        options |= {"audio": "libopus" if suffix == ".webm" else "aac", "audio_seconds": 3.0}
    reader = _read(_clip(tmp_path / f"whole{suffix}", **options))
    assert (reader.frames_read, reader.frames_damaged, reader.frames_lost) == (24, 0, 0)
    assert reader.shortfall is None


@pytest.mark.parametrize(
    ("suffix", "codec", "audio", "options"),
    [
        (".flv", "libx264", "aac", {"g": "5"}),
        (".wmv", "wmv2", "mp2", {}),
        (".mxf", "mpeg2video", "pcm_s16le", {"b": "2000000"}),
    ],
)
def test_what_says_its_size_or_length_in_its_head_says_when_it_is_cut(
    tmp_path: Path, suffix: str, codec: str, audio: str, options: dict[str, str]
) -> None:
    """Whole, sound may be longer than the pictures."""
    told: dict[str, Any] = {"codec": codec, "audio": audio, "options": options}
    longer = make_clip(tmp_path / f"longer{suffix}", range(60), Fraction(1, 25), audio_seconds=6, **told)
    path = make_clip(tmp_path / f"a{suffix}", range(60), Fraction(1, 25), **told)
    for whole in (longer, path):
        with open_video(whole) as reader:
            assert sum(1 for _ in reader) == 60
        assert reader.shortfall is None
    data = path.read_bytes()
    for share in (0.3, 0.8):
        path.write_bytes(data[: int(len(data) * share)])
        with open_video(path) as reader:
            count = sum(1 for _ in reader)
        assert str(reader.shortfall).startswith("the file is truncated: the last ")
        assert reader.shortfall is not None
        assert reader.shortfall.missing_s == pytest.approx((60 - count) / 25, abs=0.1)


def test_a_live_wmv_whose_head_means_nothing_is_not_called_short(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.wmv", range(60), Fraction(1, 25), codec="wmv2")
    data = bytearray(path.read_bytes())
    properties = data.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    data[properties + 88] |= 1
    path.write_bytes(data[: len(data) // 2])
    with open_video(path) as reader:
        assert 10 < sum(1 for _ in reader) < 60
    assert reader.shortfall is None


def test_a_long_last_frame_is_no_shortfall(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "slides.mkv", [0, 40, 80, 120], Fraction(1, 1000), last_duration=5000)
    assert _read(path).shortfall is None
    assert times(path)[-1][1] == 5


def test_an_edit_list_that_hides_frames_is_no_shortfall(tmp_path: Path) -> None:
    # Written by hand as `-ss` with a copied stream does: frames before the edit are decoded and not shown.
    whole = make_clip(tmp_path / "whole.mp4", range(24), Fraction(1, 25), options={"g": "24"})
    trimmed = tmp_path / "trimmed.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(str(trimmed), "w", container_options={"movie_timescale": "12800"}) as out,
    ):
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
                packet.stream = copy
                out.mux(packet)
    reader = _read(trimmed)
    assert reader.frames_read == 19
    assert reader.shortfall is None


def test_a_hole_in_the_middle_is_counted_and_the_rest_read(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "hole.mp4", range(24), Fraction(1, 25), container_options={"movflags": "faststart"}
    )
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        middle = [p.pos for p in container.demux(video=0) if p.size][10]
    data[middle : middle + 60] = bytes(60)
    path.write_bytes(data)
    reader = _read(path)
    assert reader.frames_damaged + reader.frames_lost > 0
    assert reader.frames_read >= 20
    assert _read(make_clip(tmp_path / "sound.mp4")).frames_damaged == 0


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ((0.04, 0.4), "the last 40 ms of 400 ms are not in it"),
        ((0.04, 12.0, 1), "the last 40 ms (1 frame) of 12.0 s are not in it"),
        ((2.0, 12.0, 50), "the last 2.0 s (50 frames) of 12.0 s are not in it"),
        ((None, 0.6), "it ends amid one of its fragments, and how much is missing cannot be told"),
    ],
)
def test_little_that_is_missing_is_no_nothing(missing: tuple[Any, ...], words: str) -> None:
    assert str(Shortfall(*missing)) == f"the file is truncated: {words}"


def _boxes(data: bytes) -> list[int]:
    """Where each of an mp4's outermost boxes begins, and where the last one ends."""
    found = [0]
    while found[-1] < len(data):
        found.append(found[-1] + int.from_bytes(data[found[-1] : found[-1] + 4], "big"))
    return found


def test_a_fragmented_mp4_that_is_cut_in_a_box_says_so(tmp_path: Path) -> None:
    told = {"movflags": "frag_keyframe+empty_moov"}
    ticks, path = range(24), tmp_path / "whole.mp4"
    whole = make_clip(path, ticks, Fraction(1, 25), container_options=told, options={"g": "6"})
    assert _read(whole).shortfall is None
    data, edges = whole.read_bytes(), _boxes(whole.read_bytes())
    cut = tmp_path / "cut.mp4"
    silent, step = [], (len(data) - edges[4]) // 25
    for at in [*range(edges[4] + 3, len(data), step), *edges[4:]]:
        cut.write_bytes(data[:at])
        if _read(cut).shortfall is None:
            silent.append(at)
    # Behind a whole fragment it is a whole file that is shorter; the index at the end (mfra) is nobody's duty.
    assert set(silent) <= set(edges)
    assert edges[4] in silent


def test_the_shortfall_reads_as_a_sentence(tmp_path: Path) -> None:
    path = _clip(tmp_path / "clip.mp4", container_options=CUTTABLE[".mp4"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert "truncated" in str(_read(path).shortfall)


def test_a_size_that_changes_on_the_way_keeps_the_first(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "small.ts", range(6), Fraction(1, 25), size=(64, 32))
    large = make_clip(tmp_path / "large.ts", range(6), Fraction(1, 25))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(large.read_bytes() + small.read_bytes())
    with open_video(joined) as reader:
        shapes = {frame.rgb().shape for frame in reader}
    assert shapes == {(64, 128, 3)}
    assert reader.frames_read > 8


def test_an_animated_avif_is_its_track_and_not_the_picture_before_it(tmp_path: Path) -> None:
    told = {"codec": "libsvtav1", "options": {"preset": "12"}, "muxer": "avif"}
    path = make_clip(tmp_path / "a.avif", range(10), Fraction(1, 25), **told)
    with open_video(path) as reader:
        assert reader.info.stream_index == 1
        assert [number_in(frame.rgb()) for frame in reader] == list(range(10))
    assert reader.shortfall is None
    still = make_clip(tmp_path / "b.avif", range(1), Fraction(1, 25), **told)
    with open_video(still) as reader:
        assert sum(1 for _ in reader) == 1


def test_a_range_of_a_stream_that_cannot_be_sought(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.h264", range(30), Fraction(1, 25))
    with open_video(path, start_s=0.4) as reader:
        read = [number_in(f.rgb()) for f in reader]
    assert read[-1] == 29
    assert read == list(range(read[0], 30))


CLOSED = """
import sys, threading
from icnet_cli.errors import IcnetError
from icnet_cli.video import open_video

reader = open_video(sys.argv[1])
frames = iter(reader)
kept = next(frames)
thread = threading.Thread(target=reader.close)
thread.start()
thread.join()
reader.close()
try:
    list(frames)
except IcnetError as error:
    print(f"{int(error.code)} {error} {kept.rgb().shape}", file=sys.stderr)
try:
    list(reader)
except IcnetError as error:
    sys.exit(f"again {error}")
"""


def test_reading_on_after_closing_is_refused(tmp_path: Path) -> None:
    """In a process of its own, which FFmpeg would take with it."""
    path = make_clip(tmp_path / "clip.mp4", range(0, 40000, 512))
    command = [sys.executable, "-c", CLOSED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = f"{path} was closed before its end; open it again to read on"
    first, second = done.stderr.splitlines()
    assert first.startswith(f"2 {told} (")
    assert second == f"again {told}"  # and not taken for a file that is read to its end


def test_a_reader_that_was_closed_can_begin_again(tmp_path: Path) -> None:
    reader = open_video(make_clip(tmp_path / "clip.mp4", range(0, 40000, 512)))
    whole = [frame.pts for frame in reader]
    reader.close()
    reader.restart()
    with reader:
        assert [frame.pts for frame in reader] == whole


def test_closing_waits_for_the_packet_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_video(make_clip(tmp_path / "clip.mp4", range(0, 40000, 512)))
    inside, go_on = threading.Event(), threading.Event()

    def packets(*_: object) -> Any:
        inside.set()
        go_on.wait(20)
        yield from ()

    monkeypatch.setattr("icnet_cli.video.decoding.packets_of", packets)
    reading = threading.Thread(target=lambda: next(reader._packets(), None))
    closing = threading.Thread(target=reader.close)
    reading.start()
    assert inside.wait(20)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    go_on.set()
    closing.join(20)
    reading.join(20)
    assert not closing.is_alive()
