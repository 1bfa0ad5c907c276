from __future__ import annotations

import pickle
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from icnet_cli.checkpoints.state import list_states, load_state, save_state
from icnet_cli.errors import ExitCode, IcnetError


@pytest.fixture
def small_disk() -> object:
    """No file may grow over 100,000 bytes: it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(small_disk: object, tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"step": 1})
    with pytest.raises(IcnetError, match=r"cannot write .*checkpoint-00000002\.pt: file too large") as caught:
        save_state(tmp_path, 2, {"step": 2, "weights": torch.zeros(100_000)})
    assert caught.value.code is ExitCode.OUTPUT
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in list_states(tmp_path)]
    assert load_state(tmp_path) == {"step": 1}


def _deflated(data: bytes) -> bytes:
    """One bit: the directory says of the first entry that it is compressed."""
    place = data.index(b"PK\1\2") + 10
    return data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]


def _zeroed(data: bytes) -> bytes:
    return data[:4096] + bytes(64) + data[4160:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"hello world",
        lambda data: pickle.dumps({"step": 3}),
        _zeroed,
        _deflated,
    ],
)
def test_the_one_before_is_taken_where_the_newest_is_damaged(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    save_state(tmp_path, 1, {"step": 1})
    path = save_state(tmp_path, 2, {"step": 2, "weights": torch.arange(10_000.0)})
    assert load_state(tmp_path)["step"] == 2
    path.write_bytes(damage(path.read_bytes()))
    assert load_state(tmp_path) == {"step": 1}


def test_whatever_byte_is_another_it_is_found_out_or_does_no_harm(tmp_path: Path) -> None:
    """In the pickle, of which each byte may end in an error of its own, and in the values, which have none."""
    save_state(tmp_path, 1, {"step": 1})
    weights = torch.arange(64.0)
    path = save_state(tmp_path, 2, {"step": 2, "weights": weights})
    whole, fallen_back = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        freed = [
            torch.full((64,), -1.0) for _ in range(8)
        ]  # so that memory nothing is read into is not right by chance
        del freed
        state = load_state(tmp_path)
        fallen_back += state["step"] == 1
        assert state["step"] == 1 or torch.equal(state["weights"], weights)
    assert fallen_back > 256  # the values alone are so many bytes
