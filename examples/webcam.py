"""A camera's picture with its classes painted over it; q quits.

python examples/webcam.py            # camera 0
python examples/webcam.py drive.mp4  # or a file
"""

from __future__ import annotations

import argparse

import numpy as np

import icnet_cli
from icnet_cli.errors import IcnetError
from icnet_cli.pipeline.show import require_display
from icnet_cli.pixels.cv import cv2


def main(source: str = "0", weights: str = "fast-scnn-camvid", show: bool = True) -> int:
    if show:
        try:
            require_display()  # without one, OpenCV's toolkit ends the process
        except IcnetError:
            raise SystemExit(
                "webcam.py opens a window, which cannot be had here; see `icnet segment`"
            ) from None
    segmenter = icnet_cli.load(weights)
    palette = segmenter.classes.palette_array()
    camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not camera.isOpened():
        raise SystemExit(f"webcam.py cannot open {source}")
    frames = 0
    while True:
        there, frame = camera.read()  # BGR
        if not there:
            break
        labels = segmenter.labels(np.ascontiguousarray(frame[..., ::-1]))
        painted = cv2.addWeighted(frame, 0.5, palette[labels][..., ::-1], 0.5, 0)
        frames += 1
        if show:
            cv2.imshow("icnet", painted)
            if cv2.waitKey(1) == ord("q"):
                break
    camera.release()
    return frames


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", nargs="?", default="0", help="a camera's number or a video file (default: 0)"
    )
    parser.add_argument("--weights", default="fast-scnn-camvid")
    arguments = parser.parse_args()
    print(f"{main(arguments.source, arguments.weights)} frames")
