"""Files of full size that hold nothing in places: what is missing there is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_reading import served
from live_servers import Site, transport_stream
from video_clips import HEIGHT, TS_STEP, WIDTH, make_clip

from icnet_cli.video import Shortfall, open_video, playlist
from icnet_cli.video.declared import Declared
from icnet_cli.video.live_address import parse_address
from icnet_cli.video.live_file import RemoteFile
from icnet_cli.video.playlist import parts_in
from icnet_cli.video.structure import segment_of

FRAMES = 100  # four seconds
CODECS = {".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4", ".mp4": "mpeg4"}


def clip(path: Path) -> Path:
    """In clusters of a fifth of a second where there are clusters."""
    codec, clusters = CODECS[path.suffix], {"cluster_time_limit": "200"}
    options = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else {"g": "5"}
    muxing = clusters if path.suffix in (".mkv", ".webm") else {}
    return make_clip(
        path, range(FRAMES), Fraction(1, 25), codec=codec, options=options, container_options=muxing
    )


def read(path: Path) -> Any:
    with open_video(path) as reader:
        for frame in reader:
            frame.rgb()
    return reader


def hollow(data: bytes, first: float, last: float) -> bytes:
    """With zeros between two shares of it."""
    begin, end = int(len(data) * first), int(len(data) * last)
    return data[:begin] + bytes(end - begin) + data[end:]


@pytest.mark.parametrize("suffix", CODECS)
def test_zeros_at_the_end_are_no_end(suffix: str, tmp_path: Path) -> None:
    """As a crash leaves a file that was allocated in one piece; its header still says how long it is."""
    path = clip(tmp_path / f"a{suffix}")
    whole = read(path)
    assert (whole.frames_read, whole.shortfall) == (FRAMES, None)
    if suffix == ".mp4":
        path = make_clip(
            path, range(FRAMES), Fraction(1, 25), codec="mpeg4", container_options={"movflags": "faststart"}
        )
    path.write_bytes(hollow(path.read_bytes(), 0.6, 1.0))
    reader = read(path)
    assert reader.frames_read - reader.frames_damaged < 0.8 * FRAMES
    if suffix == ".mp4":
        assert reader.frames_lost > 0.2 * FRAMES
    else:
        assert 0.8 < reader.shortfall.missing_s < 2.4
        assert "truncated: the last" in str(reader.shortfall)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi"])
def test_a_hole_is_told(suffix: str, removed: bool, tmp_path: Path) -> None:
    path = clip(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    length = len(data)
    path.write_bytes(
        data[: length * 4 // 10] + data[length * 7 // 10 :] if removed else hollow(data, 0.4, 0.7)
    )
    reader = read(path)
    assert reader.shortfall is not None
    assert 0.5 < reader.shortfall.missing_s < 2.4
    if suffix != ".avi":
        assert "damaged" in str(reader.shortfall)
        assert reader.shortfall.declared_s == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1])
def test_a_hole_within_one_cluster_is_told(share: float, tmp_path: Path) -> None:
    """As small as it is: FFmpeg looks for the next block that begins with a key frame, and says nothing."""
    path = make_clip(tmp_path / "a.mkv", range(FRAMES), Fraction(1, 25), options={"g": "5"}, audio="aac")
    assert segment_of(path) == (True, False)
    path.write_bytes(hollow(path.read_bytes(), 0.5, 0.5 + share))
    assert segment_of(path) == (True, True)
    reader = read(path)
    assert reader.frames_read < FRAMES
    assert "the file is damaged" in str(reader.shortfall)


def test_a_hole_within_one_cluster_counts_where_the_range_has_it(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", range(FRAMES), Fraction(1, 25), options={"g": "5"}, audio="aac")
    path.write_bytes(hollow(path.read_bytes(), 0.5, 0.53))
    for start_s, end_s, told in ((1.0, None, True), (None, 1.0, False), (3.0, None, False)):
        with open_video(path, start_s=start_s, end_s=end_s) as reader:
            assert sum(1 for _ in reader) > 20
        assert (reader.shortfall is not None) is told, (start_s, end_s)


def test_an_endless_cluster_is_not_looked_through_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millions of empty elements, as only a hostile file has: what lies behind those that are looked at is not told."""
    data = make_clip(tmp_path / "a.mkv", range(4), Fraction(1, 25)).read_bytes()
    cluster = bytes.fromhex("1f43b675")
    elements = bytes.fromhex("ec80") * 200 + bytes(200)
    path = tmp_path / "endless.mkv"
    head = data[: data.index(cluster)]
    path.write_bytes(head + cluster + b"\x01" + len(elements).to_bytes(7, "big") + elements)
    assert segment_of(path)[1]
    monkeypatch.setattr("icnet_cli.video.structure._MOST_BLOCKS", 100)
    assert not segment_of(path)[1]


def test_what_is_cut_while_it_is_read_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(FRAMES))
    path = make_clip(tmp_path / "a.mkv", range(FRAMES), Fraction(1, 25), codec="ffv1", pictures=noise)
    size = path.stat().st_size
    assert size > 200_000  # more than is read ahead
    with open_video(path) as reader:
        frames = iter(reader)
        next(frames)
        with path.open("r+b") as file:
            file.truncate(size // 2)
        assert sum(1 for _ in frames) < FRAMES - 1
    assert "truncated: the last" in str(reader.shortfall)


@pytest.mark.parametrize(
    ("shortfall", "words"),
    [
        (Shortfall(2.4, 10.0, inside=True), "the file is damaged: 2.4 s of 10.0 s are not in it"),
        (
            Shortfall(None, 0.0, inside=True),
            "the file is damaged: a part of it cannot be read, and how much is missing cannot be told",
        ),
    ],
)
def test_it_is_told_in_a_sentence(shortfall: Shortfall, words: str) -> None:
    assert str(shortfall) == words


def test_a_segment_is_looked_through(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv")
    data = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    assert segment_of(path) == (True, False)
    for end in range(200, len(data), 97):
        cut.write_bytes(data[:end])
        assert segment_of(cut) == (False, False), (
            end
        )  # of a file that is cut everything is sound as far as it goes
    cut.write_bytes(data + b"what somebody added")
    assert segment_of(cut) == (True, False)
    cut.write_bytes(hollow(data, 0.4, 0.7))
    assert segment_of(cut) == (True, True)
    live = make_clip(tmp_path / "live.mkv", range(8), Fraction(1, 25), container_options={"live": "1"})
    assert segment_of(live) == (False, False)  # it does not say how long anything is
    cut.write_bytes(b"")
    assert segment_of(cut) == (False, False)


def playlist_of(folder: Path, missing: tuple[int, ...]) -> Site:
    """A server of six parts of 0.4 s each, some of them missing, by themselves and as the first of two variants."""
    parts = {f"/{n}.ts": transport_stream(folder, start=TS_STEP * 10 * n) for n in range(6)}
    listed = "".join(f"#EXTINF:0.4,\n{n}.ts\n" for n in range(6))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n{listed}#EXT-X-ENDLIST\n"
    for n in missing:
        del parts[f"/{n}.ts"]
    master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nlist.m3u8\n"
    return Site({"/list.m3u8": playlist, "/master.m3u8": master, **parts})


@pytest.mark.parametrize("name", ["list", "master"])
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ((), None),
        ((1, 2), "the file is damaged: 800 ms of 2.4 s are not in it"),
        ((5,), "the file is truncated: the last 400 ms of 2.4 s are not in it"),
        ((4, 5), "the file is truncated: the last 800 ms of 2.4 s are not in it"),
        ((1, 2, 5), "the file is damaged: 1.2 s of 2.4 s are not in it"),
    ],
)
def test_a_part_that_a_server_lacks_is_told(
    missing: tuple[int, ...], words: str | None, name: str, servers: list[Any], tmp_path: Path
) -> None:
    """FFmpeg passes over it, and the pictures behind it come after a pause; behind the last one there are none."""
    site = served(servers, playlist_of(tmp_path, missing))
    with RemoteFile(parse_address(f"{site.url}/{name}.m3u8"), timeout_s=5.0) as file:
        assert sum(1 for _ in file) == 60 - 10 * len(missing)
    assert file.shortfall is None if words is None else str(file.shortfall) == words


def test_a_last_part_behind_the_range_is_nothing_to_it(servers: list[Any], tmp_path: Path) -> None:
    site = served(servers, playlist_of(tmp_path, (5,)))
    for end_s, told in ((1.9, False), (2.0, False), (2.2, True)):
        with RemoteFile(parse_address(f"{site.url}/list.m3u8"), timeout_s=5.0, end_s=end_s) as file:
            assert sum(1 for _ in file) == round(min(end_s, 2.0) * 25)
        assert (file.shortfall is not None) is told, end_s


def test_a_playlist_that_rounds_its_lengths_up_is_whole(servers: list[Any], tmp_path: Path) -> None:
    site = served(servers, playlist_of(tmp_path, ()))
    site.files["/list.m3u8"] = site.files["/list.m3u8"].replace("#EXTINF:0.4,", "#EXTINF:1,")
    with RemoteFile(parse_address(f"{site.url}/list.m3u8"), timeout_s=5.0) as file:
        assert sum(1 for _ in file) == 60
    assert file.shortfall is None


def test_a_list_whose_first_part_is_missing_too_says_nothing_of_its_last(
    servers: list[Any], tmp_path: Path
) -> None:
    """Then it is not known what its addresses are relative to: a redirection may have led elsewhere."""
    site = served(servers, playlist_of(tmp_path, (5,)))
    moved = {f"/far{path}": found for path, found in site.files.items()}
    site.files = {**moved, "/list.m3u8": (f"{site.url}/far/list.m3u8",)}
    with RemoteFile(parse_address(f"{site.url}/list.m3u8"), timeout_s=5.0) as file:
        assert sum(1 for _ in file) == 50
    assert file.shortfall is None


def test_the_parts_of_a_playlist() -> None:
    lines = [
        "#EXTM3U",
        "#EXTINF:9.6,a title",
        "a.ts?x=1",
        "",
        "#EXT-X-DISCONTINUITY",
        "#EXTINF:10",
        "/b/c.ts",
    ]
    assert parts_in(lines, "https://host/v/list.m3u8") == [
        (Fraction("9.6"), "https://host/v/a.ts?x=1"),
        (Fraction(10), "https://host/b/c.ts"),
    ]
    assert parts_in(["#EXTINF:-1,", "a.ts"], "http://host/")[0].seconds == 0
    with pytest.raises(OverflowError):  # and not worked out, digit by digit
        parts_in(["#EXTINF:1e999999999,", "a.ts"], "http://host/")


@pytest.mark.parametrize("missing", [0, 1, 49, 51, 400])
def test_of_many_missing_parts_not_each_is_asked_for(missing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [playlist.Part(Fraction(2), str(n)) for n in range(1000)]
    asked = []

    def is_given(address: Any, part: playlist.Part, timeout_s: float) -> bool:
        asked.append(part)
        return int(part.url) < len(parts) - missing

    monkeypatch.setattr(playlist, "_parts", lambda *_: parts)
    monkeypatch.setattr(playlist, "_is_given", is_given)
    address = parse_address("http://host/list.m3u8")
    assert playlist.missing_at_end(address, Fraction(2 * missing), 1.0) == 2 * missing
    assert len(asked) <= 52


def lacking(packets: int, skipped: float, declared_s: float = 10.0) -> Shortfall | None:
    playlist = Declared(None, Fraction(declared_s), None, gapless=True)
    return playlist.compare(packets, Fraction(10), Fraction(1, 25), Fraction(skipped))


def test_pauses_that_are_no_missing_parts_are_nothing() -> None:
    assert lacking(200, 2.0) is not None
    assert lacking(250, 0.0) is None
    assert lacking(10, 9.6) is None, "slides, one a second"
    assert lacking(250, 36000.0) is None, "the clock leaps where another recording begins"
    assert lacking(250, 4.0) is None


def test_slow_pictures_out_of_order_are_no_pauses(tmp_path: Path) -> None:
    """Three B-frames at five a second: each P comes 0.6 s ahead of what was shown."""
    path = make_clip(
        tmp_path / "a.ts", [n * 18_000 for n in range(20)], Fraction(1, 90_000), b_frames=3, rate=Fraction(5)
    )
    assert read(path)._counted.skipped == 0


def test_a_file_that_is_gone_before_its_end_was_read_all_the_same(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv")
    with open_video(path) as reader:
        frames = iter(reader)
        next(frames)
        path.rename(tmp_path / "b.mkv")
        assert sum(1 for _ in frames) == FRAMES - 1
    assert reader.shortfall is None


def test_damage_before_a_range_is_nothing_to_it(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv")
    path.write_bytes(hollow(path.read_bytes(), 0.3, 0.5))
    with open_video(path, start_s=3.0) as reader:
        assert sum(1 for _ in reader) == 25
    assert reader.shortfall is None


def test_a_pause_in_a_whole_file_is_nothing(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", [0, 40, 80, 5000, 5040], Fraction(1, 1000))
    assert read(path).shortfall is None
