"""The same frame in two splits: by its bytes, by what it shows, and by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icnet_cli.data.survey import Frame, Survey

# Root mean square difference of two 16x16 thumbnails, in grey levels. Measured on CamVid: 0.6 to 0.85 after JPEG
# of quality 95 to 30 or doubling the size, 2 and more between two frames a fifteenth of a second apart.
_NEAR_LEVELS = 1.0
_FLAT_LEVELS = 2.0  # standard deviation below which a thumbnail says nothing (a black frame)
_CHUNK = 1024

Pairs = list[tuple[Path, Path]]


class Leak(NamedTuple):
    """Frames that two splits share."""

    kind: str  # "same-frame", "near-duplicate" or "same-name"
    splits: tuple[str, str]
    pairs: Pairs


def leaks(surveys: Sequence[Survey]) -> Iterator[Leak]:
    """What each two splits have in common; every frame of the first is named once, by the surest sign."""
    for first, second in combinations(surveys, 2):
        seen: set[Path] = set()
        for kind, pairs in _shared(first.frames, second.frames):
            new: Pairs = []
            for pair in pairs:  # a frame with the same bytes and the same name is in `pairs` twice
                if pair[0] not in seen:
                    seen.add(pair[0])
                    new.append(pair)
            if new:
                yield Leak(kind, (first.split, second.split), new)


def _shared(first: Sequence[Frame], second: Sequence[Frame]) -> Iterator[tuple[str, Pairs]]:
    by_digest = {frame.digest: frame for frame in second}
    near = _near(first, second)
    same = [(one, by_digest[one.digest]) for one in first if one.digest in by_digest]
    same += [(one, other) for one, other in near if _key(one) == _key(other)]
    yield "same-frame", _paths(same)
    yield "near-duplicate", _paths(near)
    by_name = {_key(frame): frame for frame in second if not _key(frame).isdigit()}
    yield "same-name", _paths([(one, by_name[_key(one)]) for one in first if _key(one) in by_name])


def _key(frame: Frame) -> str:
    """The name without its folder. (Bare numbers start again in every split and mean nothing.)"""
    return Path(frame.name).name.lower()


def _paths(pairs: Sequence[tuple[Frame, Frame]]) -> Pairs:
    return [(one.path, other.path) for one, other in pairs]


def _near(first: Sequence[Frame], second: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """For each frame of `first` the frame of `second` that looks the same, where there is one."""
    if not first or not second:
        return []
    others = np.stack([frame.thumbnail for frame in second])  # (M, 256)
    found = []
    for start in range(0, len(first), _CHUNK):
        chunk = first[start : start + _CHUNK]
        ones = np.stack([frame.thumbnail for frame in chunk])  # (N, 256)
        squares = (ones**2).sum(1)[:, None] + (others**2).sum(1) - 2 * ones @ others.T
        nearest = squares.argmin(1)
        for index, other in enumerate(nearest):
            flat = ones[index].std() < _FLAT_LEVELS
            if not flat and squares[index, other] < _NEAR_LEVELS**2 * ones.shape[1]:
                found.append((chunk[index], second[other]))
    return found
