"""How much of each frame is road, car, person: a CSV row a frame.

python examples/class_shares.py examples/street.mp4 shares.csv
"""

from __future__ import annotations

import argparse
import csv

import numpy as np

import icnet_cli


def main(video: str, table: str, weights: str = "fast-scnn-camvid") -> None:
    segmenter = icnet_cli.load(weights)
    names = segmenter.classes.names
    with icnet_cli.open_video(video) as frames, open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pts", *names])
        for labels, pts in segmenter.stream(frames):
            share = np.bincount(labels.ravel(), minlength=len(names)) / labels.size
            writer.writerow([pts, *share.round(5)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("table", help="the CSV file to write")
    parser.add_argument("--weights", default="fast-scnn-camvid")
    arguments = parser.parse_args()
    main(arguments.video, arguments.table, arguments.weights)
