"""Augmentation: labels are only ever picked, image and labels move together, chance comes from one generator."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_cli.data.augment import AugmentConfig, augment
from icnet_cli.errors import IcnetError
from icnet_cli.pixels.cv import cv2

FILL = (9, 99, 199)
STILL = AugmentConfig(scale_range=(1, 1), flip=False)
WILD = AugmentConfig(
    scale_range=(0.3, 3),
    rotation_deg=30,
    brightness=0.5,
    contrast=0.5,
    saturation=0.5,
    hue_deg=30,
    channel_noise=0.2,
)
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@settings(deadline=None, max_examples=150)
@given(
    size=sizes,
    crop=sizes,
    values=st.lists(st.integers(0, 254), min_size=1, max_size=6),
    rotation=st.sampled_from([0.0, 25.0, 180.0]),
    scales=st.tuples(st.floats(0.05, 4), st.floats(0.05, 4)).map(lambda pair: tuple(sorted(pair))),
    seed=st.integers(0, 2**32),
)
def test_no_label_value_appears_that_was_not_there(
    size: tuple[int, int],
    crop: tuple[int, int],
    values: list[int],
    rotation: float,
    scales: tuple[float, float],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(values, np.uint8), size)
    config = replace(WILD, scale_range=scales, rotation_deg=rotation)
    image, new = augment(picture(size), labels, crop, config, rng, FILL)
    assert image.shape == (*crop, 3)
    assert new.shape == crop
    assert (image.dtype, new.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(new)) <= {*values, 255}


def test_the_failing_twin_bilinear_labels_invent_values() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 4:] = 10
    assert set(np.unique(cv2.resize(labels, (21, 21)))) - {0, 10}


def test_nothing_asked_changes_nothing() -> None:
    image, labels = picture((40, 60)), picture((40, 60), 1)[..., 0]
    new_image, new_labels = augment(image, labels, (40, 60), STILL, np.random.default_rng(0), FILL)
    assert (new_image == image).all()
    assert (new_labels == labels).all()
    assert not np.shares_memory(new_image, image)


def test_the_mirror_is_exact_and_half_of_the_samples() -> None:
    image, labels = picture((40, 60)), picture((40, 60), 1)[..., 0]
    rng, mirrored = np.random.default_rng(0), 0
    for _ in range(60):
        new_image, new_labels = augment(image, labels, (40, 60), replace(STILL, flip=True), rng, FILL)
        turn = slice(None, None, -1) if (new_labels == labels[:, ::-1]).all() else slice(None)
        assert (new_image == image[:, turn]).all()
        assert (new_labels == labels[:, turn]).all()
        mirrored += turn.step == -1
    assert 15 < mirrored < 45


def test_a_crop_is_a_piece_of_the_picture() -> None:
    image = picture((40, 60))
    labels = np.arange(2400, dtype=np.uint32).reshape(40, 60)
    places = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        new_image, new_labels = augment(image, (labels % 251).astype(np.uint8), (20, 30), STILL, rng, FILL)
        matches = [
            (top, left)
            for top in range(21)
            for left in range(31)
            if (image[top : top + 20, left : left + 30] == new_image).all()
        ]
        assert len(matches) == 1
        top, left = matches[0]
        assert ((labels % 251)[top : top + 20, left : left + 30] == new_labels).all()
        places.add(matches[0])
    assert len(places) > 20


@pytest.mark.parametrize("rotation", [0.0, 20.0])
@pytest.mark.parametrize("scale", [0.5, 0.7, 1.0, 1.3, 2.0])
def test_image_and_labels_stay_on_one_another(scale: float, rotation: float) -> None:
    """The image shows the labels themselves, so where labels are uniform around a pixel, both must agree."""
    labels = np.kron(np.random.default_rng(3).integers(0, 2, (6, 8)), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat(labels[..., None] * 200, 3, axis=2)
    config = AugmentConfig(scale_range=(scale, scale), rotation_deg=rotation)
    for seed in range(5):
        new_image, new = augment(image, labels, (64, 96), config, np.random.default_rng(seed), FILL)
        inner = np.zeros(new.shape, bool)
        inner[2:-2, 2:-2] = (cv2.erode(new, np.ones((5, 5))) == cv2.dilate(new, np.ones((5, 5))))[2:-2, 2:-2]
        for value in (0, 1):
            at = inner & (new == value)
            assert at.sum() > 50
            assert (new_image[at] == value * 200).all()
        # Along the borders neither is shifted against the other.
        known = new != 255
        drift = (new_image[..., 0] / 200.0 - new)[known]
        assert abs(drift.mean()) < 0.02


@pytest.mark.parametrize("rotation", [0.0, 10.0])
def test_around_a_small_picture_are_fill_and_255_together(rotation: float) -> None:
    image, labels = np.full((20, 30, 3), 77, np.uint8), np.full((20, 30), 4, np.uint8)
    config = replace(WILD, scale_range=(0.5, 0.9), rotation_deg=rotation)
    new_image, new = augment(image, labels, (64, 64), config, np.random.default_rng(1), FILL)
    outside = new == 255
    assert 0 < (~outside).sum() < 64 * 64
    assert (new_image[outside] == FILL).all()
    assert (new_image[~outside] == new_image[~outside][0]).all()  # the fill does not bleed in


def test_shrinking_averages_instead_of_skipping() -> None:
    board = (np.indices((80, 80)).sum(0) % 2 * 255).astype(np.uint8)  # one-pixel checks
    image = np.repeat(board[..., None], 3, axis=2)
    config = AugmentConfig(scale_range=(0.5, 0.5), flip=False)
    new_image, _ = augment(image, board // 255, (40, 40), config, np.random.default_rng(0), FILL)
    assert np.abs(new_image.astype(int) - 127).max() <= 1
    plain = cv2.warpAffine(
        image, np.array([[2.0, 0, 0], [0, 2, 0]]), (40, 40), flags=cv2.WARP_INVERSE_MAP | 1
    )
    assert np.abs(plain.astype(int) - 127).max() > 100  # the failing twin: aliased to flat black or white


def test_all_chance_comes_from_the_generator() -> None:
    image, labels = picture((40, 60)), picture((40, 60), 1)[..., 0]
    results = []
    for seed in (1, 1, 2):
        np.random.seed(seed + 100)  # global generators must not matter
        results.append(augment(image, labels, (32, 32), WILD, np.random.default_rng(seed), FILL))
    assert (results[0][0] == results[1][0]).all()
    assert (results[0][1] == results[1][1]).all()
    assert (results[0][0] != results[2][0]).any()


def test_strengths_of_zero_do_not_move_the_geometry() -> None:
    image, labels = picture((40, 60)), picture((40, 60), 1)[..., 0]
    geometry = AugmentConfig(scale_range=(0.5, 2))
    colored = replace(geometry, brightness=0.3, hue_deg=20)
    one = augment(image, labels, (32, 32), geometry, np.random.default_rng(5), FILL)
    other = augment(image, labels, (32, 32), colored, np.random.default_rng(5), FILL)
    assert (one[1] == other[1]).all()
    assert (one[0] != other[0]).any()


def test_crops_without_a_label_are_drawn_again() -> None:
    labels = np.full((64, 64), 255, np.uint8)
    labels[:8, :8] = 1
    image = picture((64, 64))
    seen = [
        (augment(image, labels, (32, 32), STILL, np.random.default_rng(seed), FILL)[1] != 255).any()
        for seed in range(50)
    ]
    assert sum(seen) > 10  # a single draw sees it in one of 17 cases, so 3 times here
    nothing = np.full((64, 64), 255, np.uint8)
    assert (augment(image, nothing, (32, 32), STILL, np.random.default_rng(0), FILL)[1] == 255).all()


@pytest.mark.parametrize(
    ("name", "strength"),
    [("brightness", 0.4), ("contrast", 0.4), ("saturation", 0.4), ("channel_noise", 0.4), ("hue_deg", 40.0)],
)
def test_each_color_change_does_what_it_says(name: str, strength: float) -> None:
    image = picture((40, 60)) // 4 + 96
    grey = np.full((40, 60, 3), 128, np.uint8)
    labels = np.zeros((40, 60), np.uint8)
    config = replace(STILL, **{name: strength})
    new, _ = augment(image, labels, (40, 60), config, np.random.default_rng(2), FILL)
    new_grey, _ = augment(grey, labels, (40, 60), config, np.random.default_rng(2), FILL)
    assert (new != image).any()
    moved = np.abs(new_grey.astype(int) - 128).max()
    if name in ("brightness", "channel_noise"):
        assert 0 < moved <= 0.4 * 128 + 1
    else:  # about the mean, towards grey, around the grey axis: a grey picture stays
        assert moved <= 1
    if name == "brightness":
        ratio = new.mean((0, 1)) / image.mean((0, 1))
        assert np.ptp(ratio) < 0.02
    if name == "contrast":
        assert abs(new.mean() - image.mean()) < 3
        assert new.std() != pytest.approx(image.std(), rel=0.02)


def test_half_of_the_samples_are_blurred_and_the_rest_are_as_they_were() -> None:
    image, labels = picture((64, 96)), picture((64, 96), 1)[..., 0]
    config = replace(STILL, blur=2.0)

    def rough(one: np.ndarray) -> float:
        return float(np.abs(np.diff(one.astype(int), axis=1)).mean())

    rngs = (np.random.default_rng(seed) for seed in range(60))
    roughness = [rough(augment(image, labels, (64, 96), config, rng, FILL)[0]) for rng in rngs]
    sharp = rough(image)
    assert 20 <= sum(value == sharp for value in roughness) <= 45
    assert min(roughness) < 0.3 * sharp  # noise under a Gaussian of nearly two pixels
    assert max(roughness) == sharp


def test_a_blur_is_measured_in_pixels_of_the_crop_and_leaves_labels_and_fill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32] = 255
    labels = np.zeros((64, 64), np.uint8)
    labels[32, 32] = 7
    module = import_module("icnet_cli.data.augment")  # its name is also the function's
    monkeypatch.setattr(module, "_draw_deviation", lambda largest, rng: 1.7 if largest else 0.0)
    config = replace(STILL, blur=2.0)
    new, new_labels = augment(image, labels, (96, 96), config, np.random.default_rng(0), FILL)
    inside = (new_labels != 255)[..., None]
    assert (np.where(inside, FILL, new) == FILL).all()
    assert (new_labels == 7).sum() == 1
    rows, columns = np.nonzero(inside[..., 0])
    light = new[rows.min() + 32, columns.min() : columns.max() + 1, 0].astype(float)
    spread = np.average((np.arange(64) - 32) ** 2, weights=light) ** 0.5
    assert spread == pytest.approx(1.7, rel=0.15)


def test_half_of_the_samples_are_noisy_and_each_by_its_own_deviation() -> None:
    image, labels = np.full((400, 600, 3), 128, np.uint8), np.zeros((400, 600), np.uint8)
    config = replace(STILL, noise=12.0)
    rngs = (np.random.default_rng(seed) for seed in range(40))
    made = [augment(image, labels, (400, 600), config, rng, FILL)[0] for rng in rngs]
    assert all(abs(one.mean() - 128) < 0.2 for one in made)
    deviations = [float(one.std()) for one in made]
    assert 12 <= deviations.count(0.0) <= 28
    assert 9 < max(deviations) < 12.5
    first, second = [one.ravel().astype(float) for one in made if one.std() > 6][:2]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02  # not one pattern for all


def test_noise_is_a_cameras_and_is_enlarged_with_its_picture() -> None:
    image, labels = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.uint8)
    config = AugmentConfig(scale_range=(3, 3), flip=False, noise=12.0)
    rngs = (np.random.default_rng(seed) for seed in range(8))
    noisy = max((augment(image, labels, (192, 192), config, rng, FILL)[0] for rng in rngs), key=np.std)
    neighbours = np.corrcoef(noisy[:, 1:].ravel(), noisy[:, :-1].ravel())[0, 1]
    assert neighbours > 0.8


@pytest.mark.parametrize("strengths", [{}, {"noise": 9}, {"blur": 2.0}])
def test_a_recipe_without_noise_and_blur_draws_what_it_drew_before_there_were_any(
    strengths: dict[str, float],
) -> None:
    image, labels = picture((40, 60)), picture((40, 60), 1)[..., 0]
    rng, before = np.random.default_rng(3), np.random.default_rng(3)
    augment(image, labels, (32, 32), replace(WILD, **strengths), rng, FILL)
    scale = before.uniform(0.3, 3)
    before.random()  # the mirror
    before.uniform(-30, 30)  # the angle
    for count in (3, None, 3):  # brightness, contrast and saturation; hue; the channels
        before.uniform(-1, 1, count)
    for side in (40, 60):  # the place
        room = round(side * scale) - 32
        before.integers(min(room, 0), max(room, 0), endpoint=True)
    assert (rng.random() == before.random()) is (not strengths)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_range": (0, 1)},
        {"scale_range": (2, 1)},
        {"scale_range": (1, 99)},
        {"brightness": -0.1},
        {"contrast": 1.0},
        {"hue_deg": 200},
        {"rotation_deg": -1},
        {"saturation": float("nan")},
        {"noise": -1},
        {"noise": 65},
        {"blur": -1},
        {"blur": 17},
    ],
)
def test_strengths_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(IcnetError, match=next(iter(wrong))):
        AugmentConfig(**wrong)  # type: ignore[arg-type]
