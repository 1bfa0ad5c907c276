"""Compiled models on the disk: whole, private, bounded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from icnet_cli.inference.cache import Cache, cache_folder


def put(cache: Cache, key: str, content: bytes) -> Path:
    return cache.add(key, ".bin", lambda path: path.write_bytes(content) and None)


def test_what_was_put_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.find("a", ".bin") is None
    put(cache, "a", b"one")
    found = cache.find("a", ".bin")
    assert found is not None
    assert found.read_bytes() == b"one"
    assert cache.has("a", ".bin")
    assert not cache.has("b", ".bin")
    assert stat.S_IMODE((tmp_path / "deep" / "cache").stat().st_mode) == 0o700


def test_damage_is_known_by_the_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    put(cache, "a", b"one").write_bytes(b"onf")
    assert cache.find("a", ".bin") is None
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        Cache(tmp_path).add("a", ".bin", fail)
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=25)
    for age, key in enumerate("abc"):
        path = put(cache, key, key.encode() * 8)
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.find("a", ".bin")  # used now
    put(cache, "d", b"d" * 8)
    assert [key for key in "abcd" if cache.has(key, ".bin")] == ["a", "c", "d"]


def test_the_newest_stays_however_large(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=5)
    put(cache, "a", b"a" * 4)
    put(cache, "b", b"b" * 50)
    assert not cache.has("a", ".bin")
    assert cache.has("b", ".bin")


def test_what_killed_processes_left_is_cleared(tmp_path: Path) -> None:
    for name, age_s in ((".making-old", 10**6), (".making-new", 0)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        then = folder.stat().st_mtime - age_s
        os.utime(folder, (then, then))
    put(Cache(tmp_path), "a", b"one")
    assert {path.name for path in tmp_path.glob(".making-*")} == {".making-new"}


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("ICNET_CACHE_DIR", raising=False)
    assert cache_folder() == Path("/xdg/icnet")
    monkeypatch.setenv("ICNET_CACHE_DIR", "/mine")
    assert cache_folder() == Path("/mine")
    monkeypatch.delenv("ICNET_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "icnet"
