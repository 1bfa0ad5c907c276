"""The device's augmentation is the host's: the same numbers, the same pictures but for rounding, the same labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from icnet_cli.data import augment_batch
from icnet_cli.data.augment import AugmentConfig, augment, grain
from icnet_cli.data.augment_batch import Still, check_known, draw, largest_void, sample
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2

FILL = (9, 99, 199)
STILL = AugmentConfig(scale_range=(1, 1), flip=False)
CONFIGS = {
    "nothing": STILL,
    "mirror": replace(STILL, flip=True),
    "larger": AugmentConfig(scale_range=(1, 2.5)),
    "smaller": AugmentConfig(scale_range=(0.2, 1)),
    "turned": AugmentConfig(scale_range=(0.5, 2), rotation_deg=12),
    "colours": AugmentConfig(
        scale_range=(0.6, 1.6),
        rotation_deg=3,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue_deg=8,
        channel_noise=0.06,
    ),
    "noisy": AugmentConfig(scale_range=(0.7, 2.5), contrast=0.3, noise=9),
    "noisy, enlarged": AugmentConfig(scale_range=(1, 2.5), noise=9),
    "blurred": AugmentConfig(scale_range=(1, 2.5), rotation_deg=3, saturation=0.3, blur=2.5),
}
SIZES = [(60, 90), (72, 96), (72, 80)]  # one store for all, padded


def scene(size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture, as photographs are, and labels in patches with some that are ignored."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (size[0] // 6, size[1] // 6, 3), np.uint8)
    image = cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)
    labels = rng.integers(0, 11, (size[0] // 12, size[1] // 12), np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    return image, cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)


@dataclass
class Store:
    """Pictures of several sizes in one padded tensor."""

    pairs: list[tuple[np.ndarray, np.ndarray]]
    smallest_scale: float = 0.2

    def __post_init__(self) -> None:
        height, width = (max(labels.shape[axis] for _, labels in self.pairs) for axis in (0, 1))
        self.images = torch.full((len(self.pairs), 3, height, width), 77, dtype=torch.uint8)
        self.labels = torch.full((len(self.pairs), height, width), 5, dtype=torch.uint8)  # never to be seen
        for index, (image, labels) in enumerate(self.pairs):
            h, w = labels.shape
            self.images[index, :, :h, :w] = torch.from_numpy(image).permute(2, 0, 1)
            self.labels[index, :h, :w] = torch.from_numpy(labels)

    def row(self, index: int, crop: tuple[int, int], config: AugmentConfig, seed: int) -> np.ndarray:
        image, labels = self.pairs[index]
        still = Still(labels.shape, cv2.mean(image)[:3], largest_void(labels, self.smallest_scale))
        return draw(index, still, crop, config, np.random.default_rng(seed), lambda: labels)

    def batch(
        self, crop: tuple[int, int], config: AugmentConfig, seeds: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array([self.row(seed % len(self.pairs), crop, config, seed) for seed in seeds])
        images, labels = sample(
            self.images,
            self.labels,
            torch.from_numpy(rows),
            crop,
            torch.tensor(FILL),
            grain=torch.from_numpy(grain()) if config.noise else None,
            blur_radius=config.blur_radius,
        )
        return images.permute(0, 2, 3, 1).numpy(), labels.numpy()


def undecided(row: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """Where a pixel of the crop lies between two of the picture, to a thousandth or so: OpenCV rounds coordinates."""
    places = augment_batch._pixels(torch.from_numpy(row[None, 11:17]), crop)
    return np.logical_or(*((np.abs((at[0].numpy() + 0.5) % 1 - 0.5) > 0.498) for at in places))


@pytest.fixture(scope="module")
def store() -> Store:
    return Store([scene(size, seed) for seed, size in enumerate(SIZES)])


@pytest.mark.parametrize("crop", [(48, 64), (100, 120)])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_device_makes_what_the_host_makes(store: Store, name: str, crop: tuple[int, int]) -> None:
    seeds = list(range(24))
    images, labels = store.batch(crop, CONFIGS[name], seeds)
    for seed in seeds:
        image, truth = store.pairs[seed % len(store.pairs)]
        expected, wanted = augment(image, truth, crop, CONFIGS[name], np.random.default_rng(seed), FILL)
        same = labels[seed] == wanted
        row = store.row(seed % len(store.pairs), crop, CONFIGS[name], seed)
        assert (same | undecided(row, crop)).all(), seed
        off = np.abs(images[seed].astype(int) - expected)[same]
        assert np.quantile(off, 0.99) <= 2, seed
        assert off.mean() < 0.6, seed
        if name in ("nothing", "mirror"):
            assert (images[seed] == expected).all()
            assert same.all()


def test_other_numbers_would_be_seen(store: Store) -> None:
    config = CONFIGS["larger"]
    images, labels = store.batch((48, 64), config, [0])
    expected, wanted = augment(*store.pairs[0], (48, 64), config, np.random.default_rng(1), FILL)
    assert (labels[0] == wanted).mean() < 0.9
    assert np.abs(images[0].astype(int) - expected).mean() > 10


def test_shrinking_averages_areas_as_the_host_does() -> None:
    board = np.repeat((np.indices((80, 80)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    store = Store([(board, np.zeros((80, 80), np.uint8))])
    images, _ = store.batch((40, 40), AugmentConfig(scale_range=(0.5, 0.5), flip=False), [0])
    assert np.abs(images[0].astype(int) - 127).max() <= 1
    row = torch.from_numpy(store.row(0, (40, 40), AugmentConfig(scale_range=(0.5, 0.5), flip=False), 0))[None]
    plain, _ = sample(store.images, store.labels, row, (40, 40), torch.tensor(FILL), shrinks=False)
    assert (
        np.abs(plain.numpy().astype(int) - 127).max() > 100
    )  # the failing twin: bilinear alone skips pixels


def test_what_is_drawn_leaves_the_generator_where_the_host_does(store: Store) -> None:
    for config in (CONFIGS["colours"], CONFIGS["noisy"], CONFIGS["blurred"]):
        image, labels = store.pairs[0]
        still = Still(labels.shape, cv2.mean(image)[:3], largest_void(labels, 0.2))
        here, there = np.random.default_rng(4), np.random.default_rng(4)
        draw(0, still, (48, 64), config, here, lambda labels=labels: labels)
        augment(image, labels, (48, 64), config, there, FILL)
        assert here.random() == there.random()


def test_each_sample_has_its_own_blur_or_none() -> None:
    store, crop = Store([scene((60, 90), 0)]), (60, 90)
    rows = np.array([store.row(0, crop, replace(STILL, blur=2.5), seed) for seed in range(12)])
    images, _ = sample(
        store.images, store.labels, torch.from_numpy(rows), crop, torch.tensor(FILL), blur_radius=8
    )
    changed = np.array([bool((image != store.images[0]).any()) for image in images])
    blur = rows[:, augment_batch.BLUR]
    assert not changed[blur == 0].any()
    assert changed[blur > 0.4].all()  # much less moves no value by a half
    assert (blur == 0).any()
    assert (blur > 0.4).any()
    plain, _ = sample(store.images, store.labels, torch.from_numpy(rows), crop, torch.tensor(FILL))
    assert (plain == store.images[0]).all()  # the failing twin: the radius is what blurs


def test_each_sample_has_its_own_part_of_the_grain_or_none(store: Store) -> None:
    config, crop = replace(STILL, noise=9), (60, 90)
    rows = np.array([store.row(0, crop, config, seed) for seed in range(12)])
    grains = torch.from_numpy(grain())
    images, _ = sample(
        store.images, store.labels, torch.from_numpy(rows), crop, torch.tensor(FILL), grain=grains
    )
    for image, (deviation, top, left) in zip(images, rows[:, augment_batch.NOISE], strict=True):
        top, left = int(top), int(left)
        part = np.roll(grain(), (-top, -left), (0, 1))[:60, :90]
        assert (
            image.permute(1, 2, 0).numpy()
            == (store.pairs[0][0] + np.float32(deviation) * part).round().clip(0, 255)
        ).all()
    assert 0 < (rows[:, augment_batch.NOISE][:, 0] > 0).sum() < 12
    plain, _ = sample(store.images, store.labels, torch.from_numpy(rows), crop, torch.tensor(FILL))
    assert (plain == store.images[0, :, :60, :90]).all()  # the failing twin: the grain is what it takes


def test_an_axis_that_keeps_its_size_keeps_its_bits() -> None:
    identity = augment_batch._areas(torch.tensor([60.0, 45.0]), torch.tensor([60.0, 45.0]), 60)
    assert torch.equal(identity[0], torch.eye(60))
    assert torch.equal(identity[1, :45, :45], torch.eye(45))


def test_a_crop_without_a_label_is_drawn_again_as_on_the_host() -> None:
    rng = np.random.default_rng(0)
    labels = np.full((64, 64), 255, np.uint8)
    labels[:8, :8] = 1
    store = Store([(rng.integers(0, 256, (64, 64, 3), np.uint8), labels)], 1.0)
    seeds = list(range(40))
    _, found = store.batch((32, 32), STILL, seeds)
    for seed in seeds:
        _, wanted = augment(*store.pairs[0], (32, 32), STILL, np.random.default_rng(seed), FILL)
        assert (found[seed] == wanted).all()
    assert sum((labels != 255).any() for labels in found) > 8  # a single draw sees it in one of 17 cases


def test_what_is_called_surely_labelled_is() -> None:
    """No crop without a label is ever taken for one that has some: only then is the host not asked."""
    config = AugmentConfig(scale_range=(0.4, 2), rotation_deg=8)
    image, asked, trusted = np.zeros((90, 120, 3), np.uint8), 0, 0
    for picture in range(12):
        rng = np.random.default_rng(picture)
        labels = np.full((90, 120), 255, np.uint8)
        spots = rng.integers(0, (90, 120), (rng.integers(1, 400), 2))
        labels[spots[:, 0], spots[:, 1]] = 3
        labels = cv2.erode(
            labels, np.ones((1 + 4 * (picture % 3), 7), np.uint8)
        )  # 255 is the larger: spots grow
        still = Still((90, 120), (0, 0, 0), largest_void(labels, 0.4))
        for seed in range(30):
            reads: list[int] = []
            draw(
                0,
                still,
                (40, 40),
                config,
                np.random.default_rng(seed),
                lambda r=reads, it=labels: r.append(1) or it,
            )
            asked, trusted = asked + bool(reads), trusted + (not reads)
            if not reads:
                _, crop = augment(image, labels, (40, 40), config, np.random.default_rng(seed), FILL)
                assert (crop != 255).any()
    assert asked > 30
    assert trusted > 30


def test_ordinary_labels_are_never_asked_for() -> None:
    labels = np.zeros((90, 120), np.uint8)
    labels[40:50, 50:70] = 255
    still = Still((90, 120), (0, 0, 0), largest_void(labels, 0.5))
    config = AugmentConfig(scale_range=(0.5, 2), rotation_deg=3)

    def never() -> np.ndarray:
        raise AssertionError("the host was asked")

    for seed in range(100):
        draw(0, still, (64, 80), config, np.random.default_rng(seed), never)


def test_a_change_that_only_the_host_makes_is_refused() -> None:
    @dataclass(frozen=True)
    class Later(AugmentConfig):
        cutmix: float = 0.0

    check_known(Later())
    with pytest.raises(IcnetError, match="cutmix") as caught:
        check_known(Later(cutmix=0.5))
    assert caught.value.code is ExitCode.USAGE
