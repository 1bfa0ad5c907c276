"""Cameras and network addresses: which there are, what each may open, and how much of one may be shown.

An address is typed by the user, but what answers there is a stranger: so each kind has its own lists of protocols and
formats, none of which reaches a file. Addresses hold passwords and tokens, so only `Address.public` is ever
printed or stored.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from icnet_cli.config.live import is_live_name
from icnet_cli.errors import printable, usage_error
from icnet_cli.video.source import FORMATS

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_DEVICE = re.compile(r"/dev/(video\d+|v4l/\S+)")
_CAMERA = "camera:"

# What each scheme may open beside itself. None holds `file`, `data`, `concat` or `subfile`.
_HTTP = "http,https,tcp,tls,crypto"
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp", "rtsps": "rtsp,rtp,udp,tcp,tls", "rtmp": "rtmp,tcp", "rtmps": "rtmps,rtmp,tcp,tls",
    "http": _HTTP, "https": _HTTP, "udp": "udp", "tcp": "tcp",
}  # fmt: skip
# A playlist may also name sound and captions that come in files of their own.
_FORMATS = {
    "rtsp": "rtsp", "rtsps": "rtsp",
    "http": f"{FORMATS},hls,mpjpeg,aac,ac3,eac3,mp3,webvtt", "https": f"{FORMATS},hls,mpjpeg,aac,ac3,eac3,mp3,webvtt",
    "tcp": f"{FORMATS},mpjpeg",
}  # fmt: skip
_OPTIONS = {"rtsp": {"rtsp_flags": "prefer_tcp"}, "rtsps": {"rtsp_flags": "prefer_tcp"}}

# FFmpeg's name of the system's cameras, and what it allows of formats. By sys.platform.
_SYSTEMS = {"linux": ("v4l2", "video4linux2,v4l2"), "darwin": ("avfoundation",) * 2, "win32": ("dshow",) * 2}


@dataclass(frozen=True)
class Address:
    """A camera or a network address that can be opened.

    Attributes:
        kind: `camera`, or the scheme.
        target: what FFmpeg is told; it may hold a password, so it is never shown.
        public: what may be shown of it.
        format: FFmpeg's name of the input format, for cameras.
        formats, protocols: the only ones that may be used, in FFmpeg's form.
    """

    kind: str
    target: str = field(repr=False)
    public: str
    formats: str = FORMATS
    protocols: str = "none"
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_camera(self) -> bool:
        return self.kind == "camera"

    @property
    def is_http(self) -> bool:
        return self.kind in ("http", "https")

    def scrub(self, text: object) -> str:
        """The text with nothing of this address in it that may not be shown."""
        clean = str(text)
        if not self.is_camera:
            for secret in sorted(_secrets(self.target), key=len, reverse=True):
                clean = clean.replace(secret, "***")
        clean = re.sub(
            r"[a-z][a-z0-9+.-]*://[^\s'\"]*", lambda found: public_url(found[0]), clean, flags=re.I
        )
        return printable(clean, 500)


def is_address(text: str) -> bool:
    """Whether a source's name is a camera or has the form of an address: no file is looked for then."""
    return is_live_name(text)


def parse_address(text: str, platform: str = sys.platform) -> Address:
    """The camera or address that `text` names (`is_address` says that it is one).

    Raises:
        IcnetError: USAGE for an unknown scheme, an address without a host, or a camera without a name.
    """
    if text.startswith(_CAMERA) or _DEVICE.fullmatch(text):
        return _camera(text, platform)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    if not match and not text.startswith("/"):
        raise usage_error(f"an address begins with {text.partition(':')[0].lower()}://")
    if scheme not in _PROTOCOLS:
        raise usage_error(
            f"{printable(scheme, 20)}:// is not read here; there are {', '.join(_PROTOCOLS)}, and camera:0"
        )
    rest = text[len(scheme) + 3 :]
    if not rest or any(c.isspace() or not c.isprintable() for c in rest):
        raise usage_error(f"{public_url(text)} is no whole address: it needs a host, and no spaces")
    return Address(
        scheme, f"{scheme}://{rest}", public_url(text), _FORMATS.get(scheme, FORMATS), _PROTOCOLS[scheme],
        options=_OPTIONS.get(scheme, {}),
    )  # fmt: skip


def _camera(text: str, platform: str) -> Address:
    if platform not in _SYSTEMS:
        raise usage_error(f"cameras are not known on {platform}; give the address of a network camera")
    name = text.removeprefix(_CAMERA).strip()
    if not name:
        raise usage_error("camera: needs a number or a name, such as camera:0")
    target = name
    if platform == "linux":
        target = f"/dev/video{int(name)}" if name.isdecimal() else name
        if not _DEVICE.fullmatch(target):
            raise usage_error(f"camera:{printable(name, 60)} is none; use camera:0, camera:1, or /dev/video0")
    elif platform == "win32" and not name.isdecimal():
        target = f"video={name}"
    format, formats = _SYSTEMS[platform]
    return Address("camera", target, printable(text, 80), formats, "none", format)


def cameras_here() -> str:
    """The cameras that this Linux system has, in words for a message."""
    found = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return ", ".join(f"camera:{number}" for number in found) or "none"


# What may be shown ---------------------------------------------------------------------------------------------------

_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[a-z0-9._-]+)(:\d+)?", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")


def public_url(text: str) -> str:
    """Scheme, host, port and path; `***` for the user, the query, and what in a path looks like a key.

    Where it is not clear what is what (a password may hold `/`, `?` or `@`), less is shown.
    """
    scheme, _, rest = text.partition("://")
    scheme = printable(scheme.lower(), 20)
    hidden, at = "", rest.rfind("@")
    if at >= 0:
        if any(mark in rest[:at] for mark in "?#"):
            return f"{scheme}://***"
        hidden, rest = "***@" if at else "", rest[at + 1 :]  # udp://@239.0.0.1 names no user
    rest, query, _ = _split_at(rest, "?#")
    host, slash, path = rest.partition("/")
    if not _HOST.fullmatch(host):
        return f"{scheme}://***"
    parts = path.split("/")
    if scheme.startswith("rtmp"):  # whose last parts are the key of the stream
        parts = parts[:1] + ["***"] * (len(parts) > 1)
    shown = "/".join("***" if _may_be_key(part) else part for part in parts)
    return printable(f"{scheme}://{hidden}{host}{slash}{shown}{'?***' if query else ''}")


def _split_at(text: str, marks: str) -> tuple[str, str, str]:
    first = min((text.index(mark) for mark in marks if mark in text), default=len(text))
    return text[:first], text[first : first + 1], text[first + 1 :]


def _may_be_key(part: str) -> bool:
    """Whether a part of a path could be a token: no plain word, or a long run of letters and digits."""
    if not _PLAIN.fullmatch(part) or len(Path(part).stem) > 20:
        return part != ""
    return any(
        len(run) >= 16 or (len(run) >= 10 and any(c.isdigit() for c in run))
        for run in re.split(r"[._~-]", part)
    )


def _secrets(url: str) -> set[str]:
    """Everything in a URL that may be secret, as it is typed and as it is decoded; short ones could be any word."""
    rest = url.partition("://")[2]
    found = {url, rest}
    user, at, _ = rest.rpartition("@")
    if at:
        found |= {user, *user.split(":", 1)}
    query = _split_at(rest, "?#")[2]
    found |= {query, *(part.partition("=")[2] for part in re.split(r"[&;#]", query))}
    found |= {part for part in _split_at(rest, "?#")[0].split("/")[1:] if _may_be_key(part)}
    if url.startswith("rtmp"):
        found |= set(rest.split("/")[2:])
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= 3}
