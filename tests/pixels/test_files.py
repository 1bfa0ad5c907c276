"""Picture files: what is read, what is refused, what is left behind when writing fails."""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.files import (
    encode_labels_png,
    encode_picture,
    labels_at,
    read_first_picture,
    read_picture,
    shrink_or_grow,
    write_atomically,
    write_labels_png,
    write_picture,
)
from icnet_cli.pixels.headers import pictures_in, read_header

LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
ALL = (*LOSSLESS, ".jpg", ".jpeg", ".webp")


@pytest.fixture
def picture() -> np.ndarray:
    """(24, 36, 3): smooth, so that lossy formats stay near; its four corners differ."""
    rows, columns = np.mgrid[0:24, 0:36]
    return np.stack([rows * 10, columns * 7, 255 - rows * 5 - columns * 3], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("suffix", ALL)
def test_what_is_written_is_read(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, picture)
    found = read_picture(path)
    assert found.dtype == np.uint8
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).max() <= (0 if suffix in LOSSLESS else 16)
    header = read_header(path.read_bytes())
    assert header == (24, 36, None)


def test_what_opencv_thinks_of_a_picture_is_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a TIFF with 32-bit samples it has a line to say that names its own source file."""
    done, data = cv2.imencode(".tif", np.zeros((8, 8, 3), np.float32))
    assert done
    (tmp_path / "deep.tif").write_bytes(bytes(data))
    with suppress(IcnetError):  # OpenCV 4.11 can read it
        read_picture(tmp_path / "deep.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_picture_is_refused(tmp_path: Path, picture: np.ndarray, suffix: str, share: float) -> None:
    data = encode_picture(np.tile(picture, (4, 4, 1)), suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IcnetError, match=r"cut.*(cut short|cannot read|not a picture)") as caught:
        read_picture(path)
    assert caught.value.code == ExitCode.INPUT


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path, picture: np.ndarray) -> None:
    data = bytearray(encode_picture(picture, ".png"))
    data[len(data) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(IcnetError, match="checksum"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    "data", [b"", b"hello, world", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0"]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(IcnetError, match="not a picture") as caught:
        read_picture(tmp_path / "a.jpg")
    assert caught.value.code == ExitCode.INPUT


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"gone\.png: no such file") as caught:
        read_picture(tmp_path / "gone.png")
    assert caught.value.code == ExitCode.INPUT


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    data = bytearray(encode_labels_png(np.zeros((4, 4), np.uint8)))
    data[16:24] = struct.pack(">II", 60000, 60000)  # its checksum is now wrong too: size comes first
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(IcnetError, match="60000x60000 is more than"):
        read_picture(tmp_path / "bomb.png")
    write_labels_png(tmp_path / "small.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(IcnetError, match="more than the 15 pixels"):
        read_picture(tmp_path / "small.png", max_pixels=15)
    assert read_picture(tmp_path / "small.png", max_pixels=16).shape == (4, 4, 3)


def chunk(kind: bytes, data: bytes, order: str) -> bytes:
    """A chunk of a PNG (">") or a RIFF file ("<")."""
    if order == ">":
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def animated_png(count: int) -> bytes:
    data = encode_labels_png(np.full((8, 8), 77, np.uint8))
    return data[:33] + chunk(b"acTL", struct.pack(">II", count, 0), ">") + data[33:]


def animated_webp(picture: np.ndarray, count: int) -> bytes:
    """So many times the same picture, each shown for 40 ms."""
    height, width = picture.shape[:2]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    still = encode_picture(picture, ".webp")[12:]
    frame = chunk(b"ANMF", bytes(6) + size + (40).to_bytes(3, "little") + b"\0" + still, "<")
    parts = chunk(b"VP8X", b"\x02\0\0\0" + size, "<") + chunk(b"ANIM", bytes(6), "<") + frame * count
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def pages(picture: np.ndarray, count: int, kind: int = 0) -> bytes:
    """A TIFF of so many pages, those behind the first called `kind` (1: a smaller copy, 2: a page, 4: a mask)."""
    done, data = cv2.imencodemulti(".tiff", [picture] * count)
    assert done
    made = bytearray(data.tobytes())
    (at,) = struct.unpack_from("<I", made, 4)
    for n in range(count):
        (fields,) = struct.unpack_from("<H", made, at)
        if n:
            assert struct.unpack_from("<H", made, at + 2) == (254,)
            struct.pack_into("<I", made, at + 10, kind)
        (at,) = struct.unpack_from("<I", made, at + 2 + 12 * fields)
    return bytes(made)


def test_the_pages_of_a_tiff_are_counted(picture: np.ndarray) -> None:
    assert [pictures_in(pages(picture, count)) for count in (1, 2, 5)] == [1, 2, 5]
    assert pictures_in(pages(picture, 3, kind=2)) == 3
    assert pictures_in(pages(picture, 3, kind=1)) == pictures_in(pages(picture, 3, kind=4)) == 1
    whole = pages(picture, 3)
    assert all(pictures_in(whole[:end]) in (1, 2, 3) for end in range(8, len(whole), 7))
    (first,) = struct.unpack_from("<I", whole, 4)
    (fields,) = struct.unpack_from("<H", whole, first)
    again = bytearray(whole)
    struct.pack_into("<I", again, first + 2 + 12 * fields, first)  # a page that is followed by itself
    assert pictures_in(bytes(again)) == 1
    field = (1, 256, 4, 1, 8)  # one field: the width
    assert pictures_in(b"MM\0*" + struct.pack(">IHHHIIIHHHIII", 8, *field, 26, *field, 0)) == 2


def test_the_pictures_of_an_animated_file_are_counted(tmp_path: Path, picture: np.ndarray) -> None:
    for name, data, held in (
        ("a.webp", animated_webp(picture, 5), 5),
        ("b.png", animated_png(3), 3),
        ("c.webp", encode_picture(picture, ".webp"), 1),
        ("d.png", encode_picture(picture, ".png"), 1),
        ("e.jpg", encode_picture(picture, ".jpg"), 1),
    ):
        (tmp_path / name).write_bytes(data)
        found, count = read_first_picture(tmp_path / name)
        assert count == held, name
        np.testing.assert_array_equal(found, read_picture(tmp_path / name))


@pytest.mark.parametrize("data", [b"", b"RIFF\0\0\0\0WEBPVP8X", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\4acTL"])
def test_a_header_that_ends_early_counts_one(data: bytes) -> None:
    assert pictures_in(data) == 1


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    exif = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + struct.pack(">BBH", 0xFF, 0xE1, len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_honoured(
    tmp_path: Path, picture: np.ndarray, orientation: int, turns: int
) -> None:
    (tmp_path / "a.jpg").write_bytes(with_orientation(encode_picture(picture, ".jpg"), orientation))
    upright = read_picture(tmp_path / "a.jpg")
    expected = np.rot90(picture, turns)
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).mean() < 5


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 4)])
def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path, shape: tuple[int, ...]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full(shape, 9, np.uint8))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.full((5, 7, 3), 9))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 17)])
def test_label_pngs_are_grey_and_their_values_are_the_labels(tmp_path: Path, size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    write_labels_png(tmp_path / "a.png", labels)
    found = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert found.ndim == 2
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    "labels", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_what_is_no_label_map_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels are"):
        encode_labels_png(labels)


def test_a_failed_write_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IcnetError, match="no space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.code == ExitCode.OUTPUT
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_shrinking_averages_and_growing_does_not() -> None:
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(shrink_or_grow(stripes, (4, 4)), np.full((4, 4, 3), 100))
    assert shrink_or_grow(stripes, (8, 8)) is stripes
    assert shrink_or_grow(stripes, (16, 4)).shape == (16, 4, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_are_picked_in_the_middle(dtype: type) -> None:
    labels = np.arange(9 * 15).reshape(9, 15).astype(dtype)
    np.testing.assert_array_equal(labels_at(labels, (3, 5)), labels[1::3, 1::3])
    np.testing.assert_array_equal(labels_at(labels, (27, 45)), labels.repeat(3, 0).repeat(3, 1))
    assert labels_at(labels, (9, 15)) is labels
