"""`--show`: what is drawn, which keys are heard, and what is said where there can be no window."""

# ruff: noqa: N802  (OpenCV's names)

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import show
from icnet_cli.pipeline.items import Picture
from icnet_cli.pipeline.segment import segment
from icnet_cli.pipeline.show import Screen, Window, as_bgr, require_display
from icnet_cli.pipeline.sinks import NoSink, ToldSink
from icnet_cli.pipeline.watched import Watched
from icnet_cli.pixels.cv import cv2
from icnet_cli.pixels.yuv import Planes, YuvColour
from tests.inference.tiny import CLASSES

COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)


class Gui:
    """Stands in for OpenCV's window functions; `keys` are pressed one after another."""

    WINDOW_AUTOSIZE, WINDOW_GUI_NORMAL, WND_PROP_VISIBLE = 1, 16, 4

    def __init__(self, *keys: int, build: str = "  GUI:                           QT5\n") -> None:
        self.keys, self.build = list(keys), build
        self.pictures: list[np.ndarray] = []
        self.open = False
        self.visible = 1.0

    def namedWindow(self, title: str, flags: int) -> None:
        self.open = True

    def imshow(self, title: str, picture: np.ndarray) -> None:
        self.pictures.append(picture)

    def waitKey(self, milliseconds: int) -> int:
        assert milliseconds >= 1  # zero waits for ever
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title: str, which: int) -> float:
        return self.visible

    def destroyAllWindows(self) -> None:
        self.open = False

    def getBuildInformation(self) -> str:
        return self.build


def clock_of(*seconds: float) -> Any:
    times = iter(seconds)
    return lambda: next(times)


def test_keys() -> None:
    gui = Gui(ord("q"), 27, ord(" "), ord("x"), -1)
    window = Window("x", gui)
    assert window.key() is None  # it is not open yet
    window.draw(np.zeros((40, 60, 3), np.uint8))
    assert [window.key() for _ in range(5)] == ["quit", "quit", "pause", "other", None]
    gui.visible = 0.0
    assert window.key() == "quit"  # closed by hand
    window.close()
    assert not gui.open


def test_frames_a_second_are_counted_over_the_last_two_seconds() -> None:
    window = Window("x", Gui(), clock_of(0.0, 10.0, 10.5, 11.0))
    picture = np.zeros((40, 60, 3), np.uint8)
    window.draw(picture)
    assert window.fps == 0.0
    for _ in range(3):
        window.draw(picture)
    assert window.fps == pytest.approx(2.0)


def test_words_are_drawn_into_a_copy_that_fits_the_screen() -> None:
    gui = Gui()
    picture = np.full((2000, 4000, 3), 90, np.uint8)
    Window("x", gui).draw(picture, ", 3 dropped")
    assert gui.pictures[0].shape == (800, 1600, 3)
    assert gui.pictures[0].max() > 200  # words
    assert picture.max() == 90


def test_a_slot_holds_the_newest_picture_alone() -> None:
    screen = Screen()
    sink = ToldSink(NoSink(), screen.put)
    for number in range(3):
        picture = Picture("x", number, np.zeros((2, 2, 3), np.uint8))
        sink.write(picture, np.full((2, 2, 3), number, np.uint8))
    shown = screen.take()
    assert shown is not None
    assert isinstance(shown.rendered, np.ndarray)
    assert shown.rendered.max() == 2
    assert screen.take() is None


def test_colours_on_the_screen_are_those_that_are_written() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (8, 12, 3), np.uint8)
    np.testing.assert_array_equal(as_bgr(rgb, COLOURS), rgb[..., ::-1])
    labels = np.random.default_rng(2).integers(0, 256, (8, 12), np.uint8)
    np.testing.assert_array_equal(as_bgr(labels, COLOURS), COLOURS[labels][..., ::-1])


@pytest.mark.parametrize("step", [1, 2])
def test_planes_are_shown_in_about_their_colours(step: int) -> None:
    colour = np.array([200, 60, 30], np.uint8)
    y, u, v = YuvColour("bt470bg", full_range=True).from_rgb(colour)
    chroma = (9 // step + 9 % step * (step > 1), 12 // step)
    planes = Planes(np.full((9, 12), y, np.uint8), *(np.full(chroma, value, np.uint8) for value in (u, v)))
    found = as_bgr(planes, COLOURS)
    assert found.shape == (9, 12, 3)
    assert np.abs(found.astype(int) - colour[::-1]).max() <= 25


@pytest.mark.parametrize(
    "build",
    ["  GUI:                           NONE\n", "  GUI:\n    GTK+:  NO\n", "  Media I/O:\n    ZLib:  YES\n"],
)
def test_a_headless_opencv_is_refused_with_its_cure(build: str) -> None:
    with pytest.raises(IcnetError, match="pip install opencv-python`") as raised:
        require_display(Gui(build=build))
    assert raised.value.code == ExitCode.USAGE


def test_no_display_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(IcnetError, match="DISPLAY is not set") as raised:
        require_display(Gui(), "linux")
    assert raised.value.code == ExitCode.DEVICE


@pytest.mark.parametrize(("code", "refused"), [(0, False), (-6, True)])
def test_a_display_that_does_not_answer(code: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolkit would end the whole process: another one tries first."""
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(show.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code))
    if not refused:
        require_display(Gui(), "linux")
        return
    with pytest.raises(IcnetError, match=":99 cannot be opened") as raised:
        require_display(Gui(), "linux")
    assert raised.value.code == ExitCode.DEVICE


def test_other_systems_have_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    require_display(Gui(), "darwin")


@pytest.mark.parametrize(("view", "output"), [("overlay", None), ("labels", None), ("overlay", "out.mp4")])
def test_every_picture_of_a_run_passes_the_screen(
    view: str, output: str | None, tmp_path: Path, video: Path, segmenter: Segmenter
) -> None:
    from icnet_cli.config import SegmentConfig
    from icnet_cli.config.live import NOWHERE

    watched = Watched(Screen())
    assert watched.screen is not None
    target = NOWHERE if output is None else tmp_path / output
    config = SegmentConfig(source=str(video), output=target, show=True, view=view)
    shapes = set()
    events = segment(config, segmenter, watched)
    while True:
        try:
            next(events)
        except StopIteration as end:
            report = end.value
            break
        shown = watched.screen.take()
        if shown is not None:
            shapes.add(as_bgr(shown.rendered, watched.screen.colours).shape)
    assert shapes == {(48, 72, 3)}
    assert report["frames"] == 10
    assert report["output"] == (None if output is None else str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"] + [output] * (output is not None)
    np.testing.assert_array_equal(watched.screen.colours[: len(CLASSES.names)], CLASSES.palette_array())


def test_a_real_window() -> None:
    """Where there is a display (`xvfb-run pytest` makes one), OpenCV's own window opens, draws and closes."""
    if not sys.platform.startswith("linux") or not os.environ.get("DISPLAY"):
        pytest.skip("no display here; xvfb-run makes one")
    require_display()
    window = Window("icnet: a test")
    window.draw(np.full((60, 90, 3), 128, np.uint8))
    for _ in range(5):
        assert window.key(20) is None
    assert cv2.getWindowProperty("icnet: a test", cv2.WND_PROP_VISIBLE) >= 1
    window.close()
