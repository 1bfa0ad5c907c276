"""A run folder as training leaves it, written by hand."""

from __future__ import annotations

import json
from pathlib import Path

from icnet_cli.classes import load_table
from icnet_cli.pixels.files import write_labels_png, write_picture
from icnet_cli.reports.plots import METRICS_COLUMNS
from icnet_cli.reports.train_page import (
    CLASSES_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    RUN_FILE,
    SAMPLES,
    sample_path,
)
from tests.reports.examples import HARM, labels, picture

EVALUATIONS = (100, 200, 300, 400, 500, 600, 700, 800)


def write_run(folder: Path, rows: int = 80) -> Path:
    """800 steps with an evaluation each hundred, and two pictures sampled at each."""
    folder.mkdir(parents=True)
    lines = [",".join(METRICS_COLUMNS)]
    for row in range(1, rows + 1):
        step = 10 * row
        lines.append(f"{step},{row // 8},{3 / row:.6f},{0.02 * (1 - row / 81):.8f},,,25.00,{row}.0")
        if step in EVALUATIONS:
            lines.append(f"{step},{row // 8},,,{step / 1000 - (step == 800) * 0.3:.6f},{0.9:.6f},,{row}.5")
    (folder / METRICS_FILE).write_text("\n".join(lines) + "\n")
    run = {
        "model": "icnet",
        "dataset": f"/home/me/data/{HARM.replace('/', '')}",
        "batch": 8,
        "accumulate": 1,
        "lr": 0.02,
        "processes": 2,
        "recipe": {
            "name": HARM,
            "about": "Words with spaces / and a slash.",
            "stages": [],
            "pretrained": None,
        },
        "config": {"recipe": "/home/me/own.yaml", "dataset": "/home/me/data", "flip": False, "seed": 3},
    }
    (folder / RUN_FILE).write_text(json.dumps(run))
    here = [{"step": 0, "icnet": "0.1.0", "cpu": HARM, "gpu": None}, {"step": 300, "cpu": "another"}]
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(here))
    (folder / SAMPLES).mkdir()
    (folder / SAMPLES / CLASSES_FILE).write_text(json.dumps(load_table("camvid").to_dict()))
    for number in range(2):
        write_picture(sample_path(folder, "image", number), picture(number))
        write_labels_png(sample_path(folder, "truth", number), labels(number))
        for step in EVALUATIONS:
            write_labels_png(sample_path(folder, str(step), number), labels(number + step % 300))
    return folder
