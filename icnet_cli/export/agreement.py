"""Whether an exported file says what the network says: the share of pixels with the same label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from icnet_cli.checkpoints.format import WeightsMeta
from icnet_cli.errors import input_error
from icnet_cli.inference.backends.base import RAW, ExportedModel
from icnet_cli.models import Network
from icnet_cli.models.layers import resize
from icnet_cli.pixels.files import PICTURE_SUFFIXES, files_below, read_picture, shrink_or_grow

Picture = NDArray[np.uint8]
MOST_PICTURES = 8


@dataclass(frozen=True)
class Agreement:
    """`share` of all pixels compared; `worst` of a single picture."""

    share: float
    worst: float
    pictures: int


def street_frame(height: int, width: int, seed: int = 0) -> Picture:
    """A drawn street, (H, W, 3) uint8 RGB: sky, houses, road, cars, and the noise of a camera."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height)[:, None, None]
    frame = np.where(rows < 0.45, (150 - 60 * rows) * [0.8, 1.0, 1.3], (60 + 50 * rows) * [1.0, 1.0, 1.0])
    frame = np.broadcast_to(frame, (height, width, 3)).copy()
    for _ in range(24):
        top, left = rng.uniform(0.15, 0.7) * height, rng.uniform(-0.05, 0.95) * width
        tall, wide = rng.uniform(0.05, 0.3) * height, rng.uniform(0.02, 0.2) * width
        place = slice(int(top), int(top + tall) + 1), slice(max(0, int(left)), int(left + wide) + 1)
        frame[place] = rng.uniform(20, 230, 3)
    frame += rng.normal(0, 8, frame.shape)
    return frame.clip(0, 255).astype(np.uint8)


def picture_files(source: Path) -> list[Path]:
    """A picture, or those of a folder and its sub-folders, sorted.

    Raises:
        IcnetError: exit 3 where there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise input_error(f"no such file or folder: {source}")
    found = sorted(p for p in files_below(source) if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    if not found:
        raise input_error(f"{source} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
    return found


def spread(files: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of them, evenly spread."""
    if len(files) <= most:
        return list(files)
    return [files[i] for i in np.linspace(0, len(files) - 1, most).round().astype(int)]


def frames_at(files: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> Iterator[Picture]:
    """Pictures to compare on, each at the next of `sizes`: these files, or the drawn street at every size."""
    if not files:
        for seed, size in enumerate(sizes):
            yield street_frame(*size, seed=seed)
        return
    for index in range(max(len(files), len(sizes))):
        yield shrink_or_grow(read_picture(files[index % len(files)]), sizes[index % len(sizes)])


def model_input(frame: Picture, model: ExportedModel) -> NDArray[np.generic]:
    """A picture as the file takes it."""
    if model.ports.input != RAW:
        return np.ascontiguousarray(frame[None])
    pictures = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    return model.meta.normalisation.apply(pictures).contiguous().numpy()


@torch.inference_mode()
def original_labels(network: Network, meta: WeightsMeta, frame: Picture) -> Picture:
    """What the network itself says, in fp32 and with nothing folded: (H, W) uint8."""
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    scores = network.eval().scores(meta.normalisation.apply(picture))
    logits = resize(scores, (frame.shape[0], frame.shape[1]), network.align_corners)
    return logits.argmax(dim=1)[0].to(torch.uint8).numpy()


def compare(model: ExportedModel, network: Network, frames: Iterator[Picture]) -> Agreement:
    """Run both on every frame."""
    same = pixels = 0
    shares: list[float] = []
    for frame in frames:
        equal = model.labels(model_input(frame, model))[0] == original_labels(network, model.meta, frame)
        same, pixels = same + int(equal.sum()), pixels + equal.size
        shares.append(float(equal.mean()))
    return Agreement(same / pixels, min(shares), len(shares))
