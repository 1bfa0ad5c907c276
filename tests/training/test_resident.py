"""--cache device: what trains is what would have trained from the host's memory, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icnet_cli.config import TrainConfig
from icnet_cli.data.files import picture_size
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.training import resident
from icnet_cli.training.feed import HostFeed, batches_of, open_feed
from icnet_cli.training.prepare import prepare
from icnet_cli.training.resident import Resident
from icnet_cli.training.run import Run
from icnet_cli.training.trainer import Trainer, train


@pytest.fixture
def on_device(config: TrainConfig) -> TrainConfig:
    return replace(config, cache="device")


def epoch(run: Run, feed: HostFeed | Resident, number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    stage = run.recipe.stage_at(0.0)
    return list(feed.batches(stage, number, batches_of(run, stage, number)))


def with_noise_and_blur(run: Run) -> Run:
    augment = replace(run.recipe.augment, noise=40.0, blur=3.0)
    return replace(run, recipe=replace(run.recipe, augment=augment))


@pytest.mark.parametrize("noisy", [False, True])
def test_the_same_samples_in_the_same_order(on_device: TrainConfig, noisy: bool) -> None:
    run = with_noise_and_blur(prepare(on_device)) if noisy else prepare(on_device)
    feed = open_feed(run)
    assert isinstance(feed, Resident)
    for number in (0, 3):
        here, there = epoch(run, feed, number), epoch(run, HostFeed(run), number)
        assert len(here) == len(there) == 3
        for (pictures, labels), (expected, wanted) in zip(here, there, strict=True):
            assert (pictures.dtype, labels.dtype) == (torch.uint8, torch.uint8)
            assert pictures.shape == expected.shape
            assert (labels == wanted).float().mean() > 0.98
            assert (pictures.int() - expected.int()).abs().float().mean() < 1
    other = epoch(run, feed, 1)[0][0]
    assert (other.int() - epoch(run, feed, 0)[0][0].int()).abs().float().mean() > 5  # the failing twin


def test_many_batches_are_sent_at_once(on_device: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepare(on_device)
    feed = Resident(run)
    whole = epoch(run, feed, 0)
    monkeypatch.setattr(resident, "_TOGETHER", 2)
    for (one, labels), (other, same) in zip(whole, epoch(run, feed, 0), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, same)


def test_pictures_of_different_sizes(on_device: TrainConfig, camvid: Path) -> None:
    for folder in ("train", "trainannot"):
        path = camvid / folder / "train_02.png"
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:50, :70])
    run = prepare(on_device)
    feed = Resident(run)
    assert feed.images.shape == (6, 3, 72, 96)
    assert {still.size for still in feed.stills} == {(72, 96), (50, 70)}
    for (pictures, labels), (expected, wanted) in zip(
        epoch(run, feed, 0), epoch(run, HostFeed(run), 0), strict=True
    ):
        assert (labels == wanted).float().mean() > 0.98
        assert (pictures.int() - expected.int()).abs().float().mean() < 1


def test_what_does_not_fit_is_refused_in_a_line(
    on_device: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = 4 * 6 * 72 * 96
    monkeypatch.setattr(resident, "_free_bytes", lambda device: int(need / resident.MOST) + 10)
    Resident(prepare(on_device))
    monkeypatch.setattr(resident, "_free_bytes", lambda device: need)
    with pytest.raises(IcnetError, match="--cache memory") as caught:
        Trainer(prepare(replace(on_device, output=Path(f"{on_device.output}-2"))))
    assert caught.value.code is ExitCode.DEVICE
    assert "\n" not in str(caught.value)


def test_memory_that_torch_keeps_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """From outside it is taken; of it, only what tensors hold is."""
    figures = {"mem_get_info": (500, 2000), "memory_reserved": 900, "memory_allocated": 300}
    for name, value in figures.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert resident._free_bytes(torch.device("cuda")) == 500 + 900 - 300


def test_a_size_is_read_from_a_files_beginning(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400), np.uint8)
    for name in ("a.png", "b.jpg", "c.bmp"):
        cv2.imwrite(str(tmp_path / name), noise)
        assert (tmp_path / name).stat().st_size > 1 << 16
        assert picture_size(tmp_path / name) == (300, 400)
    late = (tmp_path / "b.jpg").read_bytes()
    notes = b"".join(b"\xff\xee\xff\xff" + bytes(0xFFFF - 2) for _ in range(2))
    (tmp_path / "b.jpg").write_bytes(late[:2] + notes + late[2:])
    assert picture_size(tmp_path / "b.jpg") == (300, 400)


def test_it_learns(on_device: TrainConfig) -> None:
    losses = [event.loss for event in train(replace(on_device, steps=12)) if hasattr(event, "loss")]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_does_not_decode_keeps_its_code(
    config: TrainConfig, camvid: Path, workers: int
) -> None:
    """Whole by its structure, so that only reading it shows; also where another process reads it."""
    path = camvid / "train" / "train_03.png"
    whole = bytearray(path.read_bytes())
    at = whole.find(b"IDAT") + 4
    whole[at : at + 40] = bytes(40)
    length = int.from_bytes(whole[at - 8 : at - 4], "big")
    import zlib

    whole[at + length : at + length + 4] = zlib.crc32(whole[at - 4 : at + length]).to_bytes(4, "big")
    path.write_bytes(bytes(whole))
    with pytest.raises(IcnetError, match="train_03") as caught:
        list(train(replace(config, workers=workers)))
    assert caught.value.code is ExitCode.INPUT


def test_what_is_kept_in_memory_is_read_before_processes_are_forked(config: TrainConfig) -> None:
    run = prepare(replace(config, cache="memory", workers=2))
    open_feed(run)
    assert len(run.train._cached or {}) == len(run.train)
    lazy = prepare(replace(config, cache="memory", output=Path(f"{config.output}-2")))
    open_feed(lazy)
    assert not lazy.train._cached
