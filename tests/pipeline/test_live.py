"""Runs over live sources: what becomes of a recording."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import live as live_module
from icnet_cli.pipeline.live import Inbox
from icnet_cli.pipeline.segment import DamagedInputError, segment
from icnet_cli.pipeline.watched import Watched
from icnet_cli.video import open_video
from icnet_cli.video.live import LiveReader, Notice
from tests.video.live_servers import HANG_UP, HOLD, Site, TcpServer, closing_all, transport_stream
from tests.video.video_clips import HEIGHT, WIDTH, make_clip, packets

from .conftest import run


@pytest.fixture
def servers() -> Iterator[list[Any]]:
    with closing_all() as all_of_them:
        yield all_of_them


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting again waits for nothing."""
    monkeypatch.setattr("icnet_cli.video.live.BACK_OFF_S", (0.0,))


def rest(events: Any, seen: list[Any] | None = None) -> dict[str, Any]:
    """The report that a run ends with."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        if seen is not None:
            seen.append(event)


def serve(servers: list[Any], tmp_path: Path, *ends: str, frames: int = 10) -> TcpServer:
    server = TcpServer([(transport_stream(tmp_path, frames), end) for end in ends])
    servers.append(server)
    return server


def test_a_recording_over_a_drop_is_one_file_whose_times_go_on(
    servers: list[Any], at_once: None, tmp_path: Path, segmenter: Segmenter
) -> None:
    server = serve(servers, tmp_path, HANG_UP, HANG_UP)
    with pytest.raises(DamagedInputError, match=r"and 2 tries to connect again failed; .* holds") as raised:
        run(segmenter, server.url, tmp_path / "out.mp4", every_frame=True, reconnect=2)
    report = raised.value.report
    assert raised.value.code == ExitCode.INPUT
    assert (report["frames"], report["reconnects"], report["frames_dropped"]) == (20, 1, 0)
    assert [gap["reason"] for gap in report["gaps"]] == ["the stream ended"]
    with open_video(tmp_path / "out.mp4") as reader:
        frames = list(reader)
    assert len(frames) == 20
    assert frames[0].pts == 0
    assert all(b.pts > a.pts for a, b in itertools.pairwise(frames))
    assert report["duration_s"] == pytest.approx(frames[-1].seconds + frames[-1].duration_s, abs=1e-3)


def test_every_live_frame_goes_through_reuse_and_smoothing(
    servers: list[Any], at_once: None, tmp_path: Path, segmenter: Segmenter
) -> None:
    server = serve(servers, tmp_path, HANG_UP, HANG_UP)
    options: dict[str, Any] = {"every_frame": True, "reconnect": 2, "reuse": "1000", "smooth": 0.5}
    with pytest.raises(DamagedInputError) as raised:
        run(segmenter, server.url, tmp_path / "out.mp4", **options)
    report = raised.value.report
    counts = report["reuse"]["frames"]
    assert sum(counts.values()) == report["frames"] == 20
    assert counts["first"] == 1
    assert report["reuse"]["network_runs"] == 20 - counts.get("carried", 0)


def test_what_happens_to_the_source_is_told_as_it_happens(
    servers: list[Any], at_once: None, tmp_path: Path, segmenter: Segmenter
) -> None:
    server = serve(servers, tmp_path, HANG_UP, HOLD, frames=80)
    events, report = run(segmenter, server.url, tmp_path / "out.mkv", every_frame=True, frames=85)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert told[0].startswith(f"{server.url}: the stream ended; connecting again in ")
    assert "without pictures after 3.2 s" in told[1]
    assert report["frames"] == 85
    assert report["problem"] is None


def test_the_end_of_a_stream_is_the_end_where_that_is_wanted(
    servers: list[Any], tmp_path: Path, segmenter: Segmenter
) -> None:
    server = serve(servers, tmp_path, HANG_UP)
    _, report = run(segmenter, server.url, tmp_path / "out", every_frame=True, reconnect=0)
    assert report["frames"] == len(list((tmp_path / "out").glob("*.png"))) == 10


def test_frames_that_are_too_old_are_dropped_and_their_time_is_kept(
    servers: list[Any], tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several wait while the first is labelled, and each is too old by then: only the newest is labelled after it."""
    begun, several_wait = threading.Event(), threading.Event()
    label, put, waiting = segmenter.labels, Inbox.put, itertools.count(1)
    begin, take = LiveReader._begin, LiveReader._take

    def slowly(rgb: np.ndarray) -> np.ndarray:
        assert several_wait.wait(60.0)
        return label(rgb)

    def counted(inbox: Inbox, item: Any) -> None:
        put(inbox, item)
        if not isinstance(item, Notice) and next(waiting) == 10:
            several_wait.set()

    def told(reader: LiveReader) -> None:
        begin(reader)
        begun.set()

    def in_time(reader: LiveReader, arrival: Any) -> None:
        # What comes before the pipeline begins is no part of the recording, and counts as nothing dropped.
        assert not reader.frames_read or begun.wait(60.0)
        take(reader, arrival)

    monkeypatch.setattr(segmenter, "labels", slowly)
    monkeypatch.setattr(Inbox, "put", counted)
    monkeypatch.setattr(LiveReader, "_begin", told)
    monkeypatch.setattr(LiveReader, "_take", in_time)
    server = serve(servers, tmp_path, HANG_UP, frames=40)
    config = SegmentConfig(
        source=server.url, output=tmp_path / "out.mkv", max_latency_s=0.0, reconnect=0, backend="torch"
    )
    seen: list[Any] = []
    report = rest(segment(config, segmenter), seen)
    assert report["frames_dropped"] >= 8  # of the ten, but the first and the newest
    assert report["frames"] + report["frames_dropped"] == 40
    assert seen[-1].dropped == report["frames_dropped"]
    with open_video(tmp_path / "out.mkv") as reader:
        assert len(list(reader)) == report["frames"]


def test_finishing_early_leaves_a_whole_file(
    servers: list[Any], tmp_path: Path, segmenter: Segmenter
) -> None:
    server = serve(servers, tmp_path, HOLD, frames=80)
    watched = Watched()
    assert not watched.ask()  # there is nothing to end yet
    config = SegmentConfig(source=server.url, output=tmp_path / "out.mp4", every_frame=True, timeout_s=600.0)
    events = segment(config, segmenter, watched)
    next(events)
    assert watched.is_live
    for _ in range(5):
        next(events)
    assert watched.ask()
    report = rest(events)
    with open_video(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == report["frames"] >= 6
    assert report["problem"] is None


def test_a_file_ends_early_too(tmp_path: Path, video: Path, segmenter: Segmenter) -> None:
    watched = Watched()
    events = segment(SegmentConfig(source=str(video), output=tmp_path / "out.mp4"), segmenter, watched)
    next(events)
    assert not watched.is_live
    assert watched.ask()
    report = rest(events)
    with open_video(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == report["frames"] < 10


def test_a_stream_on_stdout_keeps_its_time(
    servers: list[Any], at_once: None, tmp_path: Path, segmenter: Segmenter, capfdbinary: Any
) -> None:
    """What a live source leaves out is filled with what was there last."""
    server = serve(servers, tmp_path, HANG_UP)
    _, report = run(
        segmenter, server.url, Path("-"), every_frame=True, reconnect=0, format="raw", view="labels"
    )
    out = capfdbinary.readouterr().out
    assert len(out) == HEIGHT * WIDTH * report["frames"]


def test_a_file_on_a_server_keeps_its_sound_and_drops_nothing(
    servers: list[Any], tmp_path: Path, segmenter: Segmenter
) -> None:
    clip = make_clip(tmp_path / "a.mp4", audio="aac")
    site = Site({"/a.mp4": clip.read_bytes()})
    servers.append(site)
    _, report = run(segmenter, f"{site.url}/a.mp4?token=SECRET", tmp_path / "out.mp4")
    assert report["input"] == f"{site.url}/a.mp4?***"
    assert report["frames"] == 12
    assert report["notices"] == [
        f"{site.url}/a.mp4?*** is a file of 0.5 s: read to its end, no frame is dropped"
    ]
    assert packets(tmp_path / "out.mp4", "audio") == packets(clip, "audio")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_latency_s": 0.1}, "--max-latency: for live sources"), ({"every_frame": True}, "--every-frame")],
)
def test_a_file_on_a_server_takes_no_live_options(
    options: dict[str, Any], words: str, servers: list[Any], tmp_path: Path, segmenter: Segmenter
) -> None:
    site = Site({"/a.mp4": make_clip(tmp_path / "a.mp4").read_bytes()})
    servers.append(site)
    with pytest.raises(IcnetError, match=words) as raised:
        run(segmenter, f"{site.url}/a.mp4?token=SECRET", tmp_path / "out.mp4", **options)
    assert raised.value.code == ExitCode.USAGE
    assert "SECRET" not in str(raised.value)


def test_a_live_source_begins_now(servers: list[Any], tmp_path: Path, segmenter: Segmenter) -> None:
    server = serve(servers, tmp_path, HANG_UP)
    with pytest.raises(IcnetError, match="--start is for files"):
        run(segmenter, server.url, tmp_path / "out.mp4", start_s=1.0)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("street.mp4", {"max_latency_s": 0.1}, "--max-latency: for cameras and network addresses"),
        ("street.mp4", {"reconnect": 1, "timeout_s": 1.0}, "--timeout, --reconnect: for cameras"),
        ("camera:0", {"max_latency_s": 0.1, "every_frame": True}, "give one of them"),
        ("camera:0", {"more": ("camera:1",)}, "one a command"),
    ],
)
def test_options_that_do_not_fit_are_refused(source: str, options: dict[str, Any], words: str) -> None:
    config = SegmentConfig(source=source, output=Path("out.mp4"), **options)
    with pytest.raises(IcnetError, match=words):
        config.check()


def test_a_recording_ends_at_a_time(servers: list[Any], tmp_path: Path, segmenter: Segmenter) -> None:
    server = serve(servers, tmp_path, HOLD, frames=80)
    _, report = run(segmenter, server.url, tmp_path / "out.mp4", every_frame=True, end_s=0.2, timeout_s=600.0)
    assert report["frames"] == 5
    assert report["duration_s"] == pytest.approx(0.2)


def test_a_file_whose_pictures_change_their_size_is_told_of_once(
    tmp_path: Path, segmenter: Segmenter
) -> None:
    """Two transport streams one behind the other: the second one's pictures are larger."""
    file = tmp_path / "in.ts"
    file.write_bytes(
        transport_stream(tmp_path) + transport_stream(tmp_path, start=36_000, size=(2 * WIDTH, 2 * HEIGHT))
    )
    _, report = run(segmenter, file, tmp_path / "out.mp4")
    assert report["notices"] == [
        f"{file}: the pictures changed to {2 * HEIGHT}x{2 * WIDTH}; "
        f"they are scaled to the first size, {HEIGHT}x{WIDTH}"
    ]
    assert report["output_size"] == [HEIGHT, WIDTH]


def test_a_local_playlist_stays_refused(tmp_path: Path, segmenter: Segmenter) -> None:
    (tmp_path / "a.ts").write_bytes(transport_stream(tmp_path))
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\na.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(IcnetError, match="cannot read"):
        run(segmenter, tmp_path / "list.m3u8", tmp_path / "out.mp4")


def test_the_public_name_of_a_source() -> None:
    assert live_module.public_name("street.mp4") == "street.mp4"
    assert live_module.public_name("rtsp://u:p@h/cam") == "rtsp://***@h/cam"
