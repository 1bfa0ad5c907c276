"""What is said to programs is JSON whatever the files are called."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from icnet_cli.cli.console import emit_json, say_json


@pytest.mark.parametrize("errors", ["surrogateescape", "strict"])  # Python's in the C locale, and elsewhere
@pytest.mark.parametrize(("stream", "write"), [("stdout", emit_json), ("stderr", say_json)])
def test_a_name_that_is_not_utf8(
    monkeypatch: pytest.MonkeyPatch, errors: str, stream: str, write: Callable[[dict[str, Any]], None]
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(written, "utf-8", errors))
    for name in ("b\udcffp.jpg", "straße.jpg"):
        write({"input": name})
    lines = written.getvalue().splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["b\udcffp.jpg", "straße.jpg"]
    assert "straße" in lines[1].decode()
