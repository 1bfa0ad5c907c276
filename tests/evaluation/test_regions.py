from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icnet_cli.evaluation.regions import BIN_PIXELS, BINS, Regions, find_regions, region_table


def flooded(truth: np.ndarray) -> list[list[tuple[int, int]]]:
    """The regions by flood fill, written plainly: lists of pixels."""
    seen, found = set(), []
    height, width = truth.shape
    for start in np.ndindex(height, width):
        if start in seen or truth[start] == 255:
            continue
        region, frontier = [], [start]
        seen.add(start)
        while frontier:
            y, x = frontier.pop()
            region.append((y, x))
            around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            for at in around:
                inside = 0 <= at[0] < height and 0 <= at[1] < width
                if inside and at not in seen and truth[at] == truth[start]:
                    seen.add(at)
                    frontier.append(at)
        found.append(region)
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_it_is_what_the_papers_words_say(seed: int, bin_pixels: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 2))
    truth = rng.choice([0, 1, 2, 255], shape).astype(np.uint8)
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    ours = Regions(bin_pixels, bins)
    ours.add(truth, labels)
    shares: dict[int, list[float]] = {}
    larger = 0
    for region in flooded(truth):
        right = sum(labels[at] == truth[at] for at in region)
        place = (len(region) - 1) // bin_pixels
        if place < bins:
            shares.setdefault(place, []).append(right / len(region))
        else:
            larger += 1
    assert ours.counts.tolist() == [len(shares.get(i, [])) for i in range(bins)]
    expected = [float(np.mean(shares[i])) if i in shares else None for i in range(bins)]
    assert ours.curve() == [pytest.approx(value) if value is not None else None for value in expected]
    assert ours.larger == larger


def test_regions_are_numbered_across_classes() -> None:
    truth = np.array([[0, 0, 1], [255, 1, 0], [2, 255, 0]], np.uint8)
    found = find_regions(truth)
    assert Counter(found.ids[truth != 255].tolist()) == Counter(
        {i: n for i, n in enumerate(found.sizes) if i}
    )
    assert sorted(found.sizes[1:].tolist()) == [1, 2, 4]  # the zeros touch by a corner
    assert found.ids[1, 0] == 0  # ignored


def test_the_papers_bins() -> None:
    """Forty bins of 3,000 pixels: 3,000 falls in the first, 3,001 in the second, 120,001 in none."""
    assert (BIN_PIXELS, BINS) == (3000, 40)
    regions = Regions()
    for pixels in (1, 3000, 3001, 120_000, 120_001):
        truth = np.full((1, pixels), 4, np.uint8)
        regions.add(truth, truth)
    assert regions.counts.nonzero()[0].tolist() == [0, 1, 39]
    assert regions.counts[[0, 1, 39]].tolist() == [2, 1, 1]
    assert regions.larger == 1
    assert regions.edges[0] == (1, 3000)
    assert regions.edges[-1] == (117_001, 120_000)


def test_each_region_counts_once_however_large() -> None:
    truth = np.zeros((1, 12), np.uint8)
    truth[0, 10:] = 1
    labels = np.zeros((1, 12), np.uint8)  # ten of ten right, none of two
    regions = Regions(bin_pixels=100, bins=1)
    regions.add(truth, labels)
    assert regions.accuracy.tolist() == [0.5]
    regions.add(truth, truth)
    assert regions.accuracy.tolist() == [0.75]


def test_a_picture_with_nothing_labelled_counts_nothing() -> None:
    regions = Regions()
    regions.add(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    assert regions.counts.sum() == 0
    assert set(regions.curve()) == {None}
    assert region_table({"net": regions})["rows"] == []


def test_the_table_tells_the_change_from_branch_to_branch() -> None:
    truth = np.array([[0, 0, 0, 0, 1, 1]], np.uint8)
    answers = {"sub4": [0, 0, 0, 0, 0, 0], "sub24": [0, 0, 0, 0, 1, 0], "sub124": [0, 0, 0, 1, 1, 1]}
    curves = {}
    for name, labels in answers.items():
        curves[name] = Regions(bin_pixels=2, bins=3)
        curves[name].add(truth, np.array([labels], np.uint8), find_regions(truth))
    table = region_table(curves)
    small, large = table["rows"]
    assert (small["from"], small["to"], small["regions"]) == (1, 2, 1)
    assert small["accuracy"] == {"sub4": 0.0, "sub24": 0.5, "sub124": 1.0}
    assert small["change"] == {"sub24-sub4": 0.5, "sub124-sub24": 0.5}
    assert large["change"] == {"sub24-sub4": 0.0, "sub124-sub24": -0.25}
    assert (table["bins"], table["bin_pixels"], table["regions"], table["larger"]) == (3, 2, 2, 0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="agree"):
        Regions().add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="hold nothing"):
        Regions(bin_pixels=0)
