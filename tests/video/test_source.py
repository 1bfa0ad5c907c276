"""Opening what strangers made: refused in one line with exit 3, and never followed to other files."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_clips import make_clip, numbers, picture

from icnet_cli.errors import ExitCode, IcnetError, printable
from icnet_cli.video import open_video


def refusal(path: Path, **options: object) -> str:
    """The message with which `path` is refused, after checking that it is one line with exit 3."""
    with pytest.raises(IcnetError) as caught, open_video(path, **options) as reader:  # type: ignore[arg-type]
        list(reader)
    assert caught.value.code == ExitCode.INPUT
    message = str(caught.value)
    assert message.isprintable(), message
    assert not any(word in message for word in ("av_", "Errno", "Traceback"))
    return message


def test_an_ordinary_clip_opens(tmp_path: Path) -> None:
    assert numbers(make_clip(tmp_path / "clip.mp4")) == list(range(12))


def test_missing_empty_folder_and_text_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    assert "empty" in refusal(tmp_path / "empty.mp4")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no video, only words\n" * 100)
    assert "not a video" in refusal(tmp_path / "text.mp4")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n")
    assert "playlists on the disk are not followed" in refusal(tmp_path / "list.m3u8")
    (tmp_path / "list.m3u8").rename(tmp_path / "list.mp4")
    assert "not a video" in refusal(tmp_path / "list.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    said = refusal(tmp_path / "pipe.mp4")
    assert "it is a pipe" in said
    assert said.endswith(f"icnet segment - < {tmp_path / 'pipe.mp4'}")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    path.chmod(0)
    assert "permission" in refusal(path)


def test_an_index_that_was_never_written_is_refused(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "clip.mp4").read_bytes()  # the index stands at the end
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    refusal(tmp_path / "half.mp4")


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("flac", 48000)
        frame = av.AudioFrame(format="s16", layout="stereo", samples=4608)
        frame.sample_rate, frame.pts = 48000, 0
        out.mux([*stream.encode(frame), *stream.encode(None)])
    assert "audio, but no video" in refusal(path)


def test_a_video_track_without_a_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nothing.mkv"
    with av.open(str(path), "w") as out:
        out.add_stream("mpeg4", 25, width=64, height=64)
        out.start_encoding()
    refusal(path)


@pytest.mark.parametrize("script", ["ffconcat", "playlist"])
def test_a_script_named_mp4_opens_no_other_file(tmp_path: Path, script: str) -> None:
    victim = make_clip(tmp_path / "private.mp4")
    hostile = tmp_path / "holiday.mp4"
    if script == "ffconcat":
        hostile.write_text(f"ffconcat version 1.0\nfile '{victim}'\n")
    else:
        hostile.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{victim}\n#EXT-X-ENDLIST\n")
    refusal(hostile)


def test_a_name_that_looks_like_an_address_is_a_local_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4").rename(tmp_path / "concat:clip.mp4")
    assert numbers(Path("concat:clip.mp4")) == list(range(12))
    assert "no such file" in refusal(Path("http://127.0.0.1:9/clip.mp4"))


def test_a_codec_outside_our_list_is_refused(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.avi", codec="asv1")
    assert "asv1 is not supported" in refusal(path)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", ".mp4"), ("mpeg4", ".avi"), ("ffv1", ".mkv"), ("mpeg2video", ".ts")]
)
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, codec: str, suffix: str) -> None:
    path = make_clip(tmp_path / f"clip{suffix}", range(6), Fraction(1, 25), codec=codec)
    assert "over the limit of 8191 pixels" in refusal(path, max_pixels=128 * 64 - 1)
    with open_video(path, max_pixels=128 * 64) as reader:
        assert len(list(reader)) == 6


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    def cover(out: object) -> None:
        stream = out.add_stream("mjpeg", 1, width=64, height=64)  # type: ignore[attr-defined]
        stream.codec_context.pix_fmt = "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        state["cover"] = stream

    def draw(out: object) -> None:
        frame = av.VideoFrame.from_ndarray(picture(200, 64, 64), "rgb24").reformat(format="yuvj420p")
        out.mux([*state["cover"].encode(frame), *state["cover"].encode(None)])  # type: ignore[attr-defined]

    state: dict[str, object] = {}
    path = make_clip(tmp_path / "covered.mkv", range(5), Fraction(1, 25), before=cover, after=draw)
    with open_video(path) as reader:
        assert (reader.info.width, reader.info.height) == (128, 64)
        assert len(list(reader)) == 5


def test_streams_are_picked_by_number(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("mpeg4", 25, width=w, height=64) for w in (64, 128)]
        for stream, number in zip(streams, (1, 2), strict=True):
            frame = av.VideoFrame.from_ndarray(picture(number, stream.width, 64), "rgb24").reformat(
                format="yuv420p"
            )
            out.mux([*stream.encode(frame), *stream.encode(None)])
    with open_video(path) as first, open_video(path, stream=1) as second:
        assert (first.info.width, second.info.width) == (64, 128)
    assert "video streams are: 0, 1" in refusal(path, stream=5)


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[31mred\n.mp4"
    assert "?[31mred?" in refusal(hostile)
    assert printable("\u202egnp.exe") == "?gnp.exe"
    assert len(printable("x" * 10_000)) == 200


def test_bytes_that_are_no_text_in_the_metadata_are_read_past(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", range(4), Fraction(1, 25), metadata={"title": "PLACEHOLDER"})
    path.write_bytes(path.read_bytes().replace(b"PLACEHOLDER", b"\xff\xfe\x80\x81LACEHO\xc3"))
    assert numbers(path) == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_mutated_files_are_read_or_refused_never_more(tmp_path: Path, suffix: str) -> None:
    seed = make_clip(tmp_path / f"seed{suffix}", range(6), Fraction(1, 25))
    original = seed.read_bytes()
    rng = random.Random(7)
    path = tmp_path / f"mutant{suffix}"
    read, refused = 0, set()
    for _ in range(40):
        data = bytearray(original)
        for _ in range(rng.choice((1, 5, 40))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            with open_video(path) as reader:
                for frame in reader:
                    frame.rgb()
            read += 1
        except IcnetError as error:
            refused.add((error.code, str(error).isprintable()))
    assert read > 0
    assert refused <= {(ExitCode.INPUT, True)}
