"""The loop that a first program has: what `icnet segment` is held against, on the same video and the same weights.

Decode, RGB, normalised in numpy, the network as the paper writes it (published head, nothing folded, contiguous fp32),
scores interpolated to full size, arg-max, palette, blended in numpy, encoded by x264's own preset; one after the other,
under the default allocator.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import LoadedWeights, Normalisation, load_weights
from icnet_cli.errors import input_error
from icnet_cli.models import Network, build
from icnet_cli.pixels.cv import cv2
from icnet_cli.video.naive import Picture, RgbWriter, read_rgb

ALPHA = 0.5


def naive_run(video: Path, weights: str, size: tuple[int, int], frames: int | None) -> dict[str, Any]:
    """Run the loop over at most `frames` frames, with the network at `size`; the first frame only warms up.

    Returns:
        `frames`, `fps` (file in to file out) and `stages_ms`, the median of each.

    Raises:
        IcnetError: INPUT where no frame is left to be timed.
    """
    loaded = load_weights(find_weights(weights))
    network = as_published(loaded)
    spent: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        pictures = islice(read_rgb(video), None if frames is None else frames + 1)
        first = next(pictures)
        with RgbWriter(Path(folder) / "out.mp4", even(first.shape)) as writer:
            _one(first, network, loaded, size, writer, defaultdict(list))
            start = time.perf_counter()
            done = 0
            while True:
                with _timed(spent, "decode"):
                    picture = next(pictures, None)
                if picture is None:
                    break
                _one(picture, network, loaded, size, writer, spent)
                done += 1
        seconds = time.perf_counter() - start
    if not done:
        raise input_error(
            f"{video} has one frame, and --naive times those after the first; name a longer one"
        )
    stages = {name: median(times) for name, times in spent.items()}
    return {"frames": done, "fps": done / seconds, "stages_ms": stages}


def as_published(loaded: LoadedWeights) -> Network:
    """The same weights in the head that the paper has: the same function but for the outer ring of its maps."""
    if loaded.meta.config.get("head") != "fused":
        return loaded.network
    network = build(loaded.meta.model, {**loaded.meta.config, "head": "published"})
    network.load_state_dict(loaded.network.state_dict())
    return network.eval()


def even(shape: tuple[int, ...]) -> tuple[int, int]:
    """What 4:2:0 can hold of a picture of that shape."""
    return shape[0] // 2 * 2, shape[1] // 2 * 2


def _one(
    picture: Picture,
    network: Network,
    loaded: LoadedWeights,
    size: tuple[int, int],
    writer: RgbWriter,
    spent: dict[str, list[float]],
) -> None:
    height, width = even(picture.shape)
    picture = picture[:height, :width]
    with _timed(spent, "prepare"):
        x = normalised(cv2.resize(picture, size[::-1]), loaded.meta.normalisation)
    with torch.inference_mode():
        with _timed(spent, "forward"):
            scores = network.scores(x)
        with _timed(spent, "postprocess"):
            logits = F.interpolate(
                scores, (height, width), mode="bilinear", align_corners=network.align_corners
            )
            labels = logits.argmax(dim=1)[0].numpy().astype(np.uint8)
    with _timed(spent, "render"):
        colours = loaded.meta.classes.palette_array()[labels]
        mixed = (picture * (1 - ALPHA) + colours * ALPHA).astype(np.uint8)
    with _timed(spent, "encode"):
        writer.write(mixed)


def normalised(picture: Any, normalisation: Normalisation) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32, in numpy."""
    mean, std = np.asarray(normalisation.mean, np.float32), np.asarray(normalisation.std, np.float32)
    x: NDArray[np.float32] = (picture.astype(np.float32) - mean) / std
    if normalisation.order == "BGR":
        x = x[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))[None])


def compared(report: Mapping[str, Any], naive: Mapping[str, Any]) -> dict[str, Any]:
    """The naive run, and how many times faster ours was: as a whole, and from scores to labels."""
    labels = naive["stages_ms"]["postprocess"], report["stages_ms"]["postprocess"]
    return {
        **naive,
        "speedup": report["end_to_end_fps"] / naive["fps"],
        "labels_speedup": labels[0] / labels[1] if labels[1] else None,
    }


@contextmanager
def _timed(spent: dict[str, list[float]], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    spent[stage].append((time.perf_counter() - start) * 1000)
