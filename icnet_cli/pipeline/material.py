"""What two weights are compared on: a video's frames, picture files, or a dataset with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from icnet_cli.classes import ClassTable
from icnet_cli.config import CompareConfig
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import IcnetError, input_error, usage_error
from icnet_cli.evaluation.compare import Seen
from icnet_cli.pixels.files import PICTURE_SUFFIXES
from icnet_cli.video.live_address import is_address

from .items import Picture
from .opening import open_source
from .sources import PictureSource, Selection, VideoSource

_APART_S = 1.0  # frames of a video that are shown lie about so far apart


class FrameMaterial:
    """A video or picture files.

    Attributes:
        current: the picture given last, for who paints it.
    """

    split: str | None = None
    classes: ClassTable | None = None

    def __init__(self, source: VideoSource | PictureSource) -> None:
        self.source = source
        self.kind = "video" if isinstance(source, VideoSource) else "pictures"
        self.current: Picture | None = None

    @property
    def total(self) -> int | None:
        return self.source.total

    @property
    def problem(self) -> str | None:
        return self.source.problem

    @property
    def one_size(self) -> tuple[int, int] | None:
        """The (height, width) of all pictures; None where they may differ."""
        return self.source.size if isinstance(self.source, VideoSource) else None

    @property
    def apart(self) -> int:
        """How many frames of a video make a second."""
        if not isinstance(self.source, VideoSource):
            return 1
        return max(1, round(_APART_S * float(self.source.reader.info.frame_rate or 25)))

    def pictures(self) -> Iterator[Seen]:
        for picture in self.source:
            self.current = picture
            at = "" if picture.seconds is None else f", {picture.seconds:.2f} s"
            name = f"frame {picture.index}{at}" if self.kind == "video" else str(picture.name)
            yield Seen(name, picture.rgb)

    def close(self) -> None:
        self.source.close()


class DataMaterial:
    """A split of a dataset. Damaged pairs are left out and counted where that was asked for."""

    kind, apart = "dataset", 1

    def __init__(self, dataset: SegmentationDataset, limit: int | None) -> None:
        self._dataset, self.split = dataset, ",".join(dataset.splits)
        self.total: int | None = min(len(dataset), limit or len(dataset))
        self.classes: ClassTable | None = dataset.classes
        self.one_size = dataset.one_size

    @property
    def problem(self) -> str | None:
        return None  # damage that was not to be left out has ended the comparison

    def pictures(self) -> Iterator[Seen]:
        given = 0
        for index in range(self.total or 0):
            try:
                image, truth = self._dataset.read(index)
            except IcnetError:
                if not self._dataset.skip_damaged:
                    raise
                continue
            given += 1
            yield Seen(self._dataset.samples[index].name, image, truth)
        if not given:
            raise input_error(
                f"no picture of {self._dataset.layout.root} could be decoded; restore its files"
            )

    def close(self) -> None:
        """Nothing is open between pictures."""


Material = FrameMaterial | DataMaterial


def open_material(config: CompareConfig) -> Material:
    """What `config.source` names.

    Raises:
        IcnetError: INPUT for what cannot be read; USAGE for options that do not fit it.
    """
    if is_address(config.source):
        raise usage_error(f"{config.source} has no end to compare to; record a file of it first")
    folder = Path(config.source)
    if folder.is_dir() and not _is_pictures(folder):
        for name, value in (("--start", config.start_s), ("--end", config.end_s)):
            if value is not None:
                raise usage_error(f"{name} is for a video; {folder} is a dataset")
        dataset = SegmentationDataset(
            recognise(folder), [config.split or "val"], skip_damaged=config.skip_damaged
        )
        dataset.check_files()
        return DataMaterial(dataset, config.frames)
    if config.split is not None:
        raise usage_error(f"--split is for a dataset; {config.source} is none")
    return FrameMaterial(open_source(config.source, Selection(config.start_s, config.end_s, config.frames)))


def _is_pictures(folder: Path) -> bool:
    """Whether a folder is of no known layout and holds pictures itself."""
    try:
        recognise(folder)
    except IcnetError:
        return any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir())
    return False
