"""What the processes of `test_ranks` do. Forked from one that has torch loaded, they meet as torchrun's do."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

WORKS: dict[str, Callable[..., Any]] = {}


def work(function: Callable[..., Any]) -> Callable[..., Any]:
    WORKS[function.__name__] = function
    return function


def together(folder: str, world: str | int, name: str, *arguments: str) -> None:
    """Fork `world` ranks that each do `name`; leave each one's exit code, words and result in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(int(world)):
        pid = os.fork()
        if pid == 0:
            _rank(Path(folder), rank, str(world), port, name, arguments)
        pids.append(pid)
    (Path(folder) / "pids").write_text(json.dumps(pids))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    (Path(folder) / "codes").write_text(json.dumps(codes))


def _rank(folder: Path, rank: int, world: str, port: int, name: str, arguments: tuple[str, ...]) -> None:
    code = 99
    try:
        for number, stream in enumerate(("out", "err"), start=1):
            os.dup2(os.open(folder / f"{stream}{rank}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": world,
            "LOCAL_WORLD_SIZE": world,
        }
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(1)
        code = WORKS[name](folder, rank, *arguments) or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        import sys

        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def freeze_batch_norm() -> None:
    """Statistics of a rank's own pictures would differ from those of the whole batch."""
    nn.BatchNorm2d.train = lambda self, mode=True: nn.Module.train(self, False)  # type: ignore[method-assign,assignment]


def command(*arguments: str) -> int:
    from icnet_cli.cli.app import run

    return int(run(["train", *arguments, "--device", "cpu", "--progress", "none"]))


@work
def losses(folder: Path, rank: int, way: str, *arguments: str) -> int:
    """Train with frozen BatchNorm and keep every loss; `mean` averages each rank's own mean instead of summing."""
    from icnet_cli.training import trainer
    from icnet_cli.training.step import Stepper

    freeze_batch_norm()
    if way == "mean":
        Stepper._over_ranks = lambda self, total: total * self.ranks.world  # type: ignore[method-assign]
    kept: list[float] = []
    look = trainer.Trainer._look

    def noted(self: Any, signals: Any) -> Any:
        for event in look(self, signals):
            kept.append(event.loss)
            yield event

    trainer.Trainer._look = noted  # type: ignore[method-assign]
    code = command(*arguments)
    (folder / f"losses{rank}").write_text(json.dumps(kept))
    return code


@work
def cli(folder: Path, rank: int, *arguments: str) -> int:
    return command(*arguments)


@work
def failing(folder: Path, rank: int, how: str, *arguments: str) -> int:
    """The second rank meets something after a few pictures; the others learn of it."""
    from icnet_cli.data.dataset import SegmentationDataset
    from icnet_cli.errors import input_error

    read, count = SegmentationDataset.read, 0

    def damaged(self: Any, index: int) -> Any:
        nonlocal count
        count += 1
        if rank == 1 and count == 5:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory")
            raise input_error("train_05.png is damaged")
        return read(self, index)

    SegmentationDataset.read = damaged  # type: ignore[method-assign]
    return command(*arguments)


def terminate_last(rank: int, count: int, when: str) -> None:
    """A signal to the last rank alone, when it has counted to `when`."""
    if rank == int(os.environ["WORLD_SIZE"]) - 1 and count == int(when):
        os.kill(os.getpid(), signal.SIGTERM)


@work
def stopped(folder: Path, rank: int, step: str, *arguments: str) -> int:
    """A signal to the last rank alone, after some batches."""
    from icnet_cli.training.step import Stepper

    batch, done = Stepper.batch, 0

    def counted(self: Any, *rest: Any) -> Any:
        nonlocal done
        done += 1
        terminate_last(rank, done, step)
        return batch(self, *rest)

    Stepper.batch = counted  # type: ignore[method-assign]
    return command(*arguments)


@work
def broken_off(folder: Path, rank: int, picture: str, *arguments: str) -> int:
    """A signal to the last rank alone, before it measures a picture; each rank keeps how many it measured."""
    from icnet_cli.training.validation import _Share

    read, begun = _Share.read, 0

    def counted(self: Any, index: int) -> Any:
        nonlocal begun
        begun += 1
        terminate_last(rank, begun, picture)
        found = read(self, index)
        (folder / f"measured{rank}").write_text(str(begun))
        return found

    _Share.read = counted  # type: ignore[method-assign]
    return command(*arguments)


@work
def hurried(folder: Path, rank: int, *arguments: str) -> int:
    """The second rank's clock runs three times as fast."""
    clock, start = time.monotonic, time.monotonic()
    if rank == 1:
        time.monotonic = lambda: start + 3 * (clock() - start)
    return command(*arguments)


@work
def measured(folder: Path, rank: int, *arguments: str) -> int:
    """The confusion of the network as it is built."""
    from icnet_cli.config import TrainConfig
    from icnet_cli.training.prepare import prepare
    from icnet_cli.training.ranks import joined
    from icnet_cli.training.validation import validate

    dataset, recipe = arguments
    config = TrainConfig(
        dataset=Path(dataset),
        model="fast-scnn",
        keep=0.25,
        recipe=recipe,
        device="cpu",
        output=folder / "run",
    )
    with joined() as ranks:
        run = prepare(config, ranks)
        matrix = validate(run, run.network, lambda: False).matrix
    (folder / f"confusion{rank}").write_text(json.dumps(matrix.tolist()))
    return 0


@work
def on_one_gpu(folder: Path, rank: int, batch: str, run: str, dataset: str, recipe: str) -> int:
    """SyncBatchNorm's equality: ranks share the one GPU, over gloo."""
    import torch.distributed as dist

    from icnet_cli.config import TrainConfig
    from icnet_cli.training.launch import find_place
    from icnet_cli.training.prepare import prepare
    from icnet_cli.training.ranks import ALONE, Ranks
    from icnet_cli.training.trainer import StepDone, Trainer

    place = find_place()
    ranks = ALONE
    if place.world > 1:
        dist.init_process_group("gloo", rank=place.rank, world_size=place.world)
        ranks = Ranks(place)
        ranks.device = lambda name: torch.device("cuda", 0)  # type: ignore[method-assign]
    config = TrainConfig(
        dataset=Path(dataset), model="fast-scnn", keep=0.25, recipe=recipe, device="cuda", precision="fp32",
        batch=int(batch), accumulate=1, output=Path(run), epochs=2, workers=0,
    )  # fmt: skip
    kept = [event.loss for event in Trainer(prepare(config, ranks)).events() if isinstance(event, StepDone)]
    (folder / f"losses{rank}").write_text(json.dumps(kept))
    return 0
