"""`--cache device`: the pictures and labels live where the network trains, and are augmented there.

All that crosses to the device while training is a row of some thirty figures a sample, many batches at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from icnet_cli.data.augment import AugmentConfig, grain
from icnet_cli.data.augment_batch import ROW, SHRUNK, SIZE, Still, check_known, draw, largest_void, sample
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.files import picture_size
from icnet_cli.errors import device_error
from icnet_cli.pixels.cv import cv2
from icnet_cli.training.loader import Key
from icnet_cli.training.recipe import Stage
from icnet_cli.training.run import Run

MOST = 0.7  # of the device's free memory: the network needs the rest
_TOGETHER = 8  # batches drawn and sent at once: an epoch begins after the first of them
_READERS = 8
_DECODED = 64  # pictures that wait on the host at once


class Resident:
    """The training pictures on a device, and batches made of them there.

    Raises:
        IcnetError: exit 6 where they do not fit; 2 for an augmentation that only the host makes; 3 as reading does.
    """

    def __init__(self, run: Run) -> None:
        check_known(run.recipe.augment)
        self.run, self.device = run, run.device
        stages = run.recipe.stages or (run.recipe.stage_at(0.0),)
        smallest = min(stage.scale_range[0] for stage in stages)
        sizes = [picture_size(sample.labels) for sample in run.train.samples]
        height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
        _check_room(len(sizes), height, width, self.device)
        self.images = torch.zeros(len(sizes), 3, height, width, dtype=torch.uint8, device=self.device)
        self.labels = torch.full((len(sizes), height, width), 255, dtype=torch.uint8, device=self.device)
        self.stills = [self._keep(*item, smallest) for item in enumerate(_decoded(run.train))]
        noisy = run.recipe.augment.noise > 0
        self.grain = torch.from_numpy(grain()).to(self.device) if noisy else None
        self.fill = torch.tensor(run.recipe.normalisation.fill, dtype=torch.uint8, device=self.device)

    def _keep(self, index: int, pair: tuple[np.ndarray, np.ndarray], smallest_scale: float) -> Still:
        image, labels = pair
        height, width = labels.shape
        self.images[index, :, :height, :width] = torch.from_numpy(image).permute(2, 0, 1).to(self.device)
        self.labels[index, :height, :width] = torch.from_numpy(labels).to(self.device)
        red, green, blue = cv2.mean(image)[:3]
        return Still((height, width), (red, green, blue), largest_void(labels, smallest_scale))

    def batches(self, stage: Stage, epoch: int, batches: list[list[int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """As `feed.Feed` says. The next figures are drawn in another thread while the device works on these."""
        config = replace(self.run.recipe.augment, scale_range=stage.scale_range)
        parts = [batches[start : start + _TOGETHER] for start in range(0, len(batches), _TOGETHER)]

        def drawn(part: list[list[int]]) -> np.ndarray:
            return np.array([[self._draw(index, epoch, stage, config) for index in batch] for batch in part])

        with ThreadPoolExecutor(1) as ahead:
            following = [ahead.submit(drawn, part) for part in parts[:1]]
            for number in range(len(parts)):
                rows = following.pop().result()
                following = [ahead.submit(drawn, part) for part in parts[number + 1 : number + 2]]
                for one, shrinks in zip(self._sent(rows), _shrink(rows), strict=True):
                    yield sample(
                        self.images, self.labels, one, stage.crop_size, self.fill,
                        shrinks, self.grain, config.blur_radius,
                    )  # fmt: skip

    def _draw(self, index: int, epoch: int, stage: Stage, config: AugmentConfig) -> np.ndarray:
        rng = Key(self.run.config.seed, epoch, index).rng
        dataset = self.run.train

        def labels() -> np.ndarray:
            return dataset.layout.read_labels(dataset.samples[index])

        return draw(index, self.stills[index], stage.crop_size, config, rng, labels)

    def _sent(self, rows: np.ndarray) -> Tensor:
        """Float64 (batches, N, ROW), on the device; the host does not wait for it."""
        tensor = torch.from_numpy(rows).view(*rows.shape[:2], ROW)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def _shrink(rows: np.ndarray) -> list[bool]:
    """Whether any sample shrinks its picture, a batch of rows (batches, N, ROW)."""
    return (rows[..., SIZE] != rows[..., SHRUNK]).any(axis=(1, 2)).tolist()


def _decoded(dataset: SegmentationDataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs in order, read by a few threads at once (decoding lets go of Python's lock)."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(dataset), _DECODED):
            yield from readers.map(dataset.read, range(start, min(start + _DECODED, len(dataset))))


def _check_room(count: int, height: int, width: int, device: torch.device) -> None:
    need, free = 4 * count * height * width, _free_bytes(device)
    if free is not None and need > MOST * free:
        raise device_error(
            f"--cache device: {count} pictures of {height}x{width} need {need / 1e9:.1f} GB on {device}, of whose "
            f"{free / 1e9:.1f} GB free the network needs some; use --cache memory"
        )


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        # What torch keeps for later use is taken as seen from outside, and free to this process.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
