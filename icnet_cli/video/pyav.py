"""What PyAV 18 and 19 tell in different ways, told in one: whoever wants a clock, a rate, a shape or tags asks here.

A rational that is not known is None in 18. In 19 it is a falsy AVRational, 0/1; one that is known is no Fraction, and
two of them are multiplied, divided and added in 32 bits, which rounds. So only Fractions and None leave this file.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.container import Container

# 18 refuses a file with a tag that is no UTF-8, unless it is told otherwise; it is asked for what 19 always does.
_BYTES_IN_TAGS: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if hasattr(Container, "metadata_errors") else {}
)


def open_input(source: str, **options: Any) -> Any:
    """An av.container.InputContainer, whatever bytes its tags hold; `options` are those of `av.open`."""
    return av.open(source, "r", **_BYTES_IN_TAGS, **options)


def rational(value: Any) -> Fraction | None:
    """A rational of PyAV's as a Fraction; None where it is not known: None, 0/1, and what has a zero denominator."""
    return Fraction(value.numerator, value.denominator) if value else None


def time_base_of(timed: Any) -> Fraction:
    """Seconds a tick of a stream, or of a packet.

    Raises:
        ValueError: where it has no clock, which no demuxer leaves so.
    """
    found = rational(timed.time_base)
    if found is None:
        raise ValueError("nothing says how long a tick is")
    return found


def rates_of(stream: Any) -> list[Fraction]:
    """Frames a second of a video, those that are known: what its times come to, then FFmpeg's guess."""
    found = (rational(rate) for rate in (stream.average_rate, stream.guessed_rate))
    return [rate for rate in found if rate is not None]


def rate_of(stream: Any) -> Fraction | None:
    """The best of `rates_of`; None where none is known."""
    return next(iter(rates_of(stream)), None)


def sample_aspect_of(stream_or_context: Any) -> Fraction:
    """How many times as wide as high a sample is; 1 where that is not known."""
    return rational(stream_or_context.sample_aspect_ratio) or Fraction(1)


def size_of(container: Any) -> int:
    """Bytes of what is read; 0 where nobody knows, which is a negative number in 18 and None in 19."""
    return max(0, int(container.size or 0))


def tags_of(described: Any) -> dict[str, str]:
    """The tags of a container or a stream, as text that can be written anywhere."""
    return _text(described.metadata)


def chapters_of(container: Any) -> list[dict[str, Any]]:
    """The chapters of an input, as `set_chapters` takes them; one without a clock is at no time, and left out."""
    return [
        {**chapter, "time_base": base, "metadata": _text(chapter["metadata"])}
        for chapter in container.chapters()
        if (base := rational(chapter["time_base"])) is not None
    ]


def _text(tags: dict[str, str]) -> dict[str, str]:
    return {_readable(key): _readable(value) for key, value in tags.items()}


def _readable(text: str) -> str:
    """Bytes that were no UTF-8 come as lone surrogates: PyAV would write them as they were, where UTF-8 is promised."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
