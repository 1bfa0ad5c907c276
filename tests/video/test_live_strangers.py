"""What answers at an address is a stranger: it reads no file here, and its errors hold no secret. Files on servers."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_reading import STALL_S, served
from live_servers import (
    HANG_UP,
    HOLD,
    HttpStream,
    Site,
    TcpServer,
    transport_stream,
)
from video_clips import make_clip, number_in

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import live_connection
from icnet_cli.video.live import LiveReader
from icnet_cli.video.live_address import parse_address
from icnet_cli.video.live_connection import open_address
from icnet_cli.video.live_file import RemoteFile


def _playlist(entry: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{entry}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "entry",
    [
        "file://{file}",
        "{file}",
        "concat:{file}",
        "subfile,,start,0,end,0,,:{file}",
        "data:video/mp2t;base64,",
    ],
)
def test_a_servers_playlist_reads_no_file(
    entry: str, servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    file = tmp_path / "private.ts"
    file.write_bytes(transport_stream(tmp_path))
    site = served(servers, Site({"/list.m3u8": _playlist(entry.format(file=file))}))
    with pytest.raises(IcnetError) as raised:
        read(f"{site.url}/list.m3u8").ready()
    assert raised.value.code == ExitCode.INPUT


def test_the_same_playlist_with_an_address_is_read(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    site = served(servers, Site({"/list.m3u8": _playlist("a.ts"), "/a.ts": transport_stream(tmp_path)}))
    reader = read(f"{site.url}/list.m3u8")
    reader.ready()
    assert reader.is_file


def test_a_playlists_key_is_no_file(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    key = '#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/hostname"\n'
    text = _playlist("a.ts").replace("#EXTINF", key + "#EXTINF")
    site = served(servers, Site({"/list.m3u8": text, "/a.ts": transport_stream(tmp_path)}))
    with pytest.raises(IcnetError):
        read(f"{site.url}/list.m3u8").ready()


@pytest.mark.parametrize("target", ["file://{file}", "tcp://127.0.0.1:{port}/", "concat:{file}"])
def test_a_redirection_leads_to_http_only(
    target: str, servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    file = tmp_path / "private.ts"
    file.write_bytes(transport_stream(tmp_path))
    other = served(servers, TcpServer([(file.read_bytes(), HANG_UP)]))
    site = served(servers, Site({"/x": (target.format(file=file, port=other.port),), "/y": ("/a.ts",)}))
    site.files["/a.ts"] = file.read_bytes()
    with pytest.raises(IcnetError):
        read(f"{site.url}/x").ready()
    assert other.accepted == 0
    read(f"{site.url}/y").ready()  # within http it may


def test_a_script_from_a_server_is_no_video(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    file = tmp_path / "private.ts"
    file.write_bytes(transport_stream(tmp_path))
    site = served(servers, Site({"/x.mp4": f"ffconcat version 1.0\nfile {file}\n"}))
    with pytest.raises(IcnetError, match="no video"):
        read(f"{site.url}/x.mp4").ready()


def test_large_pictures_are_refused(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path), HOLD)]))
    with pytest.raises(IcnetError, match="--max-pixels"):
        read(server.url, max_pixels=100).ready()


@pytest.mark.parametrize(
    ("path", "words"),
    [("/none.mp4?token=SECRET", "nothing of that name"), ("/text.mp4?token=SECRET", "no video")],
)
def test_errors_name_the_address_without_its_secrets(
    path: str, words: str, servers: list[Any], read: Callable[..., LiveReader]
) -> None:
    site = served(servers, Site({"/text.mp4": "this is no video " * 50}))
    url = site.url.replace("//", "//user:SECRET@") + path
    with pytest.raises(IcnetError, match=words) as raised:
        read(url).ready()
    said = "".join(
        traceback.format_exception(raised.value)
    )  # what --debug prints, FFmpeg's own words included
    assert "SECRET" not in said
    assert "RuntimeError: " in said


def test_an_answer_that_never_comes(servers: list[Any], read: Callable[..., LiveReader]) -> None:
    server = served(servers, TcpServer([(b"", HOLD)]))
    with pytest.raises(IcnetError, match=f"no answer within {STALL_S:g} s"):
        read(server.url).ready()


def test_nobody_there(read: Callable[..., LiveReader]) -> None:
    with pytest.raises(IcnetError, match="connection refused"):
        read("tcp://127.0.0.1:1").ready()


# Files on a web server ------------------------------------------------------------------------------------------------


def test_a_file_on_a_server_is_a_file(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    site = served(servers, Site({"/a.mp4": make_clip(tmp_path / "a.mp4").read_bytes()}))
    url = f"{site.url}/a.mp4?token=SECRET"
    reader = read(url)
    reader.ready()
    assert reader.is_file
    with RemoteFile(parse_address(url), timeout_s=5.0, start_s=0.16) as file:
        assert [number_in(frame.rgb()) for frame in file] == list(range(4, 12))
        assert file.info.duration_s == pytest.approx(0.48)
        assert file.finished
        assert "SECRET" not in str(file.name) + str(file.path)


def test_a_file_on_a_server_that_is_cut_is_told(servers: list[Any], tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mp4", container_options={"movflags": "faststart"}).read_bytes()
    site = served(servers, Site({"/a.mp4": whole[: len(whole) * 2 // 3]}))
    with RemoteFile(parse_address(f"{site.url}/a.mp4"), timeout_s=5.0) as file:
        list(file)
        assert file.shortfall is not None or file.frames_lost


def test_an_index_at_the_end_on_a_server_without_ranges_is_told_with_a_cure(
    servers: list[Any], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 192, 256, 3), np.uint8)
    size = {"size": (256, 192), "pictures": noise, "ticks": range(0, 30 * 512, 512)}
    last = make_clip(tmp_path / "a.mp4", **size).read_bytes()
    first = make_clip(tmp_path / "b.mp4", container_options={"movflags": "faststart"}, **size).read_bytes()
    files = {"/a.mp4": last, "/b.mp4": first, "/broken.mp4": first[: len(first) // 50]}
    plain, ranged = (served(servers, Site(files, ranges=ranges)) for ranges in (False, True))
    with pytest.raises(IcnetError, match=r"byte ranges.*faststart") as raised:
        RemoteFile(parse_address(f"{plain.url}/a.mp4?token=SECRET"), timeout_s=5.0)
    assert raised.value.code == ExitCode.INPUT
    assert "SECRET" not in str(raised.value)
    for url in (f"{ranged.url}/a.mp4", f"{plain.url}/b.mp4"):
        with RemoteFile(parse_address(url), timeout_s=5.0) as file:
            assert len(list(file)) == 30
    with pytest.raises(IcnetError) as raised:  # another fault is not taken for this one
        RemoteFile(parse_address(f"{ranged.url}/broken.mp4"), timeout_s=5.0)
    assert "byte ranges" not in str(raised.value)


def test_the_same_stream_without_a_length_is_live(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, HttpStream([(transport_stream(tmp_path), HOLD)]))
    reader = read(server.url)
    reader.ready()
    assert not reader.is_file


def test_a_camera_by_its_number_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """There cameras have names only, which are asked for."""
    opened: list[str] = []
    cameras = [
        SimpleNamespace(name=name, media_types=[kind]) for name, kind in (("Mic", "audio"), ("Cam", "video"))
    ]
    monkeypatch.setattr(live_connection.av, "enumerate_input_devices", lambda _: cameras)
    monkeypatch.setattr(live_connection.av, "open", lambda target, *_, **__: opened.append(target))
    open_address(parse_address("camera:0", "win32"), max_pixels=10**6, timeout_s=1.0)
    assert opened == ["video=Cam"]
    with pytest.raises(IcnetError, match="there is no camera:1; cameras here: camera:0"):
        open_address(parse_address("camera:1", "win32"), max_pixels=10**6, timeout_s=1.0)


def test_words_for_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("camera:0", "linux")
    for error, words in (
        (PermissionError(13, "x"), "add yourself to the group"),
        (OSError(16, "busy"), "used by another program"),
        (OSError(5, "x"), "cannot be read as a camera"),
    ):
        assert words in str(live_connection.told(address, error, 10.0))
