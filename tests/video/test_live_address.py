"""What an address may open, and how much of it is ever shown."""

from __future__ import annotations

import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video.live_address import is_address, parse_address, public_url

# Each holds SECRET where cameras, servers and players put what is secret.
SHAPES = (
    "rtsp://admin:SECRET@10.0.0.5:554/Streaming/Channels/101",
    "rtsp://SECRET@10.0.0.5/live",
    "rtsp://admin:p@ss/SECRET@10.0.0.5/live",
    "rtsp://admin:a?SECRET@10.0.0.5/live",
    "rtsp://10.0.0.5/user=admin&password=SECRET&channel=1",
    "http://host/video.mp4?token=SECRET&x=1",
    "http://host/video?mail=me@SECRET",
    "https://host/list.m3u8#SECRET",
    "https://host/hls/0f3a9c4be17SECRET77aa/list.m3u8",
    "rtsps://192.168.1.1:7441/aB3dEf1SECRETX?enableSrtp",
    "rtmp://live.host/app/SECRET",
    "rtmp://user:SECRET@live.host/app/key",
    "http://user:S%45CRET@host/a?b=SECRET",
    "http://[::1]:80/a?k=SECRET",
)


@pytest.mark.parametrize("url", SHAPES)
def test_what_is_secret_is_never_shown(url: str) -> None:
    address = parse_address(url)
    assert "SECRET" not in address.public
    assert "SECRET" not in repr(address)
    said = f"[Errno 5] Input/output error: '{url}'; and then {url.partition('://')[2]} at 'tcp://u:SECRET@x'"
    assert "SECRET" not in address.scrub(said)
    assert "Input/output error" in address.scrub(said)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.5:554/Streaming/Channels/101",
        "http://host:8080/videos/street.mp4",
        "http://[::1]:80/a",
        "udp://239.0.0.1:1234",
    ],
)
def test_what_is_not_secret_is_shown_as_it_is(url: str) -> None:
    assert parse_address(url).public == url


def test_a_multicast_group_names_no_user() -> None:
    assert public_url("udp://@239.0.0.1:1234") == "udp://239.0.0.1:1234"


@pytest.mark.parametrize(
    "url", ["rtsp://h/x", "rtmp://h/x", "http://h/x", "https://h/x", "udp://h:1", "tcp://h:1"]
)
def test_no_address_may_open_a_file(url: str) -> None:
    address = parse_address(url)
    assert not {"file", "data", "concat", "subfile", "pipe", "fd"} & set(address.protocols.split(","))
    assert not {"concat", "lavfi", "image2", "sdp", "dash", "tedcaptions"} & set(address.formats.split(","))


def test_only_http_reads_playlists() -> None:
    assert "hls" in parse_address("http://h/x").formats.split(",")
    for url in ("tcp://h:1", "udp://h:1", "rtmp://h/x", "rtsp://h/x"):
        assert "hls" not in parse_address(url).formats.split(",")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://u:SECRET@h/x", "ftp:// is not read here"),
        ("file:///etc/passwd", "file:// is not read here"),
        ("concat://a|b", "concat:// is not read here"),
        ("rtsp:/u:SECRET@h/x", "begins with rtsp://"),
        ("rtsp://", "needs a host"),
        ("http://h/a\nX: SECRET", "no spaces"),
        ("camera:", "needs a number or a name"),
        ("camera:kitchen", "is none"),
    ],
)
def test_what_is_no_address_is_refused(text: str, words: str) -> None:
    assert is_address(text)
    with pytest.raises(IcnetError, match=words) as raised:
        parse_address(text, platform="linux")
    assert raised.value.code == ExitCode.USAGE
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "platform", "format", "target"),
    [
        ("camera:0", "linux", "v4l2", "/dev/video0"),
        ("/dev/video2", "linux", "v4l2", "/dev/video2"),
        ("camera:1", "darwin", "avfoundation", "1"),
        ("camera:Integrated Webcam", "win32", "dshow", "video=Integrated Webcam"),
    ],
)
def test_cameras_by_their_system_names(text: str, platform: str, format: str, target: str) -> None:
    address = parse_address(text, platform)
    assert (address.kind, address.format, address.target) == ("camera", format, target)
    assert address.public == text
    assert address.protocols == "none"


@pytest.mark.parametrize(
    "text", ["street.mp4", "a/b.m3u8", "-", "/dev/shm/clip.mp4", "c:/clip.mp4", "cameras/0"]
)
def test_files_are_files(text: str) -> None:
    assert not is_address(text)
