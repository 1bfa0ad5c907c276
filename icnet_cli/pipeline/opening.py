"""From a source's name to the source: a video file, a pipe, an address, an image, a folder or a glob of images."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePath

from icnet_cli.config import MAX_PIXELS
from icnet_cli.errors import IcnetError, input_error, printable, usage_error
from icnet_cli.pixels.files import PICTURE_SUFFIXES, files_below
from icnet_cli.video import VideoReader, open_video
from icnet_cli.video.live_address import is_address
from icnet_cli.video.pipe import STDIN, PipeReader

from .live import LiveOptions, open_live
from .sources import GIF, VIDEO_SUFFIXES, PictureSource, Selection, VideoSource

PIPE = "-"  # the source that is standard input
_WORDS_SHOWN = 3


def open_source(
    text: str,
    selection: Selection,
    stream: int | None = None,
    max_pixels: int = MAX_PIXELS,
    live: LiveOptions | None = None,
    open_file: Callable[..., VideoReader] = open_video,
) -> VideoSource | PictureSource:
    """The source that `text` names; `live` is how one that is live is read, `open_file` what opens a video.

    Raises:
        IcnetError: INPUT where there is nothing of the kind; USAGE for a mixture, or options that do not fit it.
    """
    path = Path(text)
    if text == PIPE:
        return _pipe(selection, stream, max_pixels)
    if is_address(text):
        return _address(text, selection, stream, max_pixels, live or LiveOptions())
    if path.is_dir():
        return _folder(path, selection, max_pixels)
    if not os.path.lexists(path) and glob.has_magic(text):
        return _glob(text, selection, stream, max_pixels, open_file)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        if not path.exists():
            raise input_error(f"cannot read {text}: there is no such file")
        return PictureSource([path], [path.stem], selection, max_pixels)
    return _video(path, selection, stream, max_pixels, open_file)


def _address(
    text: str, selection: Selection, stream: int | None, max_pixels: int, live: LiveOptions
) -> VideoSource:
    try:
        return open_live(text, selection, stream, max_pixels, live)
    except IcnetError as error:
        if os.path.isfile(text):  # what looks like a camera or an address, and is neither, may be this
            error.add_note(f"./{printable(text)} names the file that is called so")
        raise


def _video(
    path: Path,
    selection: Selection,
    stream: int | None,
    max_pixels: int,
    open_file: Callable[..., VideoReader],
) -> VideoSource:
    start_s, end_s = selection.start_s, selection.end_s
    reader = open_file(path, stream=stream, start_s=start_s, end_s=end_s, max_pixels=max_pixels)
    return VideoSource(reader, selection)


def _pipe(selection: Selection, stream: int | None, max_pixels: int) -> VideoSource:
    if os.isatty(STDIN):
        raise usage_error("- reads a video from stdin, and nothing is piped into it; name a file")
    reader = PipeReader(descriptor=STDIN, stream=stream, end_s=selection.end_s, max_pixels=max_pixels)
    return VideoSource(reader, selection)


def _folder(folder: Path, selection: Selection, max_pixels: int) -> PictureSource:
    files = list(files_below(folder))
    pictures = _only_pictures(files, str(folder))
    if not pictures:
        raise input_error(
            f"the folder {folder} holds no videos and no pictures ({', '.join(PICTURE_SUFFIXES)})"
        )
    return _pictures(pictures, folder, selection, max_pixels, _gifs(files))


def _glob(
    pattern: str,
    selection: Selection,
    stream: int | None,
    max_pixels: int,
    open_file: Callable[..., VideoReader],
) -> VideoSource | PictureSource:
    found = [Path(name) for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)]
    if len(found) == 1 and found[0].suffix.lower() not in PICTURE_SUFFIXES:
        return _video(found[0], selection, stream, max_pixels, open_file)
    pictures = _only_pictures(found, pattern)
    if not pictures:
        raise input_error(f"{pattern} matches no pictures; quote it, and look where it points")
    # Sub-folders are kept from the first place on where the pattern leaves a choice.
    fixed = []
    for part in Path(pattern).parent.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return _pictures(pictures, Path(*fixed), selection, max_pixels, _gifs(found))


def _gifs(files: list[Path]) -> list[Path]:
    """Pictures to their owner, videos to us: named among pictures they are left out, and told."""
    return sorted(file for file in files if file.suffix.lower() == GIF)


def _only_pictures(files: list[Path], where: str) -> list[Path]:
    """The pictures among the files; a usage error where there are videos too. Other files are passed over."""
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    videos = sorted(file.name for file in files if file.suffix.lower() in VIDEO_SUFFIXES)
    if videos:
        some = ", ".join(videos[:_WORDS_SHOWN]) + (", ..." if len(videos) > _WORDS_SHOWN else "")
        what = "pictures and videos" if pictures else "videos"
        raise usage_error(f"{where} holds {what} ({some}); name one video, or the pictures alone")
    return pictures


def _pictures(
    files: list[Path], base: Path, selection: Selection, max_pixels: int, left_out: list[Path]
) -> PictureSource:
    files = sorted(files, key=lambda file: natural_key(file.relative_to(base)))
    names = [file.relative_to(base).with_suffix("") for file in files]
    seen: dict[PurePath, Path] = {}
    for file, name in zip(files, names, strict=True):
        if name in seen:
            raise usage_error(f"{seen[name]} and {file} would be written under one name; rename one")
        seen[name] = file
    return PictureSource(files, [name.as_posix() for name in names], selection, max_pixels, left_out)


def natural_key(path: PurePath) -> list[list[tuple[int, int, str]]]:
    """Sorts img2 before img10, folder by folder."""
    return [
        [
            (1, int(run), "") if run[0].isdecimal() else (2, 0, run.lower())
            for run in re.findall(r"\d+|\D+", part)
        ]
        + [(0, 0, part)]
        for part in path.parts
    ]
