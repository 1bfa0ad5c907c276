"""Pictures are whole, bounded and of a clear form, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from icnet_cli.data import files
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.headers import orientation

from . import make


def png(bits: int, color_type: int, width: int, height: int, rows: bytes, palette: bytes = b"") -> bytes:
    """A PNG of any form, which OpenCV's writer cannot make."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    body = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    if palette:
        body.insert(1, chunk(b"PLTE", palette))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_an_image_is_rgb(tmp_path: Path) -> None:
    picture = make.image("a")
    read = files.read_image(make.write(tmp_path / "a.png", picture))
    assert (read == picture).all()
    assert read.dtype == np.uint8


def test_a_grey_image_becomes_rgb(tmp_path: Path) -> None:
    read = files.read_image(make.write(tmp_path / "a.png", make.image("a")[..., 0]))
    assert read.shape == (*make.SIZE, 3)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = make.write(tmp_path / f"a{ending}", make.image("a"))
    assert files.read_image(path).shape == (*make.SIZE, 3)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IcnetError, match=str(path)) as caught:
        files.read_image(path)
    assert caught.value.code == ExitCode.INPUT


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.png", make.image("a"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IcnetError, match="damaged"):
        files.read_image(path)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(IcnetError) as caught:
        files.read_image(path)
    assert caught.value.code == ExitCode.INPUT


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"a\.png is missing"):
        files.read_image(tmp_path / "a.png")
    with pytest.raises(IcnetError, match="could not be read"):
        files.read_image(tmp_path)


def test_a_header_beyond_bounds_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 0, 60000, 60000, b"\0"))
    with pytest.raises(IcnetError, match="60000x60000"):
        files.read_image(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(IcnetError, match="larger"):
        files.read_image(path)


def test_labels_are_read_as_they_stand(tmp_path: Path) -> None:
    values = make.labels([0, 7, 254, 255])
    assert (files.read_raw_labels(make.write(tmp_path / "a.png", values)) == values).all()


def test_a_16_bit_png_may_hold_labels_but_no_larger_values(tmp_path: Path) -> None:
    values = make.labels([0, 7, 255]).astype(np.uint16)
    read = files.read_raw_labels(make.write(tmp_path / "a.png", values))
    assert (read == values).all()
    assert read.dtype == np.uint8
    values[0, 0] = 300
    with pytest.raises(IcnetError, match="300"):
        files.read_raw_labels(make.write(tmp_path / "a.png", values))


def test_a_palette_image_is_refused_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 3, 2, 1, b"\0\0\1", palette=bytes([0, 0, 0, 128, 0, 0])))
    with pytest.raises(
        IcnetError, match="palette image, expected single-channel greyscale; save its indices"
    ):
        files.read_raw_labels(path)
    # Where colours are meant, a palette is just a way to write them.
    assert files.read_raw_labels(path, color=True).tolist() == [[[0, 0, 0], [128, 0, 0]]]


def test_a_color_image_or_a_jpeg_is_refused_as_labels(tmp_path: Path) -> None:
    color = make.write(tmp_path / "a.png", make.image("a"))
    with pytest.raises(IcnetError, match="color image"):
        files.read_raw_labels(color)
    assert files.read_raw_labels(color, color=True).shape == (*make.SIZE, 3)
    with pytest.raises(IcnetError, match="not a PNG"):
        files.read_raw_labels(make.write(tmp_path / "a.jpg", make.labels([0, 1])))


def test_an_exif_rotation_is_left_alone(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.jpg", make.image("a"))
    data = path.read_bytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 3, 1, 6) + b"\0\0\0\0"  # turn by 90 degrees
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert files.read_image(path).shape == (*make.SIZE, 3)
    assert cv2.imread(str(path)).shape == (*make.SIZE[::-1], 3)  # the failing twin: OpenCV's default


def exif_block(order: str, orientation: int) -> bytes:
    """A TIFF directory of one field: how the picture is to be shown."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "IHHHIHH", 8, 1, 274, 3, 1, orientation, 0) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", [1, 3, 8])
def test_the_exif_orientation_of_every_kind_of_file(order: str, turn: int) -> None:
    block = exif_block(order, turn)
    jpeg = b"\xff\xd8\xff\xe0" + struct.pack(">H", 2 + 3) + b"JFI"
    jpeg += b"\xff\xe1" + struct.pack(">H", 8 + len(block)) + b"Exif\0\0" + block + b"\xff\xda\0\2"
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(block)) + b"eXIf" + block + bytes(4)
    webp = b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", len(block)) + block
    assert [orientation(data) for data in (jpeg, png, webp, block)] == [turn] * 4
    for data in (jpeg, png, webp, block):
        assert {orientation(data[:end]) for end in range(len(data))} <= {
            1,
            turn,
        }  # cut anywhere: no exception
