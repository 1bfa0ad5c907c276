"""Live sources through the whole command: Ctrl-C and TERM finish the file, and no password is ever printed."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.cli.progress import JSON_EVERY_S
from tests.robust.common import frames_in
from tests.robust.launcher import Ended, Launcher
from tests.robust.live import heal
from tests.video.live_servers import (
    HANG_UP,
    HOLD,
    HttpStream,
    RtspServer,
    TcpServer,
    closing_all,
    transport_stream,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

SECRET = "hunter2SECRET"
PATIENCE_S = 300.0  # a machine may have much else to do


@pytest.fixture
def servers() -> Iterator[list[Any]]:
    with closing_all() as all_of_them:
        yield all_of_them


class Halting(TcpServer):
    """Sends nine tenths, waits for longer than there is between two lines of progress, and sends the rest.

    So a line is told before the camera has sent its last picture, however fast the pictures before were done.
    """

    def send(self, connection: socket.socket, data: bytes) -> None:
        most = len(data) * 9 // 10
        connection.sendall(data[:most])
        time.sleep(JSON_EVERY_S + 0.5)
        connection.sendall(data[most:])


def until_signalled(
    launcher: Launcher, number: int, url: str, output: Path, weights: Path, *options: str, frames: int = 1
) -> Ended:
    """A run that is sent a signal as soon as it tells of so many pictures."""
    errors = Path(launcher._folder.name, "err")
    errors.unlink(missing_ok=True)  # of the run before
    run = launcher.start(
        "segment", url, "-o", output, "--weights", weights, "--every-frame", "--timeout", "600", "--progress", "json",
        "--backend", "torch", *options,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        told = re.findall(r'"done": (\d+)', errors.read_text()) if errors.exists() else []
        if told and int(told[-1]) >= frames:
            break
        time.sleep(0.02)
    else:
        run.kill(signal.SIGKILL)
        pytest.fail(f"not told of {frames} pictures within {PATIENCE_S:.0f} s: {run.wait()}")
    run.kill(number)
    return run.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_signal_finishes_the_file(
    number: int, code: int, name: str, servers: list[Any], launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    """The camera sends nothing more by then, and would be waited for ten minutes."""
    server = Halting([(transport_stream(tmp_path, 80), HOLD)])
    servers.append(server)
    ended = until_signalled(launcher, number, server.url, tmp_path / name, weights, "--json")
    assert not ended.hung
    assert (ended.code, ended.traceback) == (code, False), ended.err
    report = json.loads(ended.out)
    assert frames_in(tmp_path / name) == report["frames"] > 0
    assert report["problem"] is None
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
    assert ("icnet: terminated" in ended.err) == (code == 143)


def test_twenty_drops_heal(tmp_path: Path, figure: Callable[[str], None]) -> None:
    healed = heal(20, tmp_path)
    figure(str(healed))
    assert (healed.reconnects, healed.gaps, healed.frames) == (20, 20, 21 * 6)
    assert (healed.backwards, healed.wrong) == (0, 0)


def test_ctrl_c_while_it_connects(
    servers: list[Any], launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    server = TcpServer([(b"", HOLD)])
    servers.append(server)
    run = launcher.start(
        "segment", server.url, "-o", tmp_path / "out.mp4", "--weights", weights, "--timeout", "600"
    )
    while not server.accepted:
        time.sleep(0.01)
    run.kill(signal.SIGINT)
    ended = run.wait()
    assert (ended.code, ended.hung) == (130, False)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("kind", [TcpServer, HttpStream, RtspServer])
def test_no_password_is_printed_or_kept(
    kind: Any, servers: list[Any], launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    """In progress, notices, the report, the output, and what FFmpeg says of it all with --debug."""
    feed = transport_stream(tmp_path, 80)
    server = kind([(feed, HANG_UP), (feed, HANG_UP)])
    servers.append(server)
    url = server.url.replace("//", f"//user:{SECRET}@") + f"?token={SECRET}"
    if kind is TcpServer:  # whose query is FFmpeg's own
        url = server.url + f"?listen=0&token={SECRET}"
    output = tmp_path / "out" / "out.mkv"
    output.parent.mkdir()
    ended = launcher.run(
        "segment", url, "-o", output, "--weights", weights, "--every-frame", "--reconnect", "2", "--timeout", "3",
        "--json", "--debug", "--progress", "json", "--backend", "torch", "--stats", output.parent / "s.csv",
    )  # fmt: skip
    assert ended.code == 3, ended.err  # it came back once, and then no more
    report = json.loads(ended.out)
    assert "***" in report["input"]
    assert report["reconnects"] == 1
    said = ended.out + ended.err
    assert "connecting again" in said
    assert "Traceback" in said  # --debug
    assert SECRET not in said
    for path in output.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes()
        assert SECRET not in path.name


@pytest.mark.parametrize(
    "url", ["rtsp://u:{}@127.0.0.1:1/x", "http://127.0.0.1:1/x?k={}", "rtmp://127.0.0.1:1/app/{}"]
)
def test_no_password_is_printed_where_nobody_answers(
    url: str, launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    for options in ((), ("--debug",)):
        ended = launcher.run(
            "segment", url.format(SECRET), "-o", tmp_path / "o.mp4", "--weights", weights, *options
        )
        assert ended.code == 3
        assert "connection refused" in ended.err
        assert SECRET not in ended.err + ended.out


@pytest.mark.parametrize(
    "url", ["ftp://u:{}@h/x", "rtsp:/u:{}@h/x", "http://u:{} @h/x", "rtsp://u:{}@h/x --start 3", "file:///{}"]
)
def test_no_password_is_printed_where_it_is_refused(
    url: str, launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    ended = launcher.run("segment", url.format(SECRET), "-o", tmp_path / "o.mp4", "--weights", weights)
    assert ended.code == 2
    assert SECRET not in ended.err + ended.out


def test_what_a_killed_recording_left_is_put_together(
    servers: list[Any], launcher: Launcher, weights: Path, tmp_path: Path
) -> None:
    """Half a minute came, and a power cut; no camera is asked for the rest."""
    data = transport_stream(tmp_path, 60, step=54_000)  # 0.6 s a frame
    server = Halting([(data, HOLD)])
    servers.append(server)
    output = tmp_path / "out.mp4"
    killed = until_signalled(launcher, signal.SIGKILL, server.url, output, weights, frames=40)
    assert killed.code == -signal.SIGKILL
    assert not output.exists()
    assert (tmp_path / "out.mp4.part").is_dir()
    server.close()
    again = launcher.run(
        "segment", server.url, "-o", output, "--weights", weights, "--every-frame", "--timeout", "600", "--backend",
        "torch", "--resume",
    )  # fmt: skip
    assert again.code == 0, again.err
    started_within_10_20_30_s = (17, 34, 50)
    assert frames_in(output) in started_within_10_20_30_s  # by how fast this machine was
    assert not (tmp_path / "out.mp4.part").exists()
