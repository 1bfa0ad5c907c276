"""Reading a video and writing it again, as a pipeline does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import VideoWriter, open_video

TICK = Fraction(1, 90000)
STEADY = [n * 3003 for n in range(12)]
VARIABLE = [0, 3003, 6006, 15000, 15180, 40000, 40100, 90000, 91000, 130000, 130900, 200000]
GAP = [n * 3003 for n in range(6)] + [900000 + n * 3003 for n in range(6)]
OFFSET = [123457 + n * 3003 for n in range(12)]
PATTERNS = {"steady": STEADY, "variable": VARIABLE, "gap": GAP, "offset": OFFSET}


def copy(source: Path, target: Path, **options: Any) -> VideoWriter:
    """Read and write every frame of `source`, as a pipeline does."""
    span = {key: options.pop(key) for key in ("start_s", "end_s") if key in options}
    limit = options.pop("limit", None)
    rgb = options.pop("rgb", False)
    with open_video(source, **span) as reader:
        info = reader.info
        with VideoWriter(target, reader, width=info.width, height=info.height, **options) as writer:
            for frame in reader:
                if limit is not None and writer.frames_written == limit:
                    break
                writer.write(frame.rgb() if rgb else frame.yuv420(), pts=frame.pts, duration=frame.duration)
    return writer


def refusal(code: ExitCode, source: Path, target: Path, **options: Any) -> str:
    with pytest.raises(IcnetError) as caught:
        copy(source, target, **options)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)
