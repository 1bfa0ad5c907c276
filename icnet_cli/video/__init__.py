"""All of PyAV: reading a video with its own time, and writing one atomically with everything else kept.

with open_video("in.mp4") as reader:
    info = reader.info
    with VideoWriter("out.mp4", reader, width=info.width, height=info.height) as writer:
        for frame in reader:
            writer.write(frame.yuv420(), pts=frame.pts, duration=frame.duration)
"""

from __future__ import annotations

from icnet_cli.video.colour import Colour
from icnet_cli.video.containers import CODECS, CONTAINERS, OutputPlan, check_output
from icnet_cli.video.declared import Shortfall
from icnet_cli.video.frame import Frame, Planes
from icnet_cli.video.info import VideoInfo
from icnet_cli.video.reader import VideoReader, open_video
from icnet_cli.video.writer import VideoWriter

__all__ = [
    "CODECS",
    "CONTAINERS",
    "Colour",
    "Frame",
    "OutputPlan",
    "Planes",
    "Shortfall",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "check_output",
    "open_video",
]
