from __future__ import annotations

import json
from pathlib import Path

import pytest

from icnet_cli.documents import read_json


def test_a_document_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [1, "ü"]}), encoding="utf-8")
    assert read_json(path) == {"a": [1, "ü"]}
    assert read_json(path, most=path.stat().st_size) == {"a": [1, "ü"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'"' + b"a" * 999 + b'"', "more than 1000 bytes"),
        (b"[" * 500 + b"]" * 500, None),  # deep, but not too deep for the reader
        (b"{", "Expecting"),
        (b'"\xff\xfe"', "decode"),
    ],
)
def test_what_is_no_document(tmp_path: Path, data: bytes, said: str | None) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    if said is None:
        read_json(path, most=1000)
        return
    with pytest.raises(ValueError, match=said):
        read_json(path, most=1000)


def test_depth_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[" * 200_000)
    with pytest.raises(ValueError, match="nested"):
        read_json(path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ValueError, match="more than"):
        read_json(Path("/dev/zero"), most=1000)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
