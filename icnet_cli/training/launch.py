"""Which of how many processes this is, as torchrun says it in the environment. No torch is imported here."""

from __future__ import annotations

import os
from dataclasses import dataclass

from icnet_cli.errors import usage_error

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """A process's place among those that train one network together; alone, the first of one.

    Attributes:
        rank: from 0 up over all machines; world: how many there are.
        local_rank, local_world: the same on this machine alone.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def speaks(self) -> bool:
        """Whether this process shows progress, writes files and prints results: the first alone does."""
        return self.rank == 0


def find_place() -> Place:
    """This process's place.

    Raises:
        IcnetError: exit 2 where the environment says something that no launcher does.
    """
    if any(name not in os.environ for name in _NEEDED):
        return Place()
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        local_world = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    except ValueError:
        raise usage_error(
            "RANK, WORLD_SIZE and LOCAL_RANK in the environment must be whole numbers"
        ) from None
    if not (0 <= rank < world and 0 <= local_rank < local_world <= world):
        raise usage_error(
            f"the environment names rank {rank} of {world}, {local_rank} of {local_world} on this machine: "
            "start the processes with torchrun"
        )
    return Place(rank, world, local_rank, local_world)
