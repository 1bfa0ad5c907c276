"""`--stats`: a row a frame, when it is shown and the share of each class in it."""

from __future__ import annotations

import contextlib
import csv
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, Any

from icnet_cli.errors import usage_error
from icnet_cli.outputs import json_line, refuse_unwritable
from icnet_cli.video.atomic import PartFile, writing_error

from .items import Picture

_DIGITS = 6  # of shares: a pixel of a 1000x1000 picture


class StatsFile:
    """A .csv or .jsonl that appears under its name when it is complete.

    A .csv has the columns frame, pts, seconds, one a class by its name, and confidence where it is asked for; a line of
    a .jsonl has the classes under "share". pts is in ticks of the source; pictures have a file instead of times.

    Args:
        path: by its suffix .csv or .jsonl.
        output: the run's other output, which it may not be.
        late: whether nothing is written before the end of the run: then until there nothing lies beside it.

    Raises:
        IcnetError: USAGE where it exists, or is an input or the output; OUTPUT where it cannot be written.
    """

    def __init__(
        self, path: Path, *, overwrite: bool, inputs: tuple[Path, ...], output: Path, late: bool = False
    ) -> None:
        target = refuse_unwritable(path, overwrite=overwrite, inputs=inputs)
        if target == output:
            raise usage_error(f"--stats {path} is the output itself; name another file")
        self._path, self._lines = path, path.suffix.lower() == ".jsonl"
        self.begun = False  # whether the head of the columns has been told
        self._new_part = partial(PartFile, target, overwrite=overwrite)
        self._part = None if late else self._new_part()
        self._file: IO[str] | None = None

    def text(self, picture: Picture, shares: dict[str, float], confidence: float | None) -> str:
        """The row of one picture, and before the first one the columns' names; shares by class name."""
        row: dict[str, Any] = {"frame": picture.index}
        if picture.pts is None:
            row["file"] = picture.name
        else:
            row |= {"pts": picture.pts, "seconds": round(picture.seconds or 0.0, _DIGITS)}
        rounded = {name: round(share, _DIGITS) for name, share in shares.items()}
        tail = {} if confidence is None else {"confidence": round(confidence, _DIGITS)}
        if self._lines:
            return json_line({**row, "share": rounded, **tail}) + "\n"
        made = StringIO()
        rows = csv.writer(made, lineterminator="\n")
        if not self.begun:
            rows.writerow([*row, *rounded, *tail])
            self.begun = True
        rows.writerow([*row.values(), *rounded.values(), *tail.values()])
        return made.getvalue()

    def write(self, text: str) -> None:
        """Add rows."""
        try:
            if self._file is None:
                self._part = self._part or self._new_part()
                # A picture's name that is no UTF-8 is written by its own bytes, as the disk has it.
                self._file = self._part.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._file.write(text)
        except OSError as error:
            raise writing_error(self._path, error) from error

    def close(self) -> None:
        """Give it its name."""
        try:
            if self._file is not None:
                self._file.close()
            (self._part or self._new_part()).publish()
        except OSError as error:
            self.abort()
            raise writing_error(self._path, error) from error

    def abort(self) -> None:
        """Leave nothing behind. Safe after `close`."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk refuses the last lines again
                self._file.close()
        if self._part is not None:
            self._part.discard()
