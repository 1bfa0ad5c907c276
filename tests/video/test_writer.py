"""The pictures are ours, everything else is the source's: each frame at its time, upright, in its colours."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from copying import PATTERNS, TICK, VARIABLE, copy, refusal
from video_clips import TS_STEP, corner_colours, make_clip, number_in, numbers, picture, times

from icnet_cli.errors import ExitCode
from icnet_cli.video import VideoWriter, open_video
from icnet_cli.video.containers import check_output
from icnet_cli.video.encoding import Encoding
from icnet_cli.video.structure import ebml_number


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    ("source", "target"),
    [(".mp4", ".mp4"), (".mp4", ".mov"), (".mov", ".mp4"), (".mkv", ".mkv"), (".mkv", ".mp4")],
)
def test_every_frame_keeps_its_time_exactly(
    tmp_path: Path, source: str, target: str, pattern: str, b_frames: int
) -> None:
    ticks, base = PATTERNS[pattern], TICK
    if source == ".mkv":
        ticks, base = [t // 90 for t in ticks], Fraction(1, 1000)
    path = make_clip(tmp_path / f"in{source}", ticks, base, b_frames=b_frames, last_duration=ticks[1] * 3)
    copy(path, tmp_path / f"out{target}")
    assert times(tmp_path / f"out{target}") == times(path)
    assert numbers(tmp_path / f"out{target}") == list(range(12))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("target", [".mkv", ".webm"])
def test_milliseconds_are_off_by_half_of_one_at_most(tmp_path: Path, target: str, pattern: str) -> None:
    path = make_clip(tmp_path / "in.mp4", PATTERNS[pattern], TICK, b_frames=2, audio="libopus")
    copy(path, tmp_path / f"out{target}")
    pairs = list(zip(times(path), times(tmp_path / f"out{target}"), strict=True))
    worst = max(abs(a[0] - b[0]) for a, b in pairs)
    assert worst <= Fraction(1, 2000)


def test_a_frame_rate_whose_tick_is_no_whole_fraction_of_a_second(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "in.avi", range(12), Fraction(1001, 30000), codec="mpeg4", rate=Fraction(30000, 1001)
    )
    copy(path, tmp_path / "out.mp4")
    assert [t for t, _ in times(tmp_path / "out.mp4")] == [t for t, _ in times(path)]


@pytest.mark.parametrize("codec", ["hevc", "vp9", "av1", "ffv1"])
def test_every_codec_keeps_times_and_pictures(
    tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_clip(tmp_path / "in.mkv", [t // 90 for t in VARIABLE], Fraction(1, 1000))
    capfd.readouterr()
    copy(path, tmp_path / "out.mkv", codec=codec)
    assert capfd.readouterr().err == ""
    assert [t for t, _ in times(tmp_path / "out.mkv")] == [t for t, _ in times(path)]
    assert numbers(tmp_path / "out.mkv") == list(range(12))


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_pictures_are_all_there(tmp_path: Path, codec: str, count: int) -> None:
    """x265 gives two pictures no time to be decoded at: the muxer refused both, and the file had sound alone."""
    path = make_clip(tmp_path / "in.mp4", [n * 3600 for n in range(count)], TICK, audio="aac")
    writer = copy(path, tmp_path / "out.mp4", codec=codec)
    assert writer.packets_lost == 0
    assert times(tmp_path / "out.mp4") == times(path)


def test_a_range_begins_at_zero(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "in.mp4", [n * 3600 for n in range(30)], TICK, options={"g": "7"}, audio="aac"
    )
    copy(path, tmp_path / "out.mp4", start_s=0.4, end_s=0.8)
    assert numbers(tmp_path / "out.mp4") == list(range(10, 20))
    assert [t for t, _ in times(tmp_path / "out.mp4")] == [Fraction(n, 25) for n in range(10)]
    with av.open(str(tmp_path / "out.mp4")) as out:
        sound = [p.pts * p.time_base for p in out.demux(audio=0) if p.size]
    assert 0 <= sound[0] < 0.03
    assert 0.36 < sound[-1] < 0.4


def test_a_range_whose_pictures_come_late_keeps_the_sound_before_them(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "in.mp4", [90000 + n * 3600 for n in range(10)], TICK, audio="aac", audio_seconds=1.4
    )
    for start, first in ((0.5, Fraction(1, 2)), (1.2, Fraction(0))):
        out = tmp_path / f"{start}.mp4"
        copy(path, out, start_s=start)
        assert times(out)[0][0] == first
        with av.open(str(out)) as container:
            sound = [p.pts * p.time_base for p in container.demux(audio=0) if p.size]
        assert 0 <= sound[0] < 0.03
        assert sound[-1] + Fraction(1024, 48000) == pytest.approx(1.4 - start, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_before_zero_are_shown(tmp_path: Path, suffix: str) -> None:
    """A transport stream whose clock wraps in its first minute is read as one that begins before zero."""
    path = make_clip(
        tmp_path / "in.ts", [n * TS_STEP for n in range(60)], TICK, audio="aac",
        container_options={"output_ts_offset": "95442.4"},
    )  # fmt: skip
    before, out = times(path), tmp_path / f"out{suffix}"
    assert before[0][0] < -1 < 0 < before[-1][0]
    copy(path, out)
    after = times(out)
    assert numbers(out) == list(range(60))
    with av.open(str(path)) as a, av.open(str(out)) as b:
        heard, copied = ([p.pts * p.time_base for p in c.demux(audio=0) if p.size] for c in (a, b))
    assert len(heard) == len(copied)
    moved = after[0][0] - before[0][0]
    assert min(after[0][0], copied[0]) == pytest.approx(0, abs=0.001)
    for old, new in (
        *zip(heard, copied, strict=True),
        *((x[0], y[0]) for x, y in zip(before, after, strict=True)),
    ):
        assert new - old == pytest.approx(moved, abs=0.002)
    copy(path, tmp_path / f"range{suffix}", start_s=1.0)
    assert numbers(tmp_path / f"range{suffix}")[0] in (24, 25)  # seconds count from where the stream begins


def test_frames_in_any_time_base_without_a_source(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", width=128, height=64, frame_rate=Fraction(30)) as writer:
        for n in range(5):
            writer.write(picture(n), pts=n, time_base=Fraction(1, 30), duration=1)
    assert [t for t, _ in times(tmp_path / "out.mp4")] == [Fraction(n, 30) for n in range(5)]
    assert numbers(tmp_path / "out.mp4") == list(range(5))


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_output_stands_upright_without_a_flag(tmp_path: Path, degrees: int, rgb: bool) -> None:
    stored = np.ascontiguousarray(np.rot90(picture(9), -degrees // 90))
    size = stored.shape[1], stored.shape[0]
    path = make_clip(
        tmp_path / "in.mp4", range(3), Fraction(1, 25), size=size, rotation=degrees, pictures=[stored] * 3,
        sar=Fraction(4, 3),
    )  # fmt: skip
    copy(path, tmp_path / "out.mp4", rgb=rgb)
    with av.open(str(tmp_path / "out.mp4")) as plain:  # as a player that knows nothing of flags shows it
        frame = next(plain.decode(video=0))
        assert frame.rotation == 0
        assert corner_colours(frame.to_ndarray(format="rgb24")) == ("red", "green")
        expected = Fraction(3, 4) if degrees in (90, 270) else Fraction(4, 3)
        assert plain.streams.video[0].sample_aspect_ratio == expected


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.mp4", "h264"), ("out.mov", "h264"), ("out.mkv", "h264"), ("out.mkv", "hevc"), ("out.mkv", "ffv1"),
     ("out.mkv", "vp9"), ("out.mkv", "av1"), ("out.mp4", "vp9"), ("out.mp4", "ffv1"), ("out.webm", "vp9")],
)  # fmt: skip
@pytest.mark.parametrize("sar", [Fraction(4, 3), Fraction(1)])
def test_the_shape_of_samples_is_kept_or_said_to_be_lost(
    tmp_path: Path, name: str, codec: str, sar: Fraction
) -> None:
    path = make_clip(tmp_path / "in.mp4", range(3), Fraction(1, 25), sar=sar)
    writer = copy(path, tmp_path / name, codec=codec)
    with open_video(tmp_path / name) as reader:
        slack = Fraction(1, 2 * reader.info.width) if name == "out.mkv" else 0  # it counts whole columns
        kept = abs(reader.info.sample_aspect_ratio - sar) <= slack
        assert len(list(reader)) == 3
    assert kept == (name != "out.webm" or sar == 1)
    assert (writer.notes == ()) == kept
    data = (tmp_path / name).read_bytes()
    assert bytes.fromhex("53b88100") not in data  # the room that was made for it is used
    at = data.rfind(bytes.fromhex("1654ae6b"), 0, 4096)
    if name.endswith(".mkv"):
        size, begin = ebml_number(data, at + 4, keep_marker=False)
        assert size is not None
        assert data[begin : begin + 2] == bytes.fromhex("bf84")
        stored = int.from_bytes(data[begin + 2 : begin + 6], "little")
        assert stored == zlib.crc32(data[begin + 6 : begin + size])


@pytest.mark.parametrize("what", ["stereo", "too wide"])
def test_a_shape_that_finds_no_room_is_said_to_be_lost(tmp_path: Path, what: str) -> None:
    """A stereo mode of the source's own takes the room; 640 columns 120 times as wide are more than two bytes say."""
    sar = Fraction(4, 3) if what == "stereo" else Fraction(120)
    path = make_clip(tmp_path / "in.mp4", range(3), Fraction(1, 25), sar=sar, size=(640, 256))
    if what == "stereo":
        path = with_stereo_mode(path, tmp_path / "stereo.mkv")
    writer = copy(path, tmp_path / "out.mkv", codec="ffv1")
    with open_video(tmp_path / "out.mkv") as reader:
        assert reader.info.sample_aspect_ratio != sar
        assert len(list(reader)) == 3
    (said,) = writer.notes
    assert said == f"out.mkv: its samples are {sar} as wide as high, which this .mkv file cannot say"


def with_stereo_mode(source: Path, target: Path) -> Path:
    with av.open(str(source)) as read, av.open(str(target), "w") as out:
        track = read.streams.video[0]
        copied = out.add_stream_from_template(track)
        copied.metadata["stereo_mode"] = "anaglyph_cyan_red"
        for packet in read.demux(track):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    return target


@pytest.mark.parametrize(("matrix", "range_"), [(1, 1), (1, 2), (6, 1), (9, 1)])
@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colours_and_their_tags_survive(
    tmp_path: Path, suffix: str, matrix: int, range_: int, rgb: bool
) -> None:
    path = make_clip(
        tmp_path / f"in{suffix}", range(3), Fraction(1, 25), tags=(matrix, matrix, matrix, range_)
    )
    copy(path, tmp_path / f"out{suffix}", crf=5, rgb=rgb)
    with open_video(path) as a, open_video(tmp_path / f"out{suffix}") as b:
        assert a.info.colour == b.info.colour
        before, after = next(iter(a)).rgb(), next(iter(b)).rgb()
    assert np.abs(before.astype(int) - after)[4:14, 4:24].max() <= 6


@pytest.mark.parametrize(("matrix", "range_"), [(1, 1), (1, 2), (6, 2), (9, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_ffv1_keeps_matrix_and_range_without_primaries(
    tmp_path: Path, suffix: str, matrix: int, range_: int
) -> None:
    """An mp4 says them only beside primaries and transfer: without those here, its samples were read otherwise."""
    path = make_clip(tmp_path / "in.mp4", range(2), Fraction(1, 25), tags=(2, 2, matrix, range_))
    copy(path, tmp_path / f"out{suffix}", codec="ffv1")
    with open_video(path) as a, open_video(tmp_path / f"out{suffix}") as b:
        told = a.info.colour
        assert (told.matrix, told.full_range, told.primaries) == (matrix, range_ == 2, 2)
        assert (b.info.colour.matrix, b.info.colour.full_range) == (matrix, range_ == 2)
        assert not b.info.colour.matrix_assumed
        assert np.array_equal(next(iter(a)).rgb(), next(iter(b)).rgb())


def test_an_untagged_source_gets_the_matrix_it_was_read_with(tmp_path: Path) -> None:
    """A turned 960x540 video is 960 lines tall; without a tag players would guess another matrix than was used."""
    path = make_clip(tmp_path / "in.mp4", range(2), Fraction(1, 25), size=(960, 540), rotation=90)
    copy(path, tmp_path / "out.mp4")
    with open_video(tmp_path / "out.mp4") as reader:
        assert (reader.info.height, reader.info.colour.matrix_name) == (960, "smpte170m")
        assert not reader.info.colour.matrix_assumed


@pytest.mark.parametrize("rgb", [False, True])
def test_odd_sizes_gain_one_repeated_row_and_column(tmp_path: Path, rgb: bool) -> None:
    path = make_clip(tmp_path / "in.mkv", range(3), Fraction(1, 25), size=(127, 65), codec="ffv1")
    writer = copy(path, tmp_path / "out.mp4", rgb=rgb)
    assert writer.padded
    assert writer.notes == ("out.mp4: 65x127 became 66x128 by a repeated row or column, which yuv420p needs",)
    with open_video(tmp_path / "out.mp4") as reader:
        assert (reader.info.width, reader.info.height) == (128, 66)
        image = next(iter(reader)).rgb().astype(int)
    assert np.abs(image[:, 127] - image[:, 126]).mean() < 8
    assert np.abs(image[65] - image[64]).mean() < 8


def test_ffv1_is_exact_and_keeps_odd_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    colour = rng.integers(0, 256, (65, 127, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, (65, 127), dtype=np.uint8)
    planes = tuple(rng.integers(0, 256, s, dtype=np.uint8) for s in ((65, 127), (33, 64), (33, 64)))
    for name, written in (("colour", colour), ("labels", labels), ("planes", planes)):
        with VideoWriter(tmp_path / f"{name}.mkv", width=127, height=65, codec="ffv1") as writer:
            writer.write(written, pts=0)  # type: ignore[arg-type]
        assert not writer.padded
    with open_video(tmp_path / "colour.mkv") as reader:
        assert np.array_equal(next(iter(reader)).rgb(), colour)
    with open_video(tmp_path / "labels.mkv") as reader:
        assert reader.info.pix_fmt == "gray"
        assert np.array_equal(next(iter(reader)).rgb()[..., 0], labels)
    with open_video(tmp_path / "planes.mkv") as reader:
        assert all(np.array_equal(a, b) for a, b in zip(next(iter(reader)).yuv420(), planes, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p", "yuvj420p"])
def test_the_default_plays_everywhere(tmp_path: Path, pix_fmt: str) -> None:
    path = make_clip(tmp_path / "in.mp4", range(4), Fraction(1, 25), pix_fmt=pix_fmt)
    copy(path, tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can begin before it has everything
    with av.open(str(tmp_path / "out.mp4")) as out:
        context = out.streams.video[0].codec_context
        assert (context.name, context.profile) == ("h264", "High")
        assert context.pix_fmt in ("yuv420p", "yuvj420p")
    assert numbers(tmp_path / "out.mp4") == list(range(4))


def test_another_pixel_format_where_it_is_asked_for(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", range(3), Fraction(1, 25))
    copy(path, tmp_path / "out.mp4", pix_fmt="yuv444p", rgb=True)
    with open_video(tmp_path / "out.mp4") as reader:
        assert reader.info.pix_fmt == "yuv444p"
        assert [number_in(f.rgb()) for f in reader] == [0, 1, 2]
    assert "pixel format" in refusal(ExitCode.USAGE, path, tmp_path / "no.mp4", pix_fmt="nonsense")
    assert not (tmp_path / "no.mp4").exists()


def test_files_are_about_as_large_as_their_source(tmp_path: Path) -> None:
    """Sharp noise painted on a source of a low rate is the worst case."""
    rng = np.random.default_rng(1)
    path = make_clip(tmp_path / "in.mp4", range(50), Fraction(1, 25), size=(704, 576))
    sizes = {}
    for name, options in (("capped", {}), ("free", {"crf": 23})):
        target = tmp_path / f"{name}.mp4"
        with (
            open_video(path) as reader,
            VideoWriter(target, reader, width=704, height=576, **options) as writer,
        ):
            for frame in reader:
                luma, *chroma = frame.yuv420()
                noisy = luma // 2 + rng.integers(0, 60, luma.shape, dtype=np.uint8)
                writer.write((noisy, *chroma), pts=frame.pts, duration=frame.duration)
        sizes[name] = target.stat().st_size
    assert sizes["capped"] * 2 < sizes["free"]  # free is the failing twin


def test_a_picture_of_another_size_is_a_bug_that_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="picture of"),
        VideoWriter(tmp_path / "o.mp4", width=64, height=64) as writer,
    ):
        writer.write(picture(0), pts=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("order", "number"), [("tff", 2), ("bff", 3)])
@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_interlaced_video_keeps_its_field_order(
    tmp_path: Path, order: str, number: int, rgb: bool, suffix: str
) -> None:
    options = {"flags": "+ildct+ilme", "x264-params": f"{order}=1"}
    path = make_clip(tmp_path / f"in{suffix}", range(8), Fraction(1, 25), options=options)
    copy(path, tmp_path / f"out{suffix}", rgb=rgb)
    copy(make_clip(tmp_path / "plain.mp4"), tmp_path / "twin.mp4")
    with open_video(path) as source, open_video(tmp_path / f"out{suffix}") as reader:
        assert source.info.interlaced
        assert reader.info.interlaced
        assert reader.info.field_order == source.info.field_order == number
    assert numbers(tmp_path / f"out{suffix}") == list(range(8))
    with open_video(tmp_path / "twin.mp4") as reader:
        assert not reader.info.interlaced


def _noisy(count: int, width: int, height: int) -> list[np.ndarray]:
    """Pictures (height, width, 3) of coloured blocks that move, under noise: more than a cap lets through."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    moved = (np.roll(blocks, 3 * n, 1) + rng.integers(-25, 25, blocks.shape) for n in range(count))
    return [np.clip(image, 0, 255).astype(np.uint8) for image in moved]


def test_a_capped_file_is_the_same_in_every_run(tmp_path: Path) -> None:
    """Several at once, so that each one's threads are held up at other places."""
    path = make_clip(tmp_path / "in.mkv", range(2), size=(160, 120))
    pictures = _noisy(80, 160, 120)

    def written(run: int) -> bytes:
        target = tmp_path / f"{run}.mkv"
        with open_video(path) as reader:
            reader.info = replace(reader.info, bit_rate=400_000)
            with VideoWriter(target, reader, width=160, height=120) as writer:
                for n, image in enumerate(pictures):
                    writer.write(image, pts=n, time_base=Fraction(1, 25), duration=1)
        with av.open(str(target)) as container:
            return b"".join(bytes(packet) for packet in container.demux(video=0))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(written, range(12)))) == 1


@pytest.mark.parametrize(
    ("size", "crf", "threads"), [((160, 120), None, "1"), ((1280, 720), None, None), ((160, 120), 23, None)]
)
def test_small_capped_pictures_are_encoded_by_one_thread(
    tmp_path: Path, size: tuple[int, int], crf: int | None, threads: str | None
) -> None:
    """The cause of the test above, which chance could let pass; large pictures and free rates keep their threads."""
    path = make_clip(tmp_path / "in.mp4", range(2), size=size)
    with open_video(path) as reader:
        plan, colour, info = check_output("out.mp4", "h264"), reader.info.colour, reader.info
    told = {"time_base": Fraction(1, 25), "rate": Fraction(25), "info": info, "crf": crf}
    encoding = Encoding.of(plan, size, "yuv420p", colour, **told)
    assert ("maxrate" in encoding.options) == (crf is None)
    assert encoding.options.get("threads") == threads
