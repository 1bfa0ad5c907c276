"""Which pixel formats an encoder takes: known before any work."""

from __future__ import annotations

import av

from icnet_cli.errors import printable, usage_error
from icnet_cli.video.containers import OutputPlan

_USUAL = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gray", "bgr0")


def check_pix_fmt(plan: OutputPlan, pix_fmt: str | None) -> None:
    """Raise a usage error for a pixel format that the plan's encoder does not take, naming some that it does."""
    if pix_fmt is None or plan.codec.hardware:  # what hardware takes is known to its driver
        return
    # yuvj names say their range by their name, which here is the source's.
    formats = av.Codec(plan.codec.encoder, "w").video_formats or ()
    taken = [format.name for format in formats if not format.name.startswith("yuvj")]
    if pix_fmt not in taken:
        known = [name for name in _USUAL if name in taken]
        raise usage_error(
            f"--pix-fmt {printable(pix_fmt, 40)}: the encoder {plan.codec.encoder} takes {', '.join(known)}"
        )


def has_halved_colour(pix_fmt: str | None) -> bool:
    """Whether a video in this format has the chroma of 4:2:0, so that nothing is lost by painting on such planes."""
    if pix_fmt is None:
        return True
    try:
        layout = av.VideoFormat(pix_fmt, 16, 16)
    except ValueError:
        return True
    return not layout.is_rgb and (layout.chroma_width(16), layout.chroma_height(16)) == (8, 8)
