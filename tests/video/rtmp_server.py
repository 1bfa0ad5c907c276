"""The few words of RTMP (Adobe, 1.0) that play an flv file to whoever asks for a stream, over loopback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from live_servers import _Server

_CHUNK = 1 << 20  # bytes: more than any message here has, so that each is a chunk
_HELLO = 1536
_COMMAND, _SET_CHUNK_SIZE, _WINDOW = 20, 1, 5  # types of messages
GOODBYE = "goodbye"  # what follows the pictures: the server says that the stream is over


class RtmpServer(_Server):
    """Serves each connection an flv file: what follows may be GOODBYE, too."""

    @property
    def url(self) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/secretkey"

    def greet(self, connection: socket.socket) -> None:
        hello = _exactly(connection, 1 + _HELLO)
        connection.sendall(b"\x03" + bytes(_HELLO) + hello[1:])
        _exactly(connection, _HELLO)
        connection.sendall(_message(_SET_CHUNK_SIZE, struct.pack(">I", _CHUNK)))
        heard, words = b"", ["connect", "createStream", "play"]
        while words:
            heard += _some(connection)
            call = _amf(words[0]) + b"\0"
            at = heard.find(call) + len(call)
            if at >= len(call) and len(heard) >= at + 8:
                self._reply(connection, words.pop(0), struct.unpack_from(">d", heard, at)[0])

    def _reply(self, connection: socket.socket, word: str, number: float) -> None:
        if word == "connect":
            connected = {"level": "status", "code": "NetConnection.Connect.Success"}
            connection.sendall(_message(_WINDOW, struct.pack(">I", _CHUNK)))
            connection.sendall(_message(_COMMAND, _amf("_result", number, {"fmsVer": "FMS/3"}, connected)))
        elif word == "createStream":
            connection.sendall(_message(_COMMAND, _amf("_result", number, None, 1.0)))
        else:
            connection.sendall(_status("NetStream.Play.Start"))

    def send(self, connection: socket.socket, data: bytes) -> None:
        for kind, at, body in _tags(data):
            connection.sendall(_message(kind, body, at, stream=1))

    def _answer(self, connection: socket.socket, data: bytes, then: str) -> None:
        super()._answer(connection, data, then)
        if then == GOODBYE:
            connection.sendall(_status("NetStream.Play.UnpublishNotify"))


def _tags(flv: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, milliseconds and body of each tag."""
    at = 13
    while at + 11 <= len(flv):
        length, ms = int.from_bytes(flv[at + 1 : at + 4], "big"), int.from_bytes(flv[at + 4 : at + 7], "big")
        yield flv[at], ms, flv[at + 11 : at + 11 + length]
        at += 11 + length + 4


def _message(kind: int, body: bytes, at: int = 0, *, stream: int = 0) -> bytes:
    head = b"\x03" + at.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes([kind])
    return head + struct.pack("<I", stream) + body


def _status(code: str) -> bytes:
    return _message(_COMMAND, _amf("onStatus", 0.0, None, {"level": "status", "code": code}), stream=1)


def _amf(*values: Any) -> bytes:
    """Values in the form of AMF 0: text, numbers, objects, null."""
    out = b""
    for value in values:
        if isinstance(value, str):
            out += b"\x02" + _name(value)
        elif isinstance(value, dict):
            out += b"\x03" + b"".join(_name(key) + _amf(each) for key, each in value.items()) + b"\0\0\x09"
        else:
            out += b"\x05" if value is None else b"\0" + struct.pack(">d", value)
    return out


def _name(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise OSError("it hung up")
    return data


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise OSError("it hung up")
        data += more
    return data
