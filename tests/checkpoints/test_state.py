from __future__ import annotations

import resource
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
