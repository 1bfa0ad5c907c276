"""Several processes that train one network are one process with all their pictures, and end together."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.format import load_weights
from icnet_cli.checkpoints.state import list_states
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.training.launch import Place, find_place
from icnet_cli.training.loader import epoch_batches, share_of
from icnet_cli.training.ranks import Ranks
from icnet_cli.training.validation import _Share
from tests.robust.launcher import ROOT, Launcher
from tests.tiny_camvid import write_recipe, write_split
from tests.training.test_distil import teacher

RECIPE: dict[str, Any] = {
    "model": {"fast-scnn": {"dropout": 0.0}},  # which each rank would draw for itself
    "batch": 4,
    "steps": 4,
    "optimizer": {"name": "sgd", "lr": 0.02, "clip_norm": 1.0},
    "loss": {"main_stride": 4, "weights": [1.0, 0.4, 0.4], "class_weights": "log"},
}
# Sums in another order: each rank adds up its own pixels first. Over four steps the errors have not grown past this.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as started:
        yield started


@pytest.fixture
def uneven(camvid: Path, tmp_path: Path) -> list[str]:
    """Arguments to train on pictures of which every other one is ignored but for a corner."""
    recipe = write_recipe(tmp_path, **RECIPE)
    for number, path in enumerate(sorted((camvid / "trainannot").iterdir())):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if number % 2:
            labels[20:, :] = 11
        cv2.imwrite(str(path), labels)
    return [str(camvid), "--recipe", str(recipe)]


@dataclass
class Group:
    """How the ranks of a job ended."""

    folder: Path
    codes: list[int]

    def words(self, stream: str = "err") -> list[str]:
        return [(self.folder / f"{stream}{rank}").read_text() for rank in range(len(self.codes))]

    def losses(self) -> np.ndarray:
        kept = [json.loads((self.folder / f"losses{rank}").read_text()) for rank in range(len(self.codes))]
        assert all(losses == kept[0] for losses in kept)  # all ranks are told the same
        return np.array(kept[0])


def together(launcher: Launcher, folder: Path, world: int, *arguments: str) -> Group:
    folder.mkdir()
    ended = launcher.run(folder, world, *arguments, call="tests.training.rank_work:together", limit_s=120)
    assert ended.code == 0, ended.err
    return Group(folder, json.loads((folder / "codes").read_text()))


def weights(run: Path) -> torch.Tensor:
    state = load_weights(run / "last.safetensors").network.state_dict()
    return torch.cat(
        [tensor.flatten().double() for name, tensor in state.items() if "num_batches" not in name]
    )


@pytest.mark.parametrize(
    ("model", "accumulate", "taught"), [("icnet", 1, False), ("fast-scnn", 2, False), ("fast-scnn", 1, True)]
)
def test_two_ranks_are_one_with_the_doubled_batch(
    launcher: Launcher, tmp_path: Path, uneven: list[str], model: str, accumulate: int, taught: bool
) -> None:
    """The same losses and weights, whatever each rank's share of labelled pixels; averaging the ranks' means is not."""
    rest = ("--model", model, "--keep", "0.125", "--accumulate", str(accumulate), "--lr", "0.02", *uneven)
    if taught:
        rest += ("--teachers", str(teacher(tmp_path / "wide.safetensors", "icnet", seed=0)))
    ways = {}
    for name, world, batch, way in (("one", 1, 4, "sum"), ("two", 2, 2, "sum"), ("means", 2, 2, "mean")):
        run = ("--batch", str(batch), "-o", str(tmp_path / f"run-{name}"))
        ways[name] = together(launcher, tmp_path / name, world, "losses", way, *run, *rest)
        assert set(ways[name].codes) == {0}, ways[name].words()
    one, two, means = (ways[name].losses() for name in ("one", "two", "means"))
    assert len(one) == 4 * accumulate
    assert np.allclose(one, two, rtol=TOLERANCE, atol=0)
    # The failing twin. Teachers say as much of one rank's pictures as of another's: they set it less apart.
    assert (np.abs(one - means) / one).max() > (10 if taught else 100) * TOLERANCE
    reference = weights(tmp_path / "run-one")
    apart = [float((weights(tmp_path / f"run-{name}") - reference).norm()) for name in ("two", "means")]
    assert apart[0] < TOLERANCE * float(reference.norm())
    assert apart[1] > 20 * apart[0]


def test_confusions_add_up_to_the_last_pixel(launcher: Launcher, tmp_path: Path, uneven: list[str]) -> None:
    for world in (1, 2):
        group = together(launcher, tmp_path / str(world), world, "measured", uneven[0], uneven[2])
        assert set(group.codes) == {0}, group.words()
    one = json.loads((tmp_path / "1" / "confusion0").read_text())
    assert np.sum(one) > 0
    for rank in (0, 1):
        assert json.loads((tmp_path / "2" / f"confusion{rank}").read_text()) == one


def test_one_of_them_speaks_and_writes(launcher: Launcher, tmp_path: Path, uneven: list[str]) -> None:
    run = tmp_path / "run"
    arguments = ("--model", "fast-scnn", "--keep", "0.125", "-o", str(run), "--workers", "1", *uneven)
    group = together(launcher, tmp_path / "job", 2, "cli", *arguments)
    assert group.codes == [0, 0], group.words()
    assert group.words("out") == [f"{run}\n", ""]
    assert group.words()[0].startswith("4 steps in")
    assert group.words()[1] == ""
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert len(list_states(run)) == 1


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("damaged", ExitCode.INPUT, "train_05.png is damaged"),
        ("memory", ExitCode.DEVICE, "out of memory on cpu, halve the"),
    ],
)
def test_an_error_of_one_ends_all_with_one_line(
    launcher: Launcher, tmp_path: Path, uneven: list[str], how: str, code: ExitCode, words: str
) -> None:
    arguments = ("--model", "fast-scnn", "--keep", "0.125", "-o", str(tmp_path / "run"), *uneven)
    group = together(launcher, tmp_path / "job", 2, "failing", how, *arguments)
    assert group.codes == [code, code]
    lines = "".join(group.words()).splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert words in group.words()[1]  # said where it happened


def test_divergence_is_told_by_the_one_that_knows_the_checkpoints(
    launcher: Launcher, tmp_path: Path, uneven: list[str]
) -> None:
    arguments = (
        "--model",
        "fast-scnn",
        "--keep",
        "0.125",
        "-o",
        str(tmp_path / "run"),
        "--lr",
        "1e30",
        "--steps",
        "9",
    )
    group = together(launcher, tmp_path / "job", 2, "cli", *arguments, *uneven)
    assert group.codes == [ExitCode.CHECK, ExitCode.CHECK]
    assert group.words()[0].count("not finite 3 times running") == 1
    assert group.words()[1] == ""


def test_a_rank_that_is_killed_ends_the_others(launcher: Launcher, tmp_path: Path, uneven: list[str]) -> None:
    arguments = ("--model", "fast-scnn", "--keep", "0.125", "-o", str(tmp_path / "run"), *uneven)
    group = together(launcher, tmp_path / "job", 2, "failing", "killed", *arguments)
    assert group.codes == [ExitCode.DEVICE, -9]
    assert len(group.words()[0].splitlines()) == 1
    assert "lost the others" in group.words()[0]


@pytest.mark.parametrize(
    "arguments", [["--epochs", "1", "--steps", "1"], ["--batch", "1", "--crop", "32x32"]]
)
def test_what_all_refuse_is_said_once(
    launcher: Launcher, tmp_path: Path, uneven: list[str], arguments: list[str]
) -> None:
    group = together(launcher, tmp_path / "job", 2, "cli", "--model", "fast-scnn", *uneven, *arguments)
    assert group.codes == [ExitCode.USAGE, ExitCode.USAGE]
    assert len("".join(group.words()).splitlines()) == 1


def cut(launcher: Launcher, folder: Path, world: int, work: tuple[str, str], same: tuple[str, ...]) -> Group:
    """A run into `whole`, and one into `part` that is `work` until a signal; returns how that one ended."""
    whole = together(launcher, folder / "a", world, "cli", "-o", str(folder / "whole"), *same)
    assert set(whole.codes) == {0}, whole.words()
    group = together(launcher, folder / "b", world, *work, "-o", str(folder / "part"), *same)
    assert set(group.codes) == {143}, group.words()
    return group


def assert_goes_on(launcher: Launcher, folder: Path, world: int, data: list[str]) -> None:
    """To what the run that was not cut has, byte for byte."""
    again = together(launcher, folder / "c", world, "cli", "--resume", str(folder / "part"), *data)
    assert set(again.codes) == {0}, again.words()
    for name in ("last.safetensors", "best.safetensors"):
        assert (folder / "whole" / name).read_bytes() == (folder / "part" / name).read_bytes()


@pytest.mark.parametrize("world", [1, 2])
def test_a_signal_to_one_stops_all_and_they_go_on_as_if_nothing_was(
    launcher: Launcher, tmp_path: Path, uneven: list[str], world: int
) -> None:
    """Byte for byte, with a step of two batches cut by the signal and BatchNorm at work on each rank."""
    same = ("--model", "fast-scnn", "--keep", "0.125", "--batch", "2", "--accumulate", "2", *uneven)
    group = cut(launcher, tmp_path, world, ("stopped", "3"), same)
    assert len("".join(group.words()).splitlines()) == 1
    assert "terminated at step" in group.words()[0]
    assert f"go on with --resume {tmp_path / 'part'}" in group.words()[0]
    assert_goes_on(launcher, tmp_path, world, uneven)


@pytest.mark.parametrize("world", [1, 2])
def test_a_signal_to_one_breaks_the_evaluation_of_all_off(
    launcher: Launcher, tmp_path: Path, camvid: Path, uneven: list[str], world: int
) -> None:
    """At the same picture, of five where one rank has a picture more; it is made when they go on, to the same bytes."""
    write_split(camvid / "more", "val", 3, 7)
    for folder in ("val", "valannot"):
        for path in (camvid / "more" / folder).iterdir():
            path.rename(camvid / folder / f"more-{path.name}")
    same = ("--model", "fast-scnn", "--keep", "0.125", "--batch", "2", "--accumulate", "1", *uneven)
    group = cut(launcher, tmp_path, world, ("broken_off", "2"), same)
    assert [(group.folder / f"measured{rank}").read_text() for rank in range(world)] == ["1"] * world
    assert_goes_on(launcher, tmp_path, world, uneven)


def test_all_end_at_the_same_step_when_the_time_is_up(
    launcher: Launcher, tmp_path: Path, uneven: list[str]
) -> None:
    """Though one's clock runs faster: without agreement it would leave the others waiting for its gradients."""
    run = tmp_path / "run"
    arguments = ("--model", "fast-scnn", "--keep", "0.125", "-o", str(run), "--time-budget", "4")
    group = together(launcher, tmp_path / "job", 2, "hurried", *arguments, "--steps", "1000000", *uneven)
    assert group.codes == [0, 0], group.words()
    with (run / "metrics.csv").open() as file:
        assert list(csv.DictReader(file))[-1]["miou"]


# Without processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "batch", "world"), [(10, 3, 1), (10, 2, 4), (367, 2, 8), (5, 4, 2), (12, 2, 3)]
)
def test_every_sample_once_but_for_the_padding(count: int, batch: int, world: int) -> None:
    """Of an epoch, all ranks together; what fills the last batch is the beginning of the epoch's order."""
    whole = epoch_batches(count, batch * world, seed=3, epoch=5)
    shares = [share_of(whole, rank, world) for rank in range(world)]
    for number, one in enumerate(whole):
        assert [index for share in shares for index in share[number]] == one
        assert {len(share[number]) for share in shares} == {batch}
    order = [index for one in whole for index in one]
    assert sorted(order[:count]) == list(range(count))
    assert order[count:] == (order[:count] * len(order))[: len(order) - count]
    assert len(order) - count < batch * world


def test_places_as_torchrun_says_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_place() == Place()
    assert find_place().speaks
    said = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    for name, value in {**said, "MASTER_ADDR": "a", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert find_place() == Place(5, 8, 1, 4)
    assert not find_place().speaks
    for name, value in (("RANK", "x"), ("RANK", "8"), ("LOCAL_RANK", "4")):
        with monkeypatch.context() as other:
            other.setenv(name, value)
            with pytest.raises(IcnetError) as caught:
                find_place()
            assert caught.value.code is ExitCode.USAGE


def test_a_gpu_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr("icnet_cli.training.ranks.choose_device", lambda name: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert Ranks(Place(3, 4, 1, 2)).device("auto") == torch.device("cuda", 1)
    assert chosen == [1]
    with pytest.raises(IcnetError, match="--nproc-per-node 2") as caught:
        Ranks(Place(3, 4, 3, 4)).device("cuda")
    assert caught.value.code is ExitCode.DEVICE
    with pytest.raises(IcnetError, match="of its own") as caught:
        Ranks(Place(1, 2, 1, 2)).device("cuda:1")
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.slow
def test_torchrun_itself(tmp_path: Path, uneven: list[str]) -> None:
    arguments = [
        "train",
        *uneven,
        "--model",
        "fast-scnn",
        "--keep",
        "0.125",
        "--device",
        "cpu",
        "-o",
        str(tmp_path / "r"),
    ]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "icnet_cli"]
    done = subprocess.run([*launch, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'r'}\n"
    assert done.stderr.count("steps in") == 1


class _Numbers:
    """A dataset whose pictures are their own numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Any:
        return index


@pytest.mark.parametrize(("pictures", "world"), [(5, 2), (4, 2), (1, 3), (7, 3)])
def test_every_rank_asks_equally_often_whether_to_stop(pictures: int, world: int) -> None:
    """Asking is a meeting: one time more or less on one rank would leave it waiting."""
    asked = []
    for rank in range(world):
        calls: list[None] = []
        share = _Share(_Numbers(pictures), rank, world, lambda calls=calls: bool(calls.append(None)))
        assert [share.read(index) for index in range(len(share))] == [*range(rank, pictures, world)]
        share.end()
        asked.append(len(calls))
    assert set(asked) == {-(-pictures // world)}
