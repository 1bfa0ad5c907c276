"""Where OpenCV cannot be loaded, one line gives both cures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_without_opencv(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a slim server runs it: `import cv2` fails for want of a shared object."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "icnet_cli", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_cures_in_one_line(tmp_path: Path) -> None:
    result = run_without_opencv(tmp_path, "data", "check", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    for words in ("libGL.so.1", "apt-get install libgl1 libglib2.0-0", "pip install opencv-python-headless"):
        assert words in result.stderr


def test_help_needs_no_opencv(tmp_path: Path) -> None:
    result = run_without_opencv(tmp_path, "--help")
    assert result.returncode == 0
    assert "Examples" in result.stdout
