"""Live sources over loopback: they stall, drop, come back and change, and the frames' times go on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from live_reading import STALL_S, served, take, wait
from live_servers import (
    FRAME,
    HANG_UP,
    HOLD,
    H264Camera,
    HttpStream,
    RtspServer,
    Site,
    TcpServer,
    UdpSender,
    transport_stream,
)
from video_clips import HEIGHT, WIDTH, make_clip, number_in

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import source
from icnet_cli.video.live import BACK_OFF_S, LiveFrame, LiveReader, Notice
from icnet_cli.video.live_address import Address, parse_address
from icnet_cli.video.live_clock import TIME_BASE
from icnet_cli.video.live_connection import open_address

# What is read ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TcpServer, HttpStream])
def test_a_stream_is_read_to_its_end_where_that_is_wanted(
    kind: type, servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, kind([(transport_stream(tmp_path, start=90_000 * 50), HANG_UP)]))
    reader = read(server.url, tries=0)
    frames, told = take(reader)
    assert [number_in(frame.rgb()) for frame in frames] == list(range(10))
    assert [frame.pts for frame in frames] == [FRAME * n for n in range(10)]  # from zero, in ticks of 1/90000
    assert [frame.index for frame in frames] == list(range(10))
    assert reader.finished
    assert not told
    assert not reader.gaps
    assert (reader.info.height, reader.info.width) == (HEIGHT, WIDTH)
    assert reader.info.time_base == TIME_BASE


def test_rtsp(servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path) -> None:
    server = served(servers, RtspServer([(transport_stream(tmp_path), HOLD)]))
    frames, _ = take(read(server.url), 8)
    assert [number_in(frame.rgb()) for frame in frames] == list(range(8))
    assert any(request.startswith("PLAY") for request in server.requests)


def test_h264_in_rtp_keeps_the_time_of_its_first_picture(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    """Which FFmpeg gives none: it was shown for as long as the second one took to be decoded."""
    options = {"g": "5", "slices": "1", "threads": "1"}
    path = make_clip(tmp_path / "a.h264", range(12), Fraction(1, 25), muxer="h264", options=options)
    server = served(servers, H264Camera([(path.read_bytes(), HANG_UP)]))
    frames, _ = take(read(server.url, tries=0, timeout_s=5.0))
    assert [number_in(frame.rgb()) for frame in frames] == list(range(12))
    assert [frame.pts for frame in frames] == [FRAME * n for n in range(12)]


def test_udp(servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path) -> None:
    """The sender begins anew again and again, and its clock with it: ours goes on."""
    server = served(servers, UdpSender(transport_stream(tmp_path)))
    frames, _ = take(read(server.url, timeout_s=10.0), 25)
    assert all(b.pts > a.pts for a, b in itertools.pairwise(frames))
    assert all(0 <= number_in(frame.rgb()) < 10 for frame in frames)


def test_reading_begins_with_a_picture_that_can_be_decoded(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    """A camera is joined in the middle: what comes before the next key frame shows nothing whole."""
    data = transport_stream(tmp_path, 12)
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    kept = [
        packet for packet in packets if packet[1] & 0x1F == 0 or packet[1:3] == b"\x50\x00"
    ]  # tables first
    middle = len(packets) // 8
    server = served(servers, TcpServer([(b"".join(kept[:3] + packets[middle:]), HANG_UP)]))
    frames, _ = take(read(server.url, tries=0))
    assert frames[0].key
    assert [number_in(frame.rgb()) for frame in frames] == list(range(5, 12))


def test_a_playlist_that_grows_is_played_at_its_own_pace(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    parts = [transport_stream(tmp_path, start=FRAME * 10 * n) for n in range(3)]
    shown = iter([2, 2, 3])
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"

    def playlist() -> str:
        count = next(shown, 3)
        end = "#EXT-X-ENDLIST\n" if count == 3 else ""
        return head + "".join(f"#EXTINF:0.4,\n{n}.ts\n" for n in range(count)) + end

    files: dict[str, Any] = {f"/{n}.ts": part for n, part in enumerate(parts)}
    site = served(servers, Site({"/live.m3u8": playlist, **files}))
    reader = read(f"{site.url}/live.m3u8", timeout_s=5.0)
    frames, told = take(reader)
    assert [frame.pts for frame in frames] == [FRAME * n for n in range(30)]
    assert not told  # its end is what the playlist calls its end: nothing is connected again
    assert sum(reader.pauses) > 0.4  # type: ignore[attr-defined]


def test_a_playlist_that_stands_still_is_a_stall_and_is_not_played_twice(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\na.ts\n"
    site = served(servers, Site({"/live.m3u8": playlist, "/a.ts": transport_stream(tmp_path)}))
    reader = read(f"{site.url}/live.m3u8", timeout_s=1.0, tries=1)
    with pytest.raises(IcnetError, match="and 1 try to connect again failed"):
        take(reader)
    assert reader.frames_read == 10


def test_a_camera_is_opened_by_the_systems_own_format(
    read: Callable[..., LiveReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg's own test pattern stands in for the device."""
    monkeypatch.setattr(source, "CODECS", source.CODECS | {"wrapped_avframe"})
    pattern = Address("camera", "testsrc=size=64x48:rate=25", "camera:0", "lavfi", "none", "lavfi")
    frames, _ = take(read(pattern, timeout_s=10.0), 4)
    assert [frame.pts for frame in frames] == [FRAME * n for n in range(4)]
    assert frames[0].rgb().shape == (48, 64, 3)


def test_a_camera_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(IcnetError, match=r"there is no camera:63; cameras here: ") as raised:
        open_address(parse_address("camera:63", "linux"), max_pixels=10**6, timeout_s=1.0)
    assert raised.value.code == ExitCode.INPUT


# Healing --------------------------------------------------------------------------------------------------------------


def test_twenty_drops_are_twenty_reconnections(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    """Each time the camera's clock begins elsewhere; ours never goes back."""
    feeds = [(transport_stream(tmp_path, 6, start=(7 * n % 5) * 90_000), HANG_UP) for n in range(5)]
    # More of the last feed than is taken and held back: the reader waits there, and never sees its end.
    server = served(servers, TcpServer([*feeds * 4, (transport_stream(tmp_path, 20), HANG_UP)]))
    reader = read(server.url, tries=3, timeout_s=30.0)
    frames, told = take(reader, 21 * 6)
    assert server.accepted == 21
    assert reader.reconnects == 20
    assert reader.pauses == [1.0] * 20  # type: ignore[attr-defined]
    assert all(b.pts > a.pts for a, b in itertools.pairwise(frames))
    assert [number_in(frame.rgb()) for frame in frames] == list(range(6)) * 21
    assert len(reader.gaps) == 20
    assert sum("connecting again" in line for line in told) == 20
    assert sum("without pictures" in line for line in told) == 20


def test_a_stall_is_noticed_told_and_healed(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    data = transport_stream(tmp_path)
    server = served(servers, TcpServer([(data, HOLD), (data, HOLD)]))
    reader = read(server.url)
    frames, told = take(reader, 15)
    assert told[0].endswith(f"nothing came for {STALL_S:g} s; connecting again in 1 s (try 1 of 20)")
    gap = reader.gaps[0]
    assert gap.reason == f"nothing came for {STALL_S:g} s"
    missing = (frames[10].pts - frames[9].pts) * TIME_BASE
    assert gap.seconds == pytest.approx(float(missing))
    assert gap.seconds >= STALL_S  # the time that passed is in the picture's times
    assert told[1] == f"{server.url}: {gap.seconds:.1f} s without pictures after 0.4 s ({gap.reason})"


def test_the_tries_are_further_and_further_apart_and_have_an_end(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path), HANG_UP)]))
    reader = read(server.url, tries=8)
    reader.ready()
    found: list[Any] = []
    with pytest.raises(IcnetError, match="the stream ended, and 8 tries to connect again failed") as raised:
        found.extend(reader)
    assert raised.value.code == ExitCode.INPUT
    assert reader.pauses == [*BACK_OFF_S, 30.0, 30.0]  # type: ignore[attr-defined]
    told = [item.text for item in found if isinstance(item, Notice)]
    assert told[0].endswith("the stream ended; connecting again in 1 s (try 1 of 8)")
    assert told[3].endswith(
        "nothing answers there (connection refused); connecting again in 5 s (try 4 of 8)"
    )
    assert len(found) - len(told) == 10


def test_without_tries_a_stall_is_the_end(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path), HOLD)]))
    with pytest.raises(IcnetError, match=f"nothing came for {STALL_S:g} s$"):
        take(read(server.url, tries=0))


def test_another_size_is_scaled_to_the_first_and_told_once(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    small = transport_stream(tmp_path)
    large = transport_stream(tmp_path, size=(2 * WIDTH, 2 * HEIGHT))
    server = served(servers, TcpServer([(small, HANG_UP), (large, HANG_UP), (small, HANG_UP), (large, HOLD)]))
    frames, told = take(read(server.url), 40)
    assert {frame.rgb().shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert [number_in(frame.rgb()) for frame in frames] == list(range(10)) * 4
    changes = [line for line in told if "scaled" in line]
    assert changes == [
        f"{server.url}: the pictures changed to {2 * HEIGHT}x{2 * WIDTH}; "
        f"they are scaled to the first size, {HEIGHT}x{WIDTH}"
    ]


def test_stopping_never_waits_for_the_network(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path, 80), HOLD)]))
    reader = read(server.url, timeout_s=600.0)
    reader.ready()
    items = iter(reader)
    for _ in range(5):
        next(items)
    ended = threading.Event()

    def wait_for_more() -> None:
        for _ in items:
            pass
        ended.set()

    threading.Thread(target=wait_for_more, daemon=True).start()
    assert not ended.is_set()
    reader.stop()
    assert ended.wait(30)


@pytest.mark.parametrize("every_frame", [True, False])
def test_a_reader_that_nobody_reads_holds_two_frames(
    every_frame: bool, servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path, 80), HOLD)]))
    reader = read(server.url, every_frame=every_frame, timeout_s=60.0)
    reader.ready()
    reader._stopped.wait(0.3)
    assert len(reader._items) <= 2


def test_what_came_before_the_run_began_is_no_part_of_it(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    """A network takes seconds to load. The newest frame of then is the first, and its time is zero."""
    data = transport_stream(tmp_path, 80)
    server = served(servers, TcpServer([(data, HOLD)]))
    reader = read(server.url, every_frame=False, timeout_s=60.0)
    reader.ready()
    wait(reader, lambda: reader.frames_read >= 75)  # the last ones stay in the decoder
    first = next(item for item in reader if isinstance(item, LiveFrame))
    assert (first.index, first.pts) == (0, 0)
    assert number_in(first.rgb()) >= 74
    reader.stop()


def test_a_source_that_is_over_before_the_run_began_begins_at_zero_too(
    servers: list[Any], read: Callable[..., LiveReader], tmp_path: Path
) -> None:
    server = served(servers, TcpServer([(transport_stream(tmp_path, 20), HANG_UP)]))
    reader = read(server.url, every_frame=False, tries=0)
    reader.ready()
    wait(reader, lambda: reader._over)
    frames, _ = take(reader)
    assert [(frame.index, frame.pts) for frame in frames] == [(0, 0), (1, FRAME)]
    assert [number_in(frame.rgb()) for frame in frames] == [18, 19]
    assert reader.frames_read == 2
