"""An output's name: one set of rules, in one wording, for every command that writes a file."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.export.outputs import beside, publish
from icnet_cli.outputs import json_line, refuse_taken, refuse_unwritable, whole_file
from icnet_cli.video.atomic import PartFile
from icnet_cli.video.segments import SegmentFile, document_of

EXISTS = "exists; overwrite it with -y or name another output"
FOLDER = "is a folder; name a file in it"


def refusal(path: Path, *, overwrite: bool = True, inputs: tuple[Path, ...] = ()) -> str:
    """What both checks say; they agree but for a missing folder."""
    with pytest.raises(IcnetError) as caught:
        refuse_taken(path, overwrite=overwrite, inputs=inputs)
    assert caught.value.code is ExitCode.USAGE
    with pytest.raises(IcnetError) as other:
        refuse_unwritable(path, overwrite=overwrite, inputs=inputs)
    assert (str(other.value), other.value.code) == (str(caught.value), ExitCode.USAGE)
    return str(caught.value)


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("theirs")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    missing = tmp_path / "gone"
    for name in ("in", "soft", "hard"):
        assert "is the input itself" in refusal(tmp_path / name, inputs=(missing, source))
    assert refuse_taken(tmp_path / "out", overwrite=False, inputs=(missing, source)) == tmp_path / "out"


def test_what_is_there_is_replaced_only_when_told(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    assert refusal(there, overwrite=False) == f"{there} {EXISTS}"
    assert refuse_unwritable(there, overwrite=True) == there


def test_folders_and_devices_are_no_files(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} {FOLDER}"
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")


def test_a_missing_folder_is_an_output_error_where_none_is_made(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out"
    assert refuse_taken(path, overwrite=False) == path
    with pytest.raises(IcnetError, match="its folder does not exist") as caught:
        refuse_unwritable(path, overwrite=False)
    assert caught.value.code is ExitCode.OUTPUT


def test_a_link_is_resolved_and_a_name_made_printable(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "far")
    assert refuse_unwritable(tmp_path / "link", overwrite=False) == tmp_path / "far"
    (tmp_path / "a\x1b[2Jb").mkdir()
    assert "a?[2Jb" in refusal(tmp_path / "a\x1b[2Jb")


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "車" * 83 + ".png", "\N{AUTOMOBILE}" * 62 + ".png"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    """A name may have 255 bytes; the hidden file beside it has one too."""
    with whole_file(tmp_path / name) as part:
        part.write_bytes(b"whole")
    assert (tmp_path / name).read_bytes() == b"whole"
    writing = PartFile(tmp_path / f"{name[:-4]}.mkv", overwrite=False)
    writing.path.write_bytes(b"video")
    writing.publish()
    with beside(tmp_path / name) as folder:
        assert folder.parent == tmp_path
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_a_file_that_fails_leaves_the_one_before(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "new" / "a.png"
    with whole_file(path) as part:
        part.write_bytes(b"old")

    def fail() -> None:
        with whole_file(path) as part:
            part.write_bytes(b"new")
            raise error

    with pytest.raises((IcnetError, ValueError)) as caught:
        fail()
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write {path}: no space left on device"
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["a.png"]


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_who_may_read_a_file_is_as_the_umask_says(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        for _ in range(2):  # anew, and in place of the one before
            with whole_file(tmp_path / "a.png") as part:
                part.write_bytes(b"whole")
            assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == mode
        with whole_file(tmp_path / "a.safetensors") as part:
            save_file({"a": torch.zeros(2)}, part)  # which writes a file of its own, and gives it this name
        assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == mode
    finally:
        os.umask(before)


def test_what_is_written_is_synced_as_windows_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a file is synced only while it is open for writing, and a folder not at all."""
    fcntl, sync = pytest.importorskip("fcntl"), os.fsync

    def windows_fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", windows_fsync)
    with whole_file(tmp_path / "a.png") as part:
        part.write_bytes(b"whole")
    published = PartFile(tmp_path / "b.mp4", overwrite=False)
    published.path.write_bytes(b"whole")
    published.publish()
    with beside(tmp_path / "c.xml") as folder:
        (folder / "c.xml").write_bytes(b"whole")
        publish([folder / "c.xml"], tmp_path)
    segment = SegmentFile(tmp_path / "000000.segment")
    segment.finish({})
    names = ["000000.segment", "a.png", "b.mp4", "c.xml"]
    assert sorted(os.listdir(tmp_path)) == names
    assert document_of(segment.path) == {}


@pytest.mark.parametrize("name", ["straße 車.jpg", "b\udcffp.jpg", "\\\udcff", "\N{AUTOMOBILE}\udc80\n"])
def test_json_is_utf8_whatever_a_file_is_called(name: str) -> None:
    line = json_line({"input": name})
    assert json.loads(line.encode()) == {"input": name}
    assert "\n" not in line
    assert ("straße" in line) == ("straße" in name)


LONG = "x" * 300


@pytest.mark.parametrize("place", ["", "missing/"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(IcnetError, match="the name is too long") as caught:
        refuse_taken(tmp_path / f"{place}{LONG}.mp4", overwrite=True)
    assert caught.value.code == ExitCode.USAGE
    longest = tmp_path / f"{'x' * 251}.mp4"
    assert refuse_taken(longest, overwrite=True) == longest


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for overwrite in (False, True):
        with pytest.raises(IcnetError, match="leads to itself") as caught:
            refuse_taken(tmp_path / "loop.mp4", overwrite=overwrite)
        assert caught.value.code == ExitCode.USAGE
    (tmp_path / "free.mp4").symlink_to("made.mp4")
    assert refuse_taken(tmp_path / "free.mp4", overwrite=False) == tmp_path / "made.mp4"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder here that takes no file even of root")
def test_a_folder_that_takes_no_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"cannot write /proc/out.html: no such file") as caught:
        refuse_unwritable(Path("/proc/out.html"), overwrite=False)
    assert caught.value.code == ExitCode.OUTPUT
    refuse_unwritable(tmp_path / "new.html", overwrite=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="no files without names on this system")
def test_what_is_tried_has_no_name_that_a_kill_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def recorded(path: str, *more: Any, _open: Callable[..., int] = os.open, **named: Any) -> int:
        opened.append(os.fspath(path))
        return _open(path, *more, **named)

    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        pytest.skip("no files without names in this folder")
    monkeypatch.setattr(os, "open", recorded)
    refuse_unwritable(tmp_path / "new.html", overwrite=False)
    assert opened == [str(tmp_path)]
