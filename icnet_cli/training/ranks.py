"""The processes that train one network together, and what they tell each other. Alone, everything here does nothing.

A rank that fails says so in the launcher's store before it ends, so that one line tells what happened however many
ranks fall with it. What steers the loop (signals, the clock) goes over gloo, on the host: it never waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from icnet_cli.errors import AlreadyToldError, ExitCode, IcnetError, device_error, usage_error
from icnet_cli.inference.device import choose_device
from icnet_cli.training.launch import Place, find_place

T = TypeVar("T")
# Long enough for the slowest of evaluations and of disks; a rank that dies is noticed at once.
_PATIENCE = timedelta(minutes=30)
# How gloo, NCCL and the store say that the other side is gone.
_LOST = (
    "connection closed",
    "connection reset",
    "connection refused",
    "broken pipe",
    "gloo",
    "nccl",
    "store",
)


class Ranks:
    """This process among its peers."""

    def __init__(self, place: Place = Place(), store: Any = None, rank: int | None = None) -> None:  # noqa: B008
        self.place, self._store = place, store
        self.rank, self.world = place.rank if rank is None else rank, place.world

    @property
    def alone(self) -> bool:
        return self.world == 1

    @property
    def writes(self) -> bool:
        """Whether this process keeps checkpoints and records: one does."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this process: a GPU each, or the CPU for all.

        Raises:
            IcnetError: exit 2 where one GPU is named for several processes; 6 where GPUs are fewer than processes.
        """
        if self.alone or name == "cpu":
            return choose_device(name)
        if ":" in name:
            raise usage_error(f"torchrun gives each process a GPU of its own; use --device cuda, not {name}")
        device = choose_device(name)
        if device.type == "cpu":
            return device
        count = torch.cuda.device_count()
        if self.place.local_world > count:
            raise device_error(
                f"torchrun started {self.place.local_world} processes here and there are {count} GPUs; "
                f"use --nproc-per-node {count}"
            )
        torch.cuda.set_device(self.place.local_rank)
        return torch.device("cuda", self.place.local_rank)

    def first(self, make: Callable[[], T]) -> T:
        """What `make` gives on the first rank; it runs there alone."""
        if self.alone:
            return make()
        box: list[Any] = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(box)
        return box[0]

    def meet(self) -> None:
        """Wait until all are here."""
        self.largest(0.0)

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all ranks, in place, where it lies."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all ranks."""
        if self.alone:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def alike(self, network: nn.Module) -> None:
        """Give every rank the first one's parameters and buffers, to the last bit."""
        if not self.alone:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)

    def told(self, error: BaseException) -> BaseException:
        """What this process is to end with: the first to fail says why, the others end with its code alone."""
        mine = f"{self.rank} {int(_code(error))}"
        try:
            said = self._store.compare_set("failed", "", mine).decode()
        except RuntimeError:  # the store went with the rank that has spoken
            said = f"0 {int(_code(error))}"
        if said != mine:
            return AlreadyToldError(f"rank {self.rank}: {error}", ExitCode(int(said.split()[1])))
        if _is_loss(error):
            return IcnetError(
                f"rank {self.rank} lost the others: one was killed, or its machine is gone ({_line(error)}); "
                "go on with --resume",
                ExitCode.DEVICE,
            )
        return error


def _code(error: BaseException) -> ExitCode:
    if isinstance(error, IcnetError):
        return error.code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.BUG


def _is_loss(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]


ALONE = Ranks()


@contextmanager
def joined(seen: Callable[[], int] | None = None) -> Iterator[Ranks]:
    """Meet the other processes that torchrun started, for the length of a block; alone, meet nobody.

    Args:
        seen: how new the run is that this process is to go on with, -1 where it sees none. Who sees the newest becomes
            the first, for that one reads and writes: torchrun numbers machines as it likes, in each launch anew.
    """
    place = find_place()
    if place.world == 1:
        yield ALONE
        return
    store, rank, world = next(dist.rendezvous("env://", place.rank, place.world, timeout=_PATIENCE))
    if seen is not None:
        rank = (rank - _newest(dist.PrefixStore("seen", store), rank, world, seen())) % world
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(
        backend, store=dist.PrefixStore("group", store), rank=rank, world_size=world, timeout=_PATIENCE
    )
    ranks = Ranks(place, dist.PrefixStore("icnet", store), rank)
    try:
        yield ranks
    except AlreadyToldError:
        raise
    except Exception as error:
        # The group is left as it is: the others learn of it from connections that close as this process ends.
        told = ranks.told(error)
        if isinstance(told, IcnetError):
            told.agreed = True
        if told is error:
            raise
        raise told from error
    dist.destroy_process_group()


def _newest(store: Any, rank: int, world: int, mine: int) -> int:
    """The process that sees the newest run; where many see the same, the first of them."""
    store.set(str(rank), str(mine))
    seen = [int(store.get(str(other))) for other in range(world)]
    return seen.index(max(seen))
