"""Servers over loopback that stand in for network cameras: they send, hold the line, hang up, and come back."""

from __future__ import annotations

import contextlib
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

try:
    from video_clips import HEIGHT, WIDTH, make_clip
except ImportError:  # from a test in another folder
    from tests.video.video_clips import HEIGHT, WIDTH, make_clip

TS = Fraction(1, 90_000)
FRAME = 3600  # ticks: 25 frames a second
HOLD, HANG_UP = "hold", "hang up"  # what follows the bytes that are sent

_scratch = iter(range(10**9))


def transport_stream(
    folder: Path,
    frames: int = 10,
    *,
    start: int = 0,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    step: int = FRAME,
) -> bytes:
    """Numbered pictures as mpeg-ts, `step` ticks of TS apart; `start` is the first time, beside the muxer's 1.4 s."""
    path = folder / f"feed{next(_scratch)}.ts"
    ticks = [start + step * n for n in range(frames)]
    make_clip(path, ticks, TS, size=size, options={"g": "5"}, rate=TS.denominator / Fraction(step))
    return path.read_bytes()


class _Server:
    """Serves each connection by the next of its scripts: what to send, and what to do then."""

    def __init__(self, scripts: Sequence[tuple[bytes, str]]) -> None:
        self._scripts = list(scripts)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.accepted = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._answer, args=(connection, *script), daemon=True).start()
        self._socket.close()  # whoever comes now is refused

    def _answer(self, connection: socket.socket, data: bytes, then: str) -> None:
        with contextlib.suppress(OSError):
            self.greet(connection)
            self.send(connection, data)
            if then == HANG_UP:
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def greet(self, connection: socket.socket) -> None:
        """What comes before the pictures."""

    def send(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)

    def close(self) -> None:
        for connection in [self._socket, *self._open]:
            with contextlib.suppress(OSError):
                connection.close()


class TcpServer(_Server):
    """mpeg-ts over bare TCP."""

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


class HttpStream(_Server):
    """A live stream over HTTP: no length, no end but the connection's."""

    def greet(self, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"


class RtspServer(_Server):
    """The few words of RTSP (RFC 2326) that play mpeg-ts in RTP (RFC 2250) over the same connection."""

    media = b"m=video 0 RTP/AVP 33\r\n"  # what is played, in SDP's words

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def greet(self, connection: socket.socket) -> None:
        sdp = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\n" + self.media + b"a=control:track0\r\n"
        self.requests: list[str] = []
        heard = b""
        while True:
            more = connection.recv(4096)
            if not more:
                raise OSError
            heard += more
            while b"\r\n\r\n" in heard:
                request, _, heard = heard.partition(b"\r\n\r\n")
                text = request.decode()
                self.requests.append(text)
                verb = text.split()[0]
                number = next(line for line in text.splitlines() if line.lower().startswith("cseq")).split(
                    ":"
                )[1]
                head = f"RTSP/1.0 200 OK\r\nCSeq: {number.strip()}\r\n"
                if verb == "OPTIONS":
                    connection.sendall(
                        f"{head}Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n".encode()
                    )
                elif verb == "DESCRIBE":
                    kind = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n"
                    connection.sendall((head + kind).encode() + sdp)
                elif verb == "SETUP":
                    lower = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n\r\n"
                    connection.sendall((head + lower).encode())
                elif verb == "PLAY":
                    connection.sendall(f"{head}Session: 1\r\n\r\n".encode())
                    return

    def send(self, connection: socket.socket, data: bytes) -> None:
        for number, at in enumerate(range(0, len(data), 7 * 188)):
            part = data[at : at + 7 * 188]
            rtp = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 90, 1) + part
            connection.sendall(struct.pack(">BBH", 0x24, 0, len(rtp)) + rtp)


class H264Camera(RtspServer):
    """H.264 in RTP, a packet for each of its units (RFC 6184), as cameras send it: its data is a bare stream."""

    media = b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"

    def send(self, connection: socket.socket, data: bytes) -> None:
        pictures = 0
        units = [unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        for number, unit in enumerate(units):
            is_picture = unit[0] & 0x1F in (1, 5)
            head = struct.pack(">BBHII", 0x80, 96 | is_picture << 7, number & 0xFFFF, pictures * FRAME, 1)
            connection.sendall(struct.pack(">BBH", 0x24, 0, len(head + unit)) + head + unit)
            pictures += is_picture


class UdpSender:
    """Sends mpeg-ts to a port again and again, with its own clock beginning anew each time, until it is closed."""

    def __init__(self, data: bytes, every_s: float = 0.002) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"udp://127.0.0.1:{self.port}"
        self._data, self._every_s, self._over = data, every_s, threading.Event()
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not self._over.is_set():
                for at in range(0, len(self._data), 7 * 188):
                    with contextlib.suppress(OSError):  # nobody listens yet
                        out.sendto(self._data[at : at + 7 * 188], ("127.0.0.1", self.port))
                    time.sleep(self._every_s)

    def close(self) -> None:
        self._over.set()


class Site:
    """A web server of files that are made as they are asked for; `asked` lists the paths.

    Args:
        ranges: whether it gives parts of a file; Python's own server does not.
    """

    def __init__(self, files: dict[str, Any], *, ranges: bool = True) -> None:
        self.files, self.asked, self.ranges = files, [], ranges
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                found = site.files.get(self.path.partition("?")[0])
                if callable(found):
                    found = found()
                if isinstance(found, tuple):  # a redirect
                    self.send_response(302)
                    self.send_header("Location", found[0])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if found is None:
                    self.send_error(404)
                    return
                self._send(found.encode() if isinstance(found, str) else found)

            def _send(self, data: bytes) -> None:
                asked = self.headers.get("Range", "") if site.ranges else ""
                first = int(asked.partition("=")[2].partition("-")[0] or 0) if asked else 0
                self.send_response(206 if asked else 200)
                if site.ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.send_header("Connection", "close")
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(data[first:])

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def closing_all() -> Iterator[list[Any]]:
    """A list of servers that are closed at the end."""
    servers: list[Any] = []
    try:
        yield servers
    finally:
        for server in servers:
            server.close()
