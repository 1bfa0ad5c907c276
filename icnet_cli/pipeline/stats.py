"""`--stats`: a row a frame, when it is shown and the share of each class in it."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import IO, Any

from icnet_cli.errors import usage_error
from icnet_cli.video.atomic import PartFile, refuse_unwritable, writing_error

from .items import Picture

_DIGITS = 6  # of shares: a pixel of a 1000x1000 picture


class StatsFile:
    """A .csv or .jsonl that appears under its name when it is complete.

    A .csv has the columns frame, pts, seconds, one a class by its name, and confidence where it is asked for; a line of
    a .jsonl has the classes under "share". pts is in ticks of the source; pictures have a file instead of times.

    Args:
        path: by its suffix .csv or .jsonl.
        output: the run's other output, which it may not be.

    Raises:
        IcnetError: USAGE where it exists, or is an input or the output; OUTPUT where it cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool, inputs: tuple[Path, ...], output: Path) -> None:
        target = refuse_unwritable(path, overwrite=overwrite, inputs=inputs)
        if target == output:
            raise usage_error(f"--stats {path} is the output itself; name another file")
        self._path, self._lines = path, path.suffix.lower() == ".jsonl"
        self._part = PartFile(target, overwrite=overwrite)
        self._file: IO[str] | None = None

    def write(self, picture: Picture, shares: dict[str, float], confidence: float | None) -> None:
        """Add the row of one picture; shares by class name."""
        row: dict[str, Any] = {"frame": picture.index}
        if picture.pts is None:
            row["file"] = picture.name.as_posix()
        else:
            row |= {"pts": picture.pts, "seconds": round(picture.seconds or 0.0, _DIGITS)}
        rounded = {name: round(share, _DIGITS) for name, share in shares.items()}
        tail = {} if confidence is None else {"confidence": round(confidence, _DIGITS)}
        try:
            self._write(row, rounded, tail)
        except OSError as error:
            raise writing_error(self._path, error) from error

    def _write(self, row: dict[str, Any], shares: dict[str, float], tail: dict[str, float]) -> None:
        if self._file is None:
            self._file = self._part.path.open("w", encoding="utf-8", newline="")
            if not self._lines:
                csv.writer(self._file, lineterminator="\n").writerow([*row, *shares, *tail])
        if self._lines:
            self._file.write(json.dumps({**row, "share": shares, **tail}, ensure_ascii=False) + "\n")
        else:
            csv.writer(self._file, lineterminator="\n").writerow(
                [*row.values(), *shares.values(), *tail.values()]
            )

    def close(self) -> None:
        """Give it its name."""
        try:
            if self._file is not None:
                self._file.close()
            self._part.publish()
        except OSError as error:
            self.abort()
            raise writing_error(self._path, error) from error

    def abort(self) -> None:
        """Leave nothing behind. Safe after `close`."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk refuses the last lines again
                self._file.close()
        self._part.discard()
