"""What is not the video arrives as it was: packets, names, chapters, tags."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from test_writer import copy, refusal
from video_clips import make_clip, numbers, packets, picture

from icnet_cli.errors import ExitCode

MILLI = Fraction(1, 1000)


def clip(path: Path, **options: Any) -> Path:
    """25 frames in the container's own ticks, 1 s."""
    codec = {".webm": "libvpx-vp9"}.get(path.suffix, "libx264")
    speed = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else {"g": "5"}
    return make_clip(path, [n * 40 for n in range(25)], MILLI, codec=codec, options=speed, **options)


def subtitle(text: str, start: int, duration: int, stream: Any) -> Any:
    packet = av.Packet(text.encode())
    packet.pts = packet.dts = start
    packet.duration, packet.time_base, packet.stream = duration, MILLI, stream
    return packet


def with_subtitles(path: Path, **options: Any) -> Path:
    """A Matroska clip with two captions, a font, chapters and a language."""
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["text"] = out.add_mux_stream("subrip")
        state["text"].time_base = MILLI
        state["text"].metadata["language"] = "deu"
        out.add_attachment("font.ttf", "application/x-truetype-font", b"\x00\x01\x00\x00not really a font")
        chapters = [(0, 500, "Start"), (500, 1000, "End")]
        out.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": MILLI, "metadata": {"title": t}}
                for n, (a, b, t) in enumerate(chapters, 1)
            ]
        )

    def after(out: Any) -> None:
        out.mux(subtitle("eins", 100, 200, state["text"]))
        out.mux(subtitle("zwei", 450, 300, state["text"]))

    return clip(path, before=before, after=after, **options)


SOUND = [
    (".mp4", ".mp4", "aac"), (".mp4", ".mov", "aac"), (".mp4", ".mkv", "aac"), (".mkv", ".mp4", "aac"),
    (".mkv", ".mov", "aac"), (".mov", ".mov", "pcm_s16le"), (".mov", ".mkv", "pcm_s16le"), (".mkv", ".mkv", "flac"),
    (".mkv", ".mp4", "flac"), (".mkv", ".mp4", "libopus"), (".mkv", ".webm", "libopus"), (".webm", ".webm", "libopus"),
    (".webm", ".mkv", "libopus"), (".mp4", ".mkv", "ac3"), (".mkv", ".mp4", "ac3"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "audio"), SOUND)
def test_audio_packets_are_identical_and_keep_their_times(
    tmp_path: Path, source: str, target: str, audio: str
) -> None:
    path = clip(tmp_path / f"in{source}", audio=audio, audio_seconds=1.5)
    out = tmp_path / f"out{target}"
    copy(path, out)
    assert len(packets(path, "audio")) > 5
    assert packets(out, "audio") == packets(path, "audio")
    with av.open(str(path)) as a, av.open(str(out)) as b:
        before, after = ([p.pts * p.time_base for p in c.demux(audio=0) if p.size] for c in (a, b))
    assert max(abs(x - y) for x, y in zip(before, after, strict=True)) <= MILLI
    assert numbers(out) == list(range(25))


@pytest.mark.parametrize("source", [".avi", ".mkv"])
def test_sound_whose_loudspeakers_are_not_named_fits_into_an_mp4(tmp_path: Path, source: str) -> None:
    """The muxer refuses it only when all has been worked; nothing is lost by calling two channels stereo."""
    codec = "mjpeg" if source == ".avi" else "libx264"
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_clip(
        tmp_path / f"in{source}", range(25), Fraction(1, 25), codec=codec, pix_fmt=pix_fmt, audio="pcm_s16le"
    )
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.layout.name == "2 channels"
    out = tmp_path / "out.mp4"
    copy(path, out)
    assert b"".join(packets(out, "audio")) == b"".join(packets(path, "audio"))
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.layout.name == "stereo"


def test_audio_that_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mkv", audio="flac")
    message = refusal(ExitCode.USAGE, path, tmp_path / "out.mov")
    assert "flac" in message
    assert ".mp4" in message
    assert "--no-audio" in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]
    copy(path, tmp_path / "out.mov", no_audio=True)
    assert packets(tmp_path / "out.mov", "audio") == []
    webm = refusal(ExitCode.USAGE, path, tmp_path / "out.webm")
    assert ".mkv" in webm or ".mp4" in webm


def with_unknown_sound(path: Path, *which: int) -> Path:
    """An mp4 with two tracks of sound, some of them under a name that no decoder here knows."""
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["second"] = out.add_stream("aac", 48000)

    def after(out: Any) -> None:
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = 48000, 0
        out.mux([*state["second"].encode(frame), *state["second"].encode(None)])

    data = bytearray(clip(path, audio="aac", before=before, after=after).read_bytes())
    entries = [at for at in range(len(data)) if data[at : at + 10] == b"mp4a" + bytes(6)]
    for at in (entries[n] for n in which):
        codes = data.index(b"esds", at)
        data[at : at + 4], data[codes : codes + 4] = b"apac", b"dapa"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("unknown", [0, 1])
def test_sound_that_no_decoder_knows_does_not_take_the_other_with_it(tmp_path: Path, unknown: int) -> None:
    """An iPhone's spatial sound, beside which lies the same in stereo."""
    path = with_unknown_sound(tmp_path / "in.mp4", unknown)
    (line,) = copy(path, tmp_path / "out.mp4").left_out
    assert line == f"audio unknown (stream {1 + unknown}) is left out: mp4 cannot hold it"
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert [stream.type for stream in out.streams] == ["video", "audio"]


def test_sound_that_no_decoder_knows_is_refused_where_there_is_no_other(tmp_path: Path) -> None:
    path = with_unknown_sound(tmp_path / "in.mp4", 0, 1)
    assert "--no-audio" in refusal(ExitCode.USAGE, path, tmp_path / "out.mp4")
    assert copy(path, tmp_path / "out.mp4", no_audio=True).left_out == ()


def test_sound_is_woven_into_the_pictures(tmp_path: Path) -> None:
    """However the source is laid out (here: all sound after all pictures), the output has both side by side."""
    path = clip(tmp_path / "in.mkv", audio="aac", audio_seconds=1.0)
    copy(path, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as out:
        order = [(p.stream.type, p.pts * p.time_base) for p in out.demux() if p.size]
    ahead = {"audio": Fraction(0), "video": Fraction(0)}
    for kind, at in order:
        ahead[kind] = max(ahead[kind], at)
        assert abs(ahead["audio"] - ahead["video"]) < Fraction(1, 4)


def test_subtitles_fonts_chapters_and_languages_survive(tmp_path: Path) -> None:
    path = with_subtitles(
        tmp_path / "in.mkv", audio="aac", metadata={"title": "A drive", "comment": "dry road"}
    )
    writer = copy(path, tmp_path / "out.mkv")
    assert writer.left_out == ()
    with av.open(str(path)) as a, av.open(str(tmp_path / "out.mkv")) as b:
        assert [s.type for s in b.streams] == [s.type for s in a.streams]
        assert b.streams.subtitles[0].metadata["language"] == "deu"
        assert b.streams.attachments[0].data == a.streams.attachments[0].data
        assert b.streams.attachments[0].name == "font.ttf"
        spans = [(float(c["start"] * c["time_base"]), c["metadata"]["title"]) for c in b.chapters()]
        assert spans == [(0.0, "Start"), (0.5, "End")]
        assert (b.metadata["title"], b.metadata["COMMENT"]) == ("A drive", "dry road")
        captions = [(p.pts, p.duration, bytes(p)) for p in b.demux(subtitles=0) if p.size]
    assert captions == [(100, 200, b"eins"), (450, 300, b"zwei")]


def test_tracks_that_do_not_fit_are_left_out_and_named(tmp_path: Path) -> None:
    path = with_subtitles(tmp_path / "in.mkv", audio="aac")
    writer = copy(path, tmp_path / "out.mp4")
    assert [name.split()[0] for name in writer.left_out] == ["subtitle", "attachment"]
    assert packets(tmp_path / "out.mp4", "audio") == packets(path, "audio")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert len(out.chapters()) == 2


@pytest.mark.parametrize(
    ("language", "written"),
    [("deu", "ger"), ("ger", "ger"), ("fre", "fra"), ("swe", "sve"), ("eng", "eng"), ("jpn", "jpn")],
)
def test_a_mov_keeps_languages_by_the_code_that_it_has(tmp_path: Path, language: str, written: str) -> None:
    def speak(out: Any) -> None:
        next(s for s in out.streams if s.type == "audio").metadata["language"] = language

    path, out = clip(tmp_path / "in.mkv", audio="aac", before=speak), tmp_path / "out.mov"
    copy(path, out)
    with av.open(str(out)) as made:
        assert made.streams.audio[0].metadata["language"] == written


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("source", [".mp4", ".mov", ".mkv"])
def test_tracks_keep_their_names(tmp_path: Path, source: str, target: str) -> None:
    def name(out: Any) -> None:
        for kind, words in (("video", "front"), ("audio", "cabin")):
            next(s for s in out.streams if s.type == kind).metadata["title"] = words

    path, out = clip(tmp_path / f"in{source}", audio="aac", before=name), tmp_path / f"out{target}"
    copy(path, out)
    key = "title" if target == ".mkv" else "name"
    with av.open(str(out)) as made:
        assert [stream.metadata.get(key) for stream in made.streams] == ["front", "cabin"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_track_of_chapters_titles_is_not_said_to_be_left_out(tmp_path: Path, suffix: str) -> None:
    """FFmpeg shows it as data; it is made anew of the chapters, which are kept."""
    path = with_subtitles(tmp_path / "in.mkv")
    copy(path, tmp_path / "chapters.mp4")
    assert copy(tmp_path / "chapters.mp4", tmp_path / f"out{suffix}").left_out == ()
    with av.open(str(tmp_path / f"out{suffix}")) as out:
        assert [c["metadata"]["title"] for c in out.chapters()] == ["Start", "End"]


def test_an_alpha_channel_that_is_gone_is_not_claimed(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "0", "cpu-used": "8", "deadline": "realtime"}
    path = make_clip(tmp_path / "in.webm", codec="libvpx-vp9", pix_fmt="yuva420p", options=options)
    copy(path, tmp_path / "out.mkv")
    with av.open(str(path)) as a, av.open(str(tmp_path / "out.mkv")) as b:
        assert [c.streams.video[0].metadata.get("alpha_mode") for c in (a, b)] == ["1", None]
        assert "ALPHA_MODE" not in b.streams.video[0].metadata


def test_webm_which_writes_nothing_of_an_attachment_is_said_to_leave_it_out(tmp_path: Path) -> None:
    writer = copy(with_subtitles(tmp_path / "in.mkv"), tmp_path / "out.webm")
    assert [name.split()[0] for name in writer.left_out] == ["subtitle", "attachment"]
    with av.open(str(tmp_path / "out.webm")) as out:
        assert [stream.type for stream in out.streams] == ["video"]


def test_a_second_video_is_left_out_because_one_is_written(tmp_path: Path) -> None:
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["second"] = out.add_stream("mjpeg", 25, width=64, height=32, pix_fmt="yuvj420p")

    def after(out: Any) -> None:
        frame = av.VideoFrame.from_ndarray(picture(1, 64, 32), "rgb24").reformat(format="yuvj420p")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux(state["second"].encode(frame))

    path = clip(tmp_path / "in.mkv", before=before, after=after)
    assert copy(path, tmp_path / "out.mkv").left_out == (
        "video mjpeg (stream 1) is left out: one video is written",
    )


def test_a_range_moves_every_track_to_zero(tmp_path: Path) -> None:
    path = with_subtitles(tmp_path / "in.mkv", audio="aac")
    copy(path, tmp_path / "out.mkv", start_s=0.2, end_s=0.6)
    assert numbers(tmp_path / "out.mkv") == list(range(5, 15))
    with av.open(str(tmp_path / "out.mkv")) as out:
        starts = {s.type: [] for s in out.streams}
        for packet in out.demux():
            if packet.size:
                starts[packet.stream.type].append((packet.pts, packet.duration))
        spans = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"])) for c in out.chapters()
        ]
    assert starts["video"][0][0] == 0
    assert 0 <= starts["audio"][0][0] < 25
    assert starts["audio"][-1][0] < 400
    assert starts["subtitle"] == [(0, 100), (250, 150)]  # on when the range began, and when it ended
    assert [round(a, 3) for pair in spans for a in pair] == [0.0, 0.3, 0.3, 0.4]


def test_stopping_early_stops_the_sound_too(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mp4", audio="aac", audio_seconds=1.0)
    copy(path, tmp_path / "out.mp4", limit=10)
    with av.open(str(tmp_path / "out.mp4")) as out:
        sound = [p.pts * p.time_base for p in out.demux(audio=0) if p.size]
    assert 0.3 < sound[-1] < 0.4


def test_sound_that_outlasts_the_pictures_is_kept(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mp4", audio="aac", audio_seconds=2.0)
    copy(path, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4", "audio") == packets(path, "audio")


TAGS = {"title": "A drive", "creation_time": "2016-08-28T21:16:08.000000Z", "location": "+48.1173+011.5167/"}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_time_and_place_of_the_recording_survive(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"in{suffix}", metadata=TAGS)
    copy(path, tmp_path / f"out{suffix}")
    with av.open(str(path)) as a, av.open(str(tmp_path / f"out{suffix}")) as b:
        kept = {k.lower(): v for k, v in b.metadata.items()}
        for key, value in a.metadata.items():
            if key.lower() in TAGS:
                assert kept[key.lower()] == value
        assert {"title", "creation_time"} <= {k.lower() for k in a.metadata}


def test_the_keys_of_phones_survive(tmp_path: Path) -> None:
    tags = {"com.apple.quicktime.make": "Maker", "com.apple.quicktime.location.ISO6709": "+48.1173+011.5167/"}
    path = clip(tmp_path / "in.mov", metadata=tags, container_options={"movflags": "use_metadata_tags"})
    copy(path, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as out:
        assert tags.items() <= out.metadata.items()


def test_what_would_be_false_of_the_output_is_not_carried(tmp_path: Path) -> None:
    path = clip(tmp_path / "in.mkv")
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert not {"DURATION", "duration"} & set(out.streams.video[0].metadata)
        assert "rotate" not in out.streams.video[0].metadata


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_a_time_code_survives_unless_the_beginning_is_cut(tmp_path: Path, suffix: str) -> None:
    def before(out: Any) -> None:
        out.streams.video[0].metadata["timecode"] = "01:02:03:04"

    path = clip(tmp_path / "in.mov", before=before, audio="aac")
    for name, options in (("whole", {}), ("cut", {"start_s": 0.4})):
        assert copy(path, tmp_path / f"{name}{suffix}", **options).left_out == ()
        with av.open(str(tmp_path / f"{name}{suffix}")) as out:
            tags = {k.lower(): v for k, v in out.streams.video[0].metadata.items()}
        assert tags.get("timecode") == ("01:02:03:04" if name == "whole" else None)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_cover_stays_a_cover_or_is_named_as_left_out(tmp_path: Path, suffix: str) -> None:
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["cover"] = out.add_stream("mjpeg", 1, width=64, height=64)
        state["cover"].codec_context.pix_fmt = "yuvj420p"
        state["cover"].disposition = av.stream.Disposition.attached_pic

    def after(out: Any) -> None:
        frame = av.VideoFrame.from_ndarray(picture(200, 64, 64), "rgb24").reformat(format="yuvj420p")
        out.mux([*state["cover"].encode(frame), *state["cover"].encode(None)])

    path = clip(tmp_path / "in.mp4", before=before, after=after)
    writer = copy(path, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as out:
        covers = [s for s in out.streams if s.disposition & av.stream.Disposition.attached_pic]
        assert len(out.streams.video) == 1 + len(covers)
    assert (len(covers), len(writer.left_out)) == ((1, 0) if suffix == ".mp4" else (0, 1))
    assert numbers(tmp_path / f"out{suffix}") == list(range(25))


def test_data_tracks_are_copied_where_they_fit(tmp_path: Path) -> None:
    state: dict[str, Any] = {}

    def before(out: Any) -> None:
        state["klv"] = out.add_data_stream("klv")
        state["klv"].time_base = Fraction(1, 90000)

    def after(out: Any) -> None:
        for n in range(4):
            packet = av.Packet(bytes([6, 14, 43, 52, n]))
            packet.pts = packet.dts = n * 9000
            packet.time_base, packet.stream = Fraction(1, 90000), state["klv"]
            out.mux(packet)

    path = make_clip(tmp_path / "in.ts", range(12), Fraction(1, 25), before=before, after=after, audio="aac")
    assert len(packets(path, "data")) == 4
    writer = copy(path, tmp_path / "out.mp4")
    if not writer.left_out:
        assert packets(tmp_path / "out.mp4", "data") == packets(path, "data")
    else:
        assert writer.left_out[0].startswith("data")
    assert numbers(tmp_path / "out.mp4") == numbers(path)


def test_the_streams_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "in.mov"
    video = clip(tmp_path / "video.mov", audio="aac")
    with (
        av.open(str(video)) as source,
        av.open(str(path), "w") as out,
    ):  # sound first, as some recorders have it
        order = [source.streams.audio[0], source.streams.video[0]]
        twins = {s.index: out.add_stream_from_template(s, opaque=True) for s in order}
        for packet in source.demux():
            if packet.size:
                packet.stream = twins[packet.stream.index]
                out.mux(packet)
    copy(path, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as out:
        assert [s.type for s in out.streams] == ["audio", "video"]
    assert packets(tmp_path / "out.mov", "audio") == packets(path, "audio")


def test_damaged_sound_times_do_not_stop_the_work(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    video = clip(tmp_path / "video.mkv", audio="flac")
    with av.open(str(video)) as source, av.open(str(path), "w") as out:
        twins = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        wrong = itertools.cycle((0, 0, 0, 80))
        for packet in source.demux():
            if packet.size:
                back = next(wrong) if packet.stream.type == "audio" else 0
                packet.pts = max(0, packet.pts - back)
                packet.dts = max(packet.pts, 0) if packet.stream.type == "audio" else packet.dts
                packet.stream = twins[packet.stream.index]
                try:
                    out.mux(packet)
                except av.FFmpegError:
                    continue
    copy(path, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4", "audio") == packets(path, "audio")


@pytest.mark.parametrize(("suffix", "audio"), [(".ts", "aac"), (".mkv", "ac3"), (".mkv", "aac")])
def test_damaged_sound_is_no_reason_to_lose_the_pictures(tmp_path: Path, suffix: str, audio: str) -> None:
    base = Fraction(1, 25)
    path = make_clip(tmp_path / f"in{suffix}", range(12), base, audio=audio)
    data = path.read_bytes()
    sound = packets(path, "audio")
    lost = 0
    for n in range(1, len(sound) - 1, 2):  # the head of one packet of sound after another
        at = data.find(sound[n][:32])
        if at < 0:
            continue
        path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
        writer = copy(path, tmp_path / "out.mp4", overwrite=True)
        lost += writer.packets_lost
        assert writer.frames_written == 12
        assert numbers(tmp_path / "out.mp4") == list(range(12))
    assert lost > 0 or suffix == ".mkv"


def test_nothing_stays_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are listed under /proc only on Linux")
    path = clip(tmp_path / "in.mp4", audio="aac")
    copy(path, tmp_path / "out.mp4")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        copy(path, tmp_path / "out.mp4", overwrite=True)
        refusal(ExitCode.USAGE, path, tmp_path / "out.mp4")
    assert len(os.listdir("/proc/self/fd")) <= before
