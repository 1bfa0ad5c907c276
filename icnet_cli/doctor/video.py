"""What can be decoded and encoded here, in software and in hardware."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from icnet_cli.doctor.findings import ABSENT, OK, WARNING, Finding, version_of

if TYPE_CHECKING:
    from icnet_cli.video.abilities import Ability


def codecs() -> Iterator[Finding]:
    """FFmpeg as PyAV brings it, and the codecs that the tool uses."""
    from icnet_cli.video.abilities import decoders, encoders, ffmpeg_version

    group = "video"
    yield Finding(group, "ffmpeg", OK, f"{ffmpeg_version()}, in PyAV {version_of('av')}")
    for what, found in (("decoders", decoders()), ("encoders", encoders())):
        yield _summary(group, what, found, WARNING)


def hardware() -> Iterator[Finding]:
    """Hardware codecs, each tried on a few frames."""
    from icnet_cli.video.abilities import hardware_decoders, hardware_encoders

    group = "video"
    for what, found in (
        ("hardware decoders", hardware_decoders()),
        ("hardware encoders", hardware_encoders()),
    ):
        yield _summary(group, what, found, ABSENT)


def _summary(group: str, what: str, found: Sequence[Ability], otherwise: str) -> Finding:
    works = [ability.name for ability in found if ability.works]
    lacking = [ability.name for ability in found if not ability.works]
    if not works:
        return Finding(
            group, what, otherwise, f"none works here ({', '.join(lacking) or 'none is built in'})"
        )
    complete = otherwise == ABSENT or not lacking
    more = f"; not {', '.join(lacking)}" if lacking else ""
    return Finding(group, what, OK if complete else otherwise, ", ".join(works) + more)
