"""An engine whose network runs in another runtime: made at each size from our weights once, then kept on the disk."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import torch
from torch import Tensor, nn

import icnet_cli
from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.errors import usage_error

from .backends.runtimes import Run, Runtime
from .cache import Cache
from .engine import HostPixels, Labels, Picture, Size
from .processor import processor

_OPEN_AT_ONCE = 4  # sizes whose networks stay in memory: some 30 MB each
_KEY_CHARACTERS = 24


class BuiltEngine:
    """See the module's text. Pictures go in as bytes: the normalisation is part of the graph.

    Args:
        network: as trained. It is folded, traced and compiled at the first picture of each size, see `warm`.
        cache: where what was compiled is kept.
        digest: `weights_digest` of the network, where it is known.
    """

    gives_scores = True

    def __init__(
        self,
        network: nn.Module,
        normalisation: Normalisation,
        runtime: Runtime,
        cache: Cache | None = None,
        digest: str | None = None,
    ) -> None:
        self.backend, self.precision = runtime.name, runtime.precision
        self.device = torch.device("cpu")
        self.align_corners = bool(network.align_corners)
        self._network, self._normalisation, self._runtime = network, normalisation, runtime
        self._cache = cache or Cache()
        self._weights = digest or weights_digest(network)
        self._pixels = HostPixels(normalisation, self.align_corners)
        self._runs: OrderedDict[Size, Run] = OrderedDict()
        self._lock = Lock()  # a runtime writes the scores of each picture where those of the last one lay

    def prepare(self, frames: Sequence[Picture], size: Size) -> Tensor:
        """uint8 (N, 3, *size), channels last in memory. See `Engine.prepare`."""
        return self._pixels.stack(frames, size)

    def forward(self, pictures: Tensor) -> Tensor:
        """See `Engine.forward`. A batch is run one by one, which on a CPU costs nothing."""
        with self._lock:
            run = self._run_at((pictures.shape[2], pictures.shape[3]))
            each = [run(one[None]) for one in pictures.permute(0, 2, 3, 1).contiguous()]
        return (each[0] if len(each) == 1 else torch.cat(each)).permute(0, 3, 1, 2)

    def postprocess(self, scores: Tensor, size: Size, network_size: Size) -> list[Labels]:
        """See `Engine.postprocess`."""
        return self._pixels.postprocess(scores, size, network_size)

    def still_to_build(self, size: Size) -> str | None:
        """See `Engine.still_to_build`."""
        if size in self._runs or self.is_built(size):
            return None
        return f"{self.backend} builds the network for {size[0]}x{size[1]}, once, {self._runtime.build_time}"

    def warm(self, size: Size) -> None:
        """See `Engine.warm`."""
        with self._lock:
            self._run_at(size)

    def is_built(self, size: Size) -> bool:
        """Whether the disk has it at that size already."""
        return self._cache.has(self.key(size), self._runtime.suffix)

    def close(self) -> None:
        """See `Engine.close`."""
        self._runs.clear()

    def key(self, size: Size) -> str:
        """What makes two compiled networks the same: weights, size, precision, versions, processor, threads."""
        parts = (
            self._weights,
            repr(self._normalisation),
            f"{size[0]}x{size[1]} {self.precision}",
            f"{icnet_cli.__version__} {own_sources()}",
            str(torch.__version__),
            self._runtime.version(),
            processor(),
            str(torch.get_num_threads()),
        )
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_CHARACTERS]
        return f"{self.backend}-{digest}"

    def _run_at(self, size: Size) -> Run:
        if size not in self._runs:
            self._runs[size] = self._open(size)
            if len(self._runs) > _OPEN_AT_ONCE:
                self._runs.popitem(last=False)
        self._runs.move_to_end(size)
        return self._runs[size]

    def _open(self, size: Size) -> Run:
        key, runtime = self.key(size), self._runtime
        kept = self._cache.find(key, runtime.suffix)
        if kept is not None:
            try:
                return runtime.open(kept, torch.get_num_threads())
            except Exception:  # whole, and yet of no use here: made again
                self._cache.discard(kept)

        def make(path: Path) -> None:
            runtime.make(self._network, self._normalisation, size, path)

        try:
            return self._made(key, make)
        except (OSError, RuntimeError) as error:
            words = f"--backend {self.backend} could not build the network here ({_last_line(error)})"
            raise usage_error(f"{words}; use --backend torch") from error

    def _made(self, key: str, make: Callable[[Path], None]) -> Run:
        runtime, threads = self._runtime, torch.get_num_threads()
        with suppress(OSError):  # a disk that is full or read-only costs the cache only
            return runtime.open(self._cache.add(key, runtime.suffix, make), threads)
        with TemporaryDirectory() as folder:
            path = Path(folder, f"made{runtime.suffix}")
            make(path)
            return runtime.open(path, threads)


def weights_digest(network: nn.Module) -> str:
    """A hash of the network's form and of every value in it."""
    digest = hashlib.sha256(f"{type(network).__name__} {getattr(network, 'config', '')!r}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def own_sources() -> str:
    """A hash of what turns weights into a program: in a checkout it changes while the version does not."""
    package = Path(icnet_cli.__file__).parent
    files = [*package.glob("models/*.py"), package / "inference/fold.py"]
    files += package.glob("inference/backends/*.py")
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[-1]:.200}"
