from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from icnet_cli.classes import load_table
from icnet_cli.data.dataset import SegmentationDataset
from icnet_cli.data.layouts import recognise
from icnet_cli.errors import IcnetError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load_street() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_street", EXAMPLES / "render_street.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_street"] = module
    spec.loader.exec_module(module)
    return module


street = load_street()
SMALL = replace(street.StreetSettings(), height=180, width=240)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """OpenCV would return False, and a picture would be missing without a word."""
    for name in ("labels/frame_000001.png", "a/train/street_100001.png", "b/valannot/street_100002.png"):
        (tmp_path / name).mkdir(parents=True)  # in the way of a picture
    with pytest.raises(IcnetError, match=r"frame_000001\.png"):
        street.write_labels(replace(SMALL, frames=2), tmp_path / "labels")
    with pytest.raises(IcnetError, match=r"street_100001\.png"):
        street.write_dataset(tmp_path / "a", 2, 1, size=(90, 120))
    with pytest.raises(IcnetError, match=r"street_100002\.png"):
        street.write_dataset(tmp_path / "b", 2, 1, size=(90, 120))


def test_a_street_has_every_class_in_plausible_shares() -> None:
    table = load_table("camvid")
    counts = np.zeros(11)
    for seed in range(6):
        settings = street.random_settings(seed, (180, 240))
        labels = street.render_frame(settings, 10 * seed)[1]
        assert labels.max() < 11
        counts += np.bincount(labels.ravel(), minlength=11)
    share = dict(zip(table.names, counts / counts.sum(), strict=True))
    assert all(value > 0 for value in share.values()), share
    assert 0.15 < share["road"] < 0.45
    assert 0.1 < share["building"] < 0.45
    assert 0.08 < share["sky"] < 0.4
    assert share["pole"] < 0.05


def test_the_same_settings_give_the_same_pictures_and_another_seed_does_not() -> None:
    street.build_scene.cache_clear()
    first = street.render_frame(SMALL, 3)
    street.build_scene.cache_clear()
    again = street.render_frame(SMALL, 3)
    other = street.render_frame(replace(SMALL, seed=SMALL.seed + 1), 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_things_move() -> None:
    labels = [street.render_frame(SMALL, index)[1] for index in (0, 5)]
    assert 0.01 < (labels[0] != labels[1]).mean() < 0.5


@pytest.mark.parametrize("size", [(181, 240), (180, 32)])
def test_sizes_that_h264_cannot_hold_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        replace(SMALL, height=size[0], width=size[1])


def test_a_frame_past_the_end_is_refused() -> None:
    with pytest.raises(IndexError):
        street.render_frame(SMALL, SMALL.frames)


def test_the_committed_video_and_labels_are_what_the_script_draws() -> None:
    """Neither can drift from the script: the pictures within the codec's error, the labels exactly."""
    settings = street.StreetSettings()
    with np.load(EXAMPLES / "street_labels.npz") as file:
        truth = file["labels"]
    assert truth.shape == (settings.frames, settings.height, settings.width)
    with av.open(str(EXAMPLES / "street.mp4")) as file:
        frames = list(file.decode(video=0))
    assert len(frames) == settings.frames
    for index in (0, 57):
        image, labels = street.render_frame(settings, index)
        # Another release of numpy or OpenCV may round an edge the other way.
        assert (labels == truth[index]).mean() > 0.999
        decoded = frames[index].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(int)
        assert np.abs(decoded - image).mean() < 6
        assert np.abs(decoded - street.render_frame(settings, index + 20)[0]).mean() > 8


def test_the_committed_files_are_small() -> None:
    assert (EXAMPLES / "street.mp4").stat().st_size < 3e6
    assert (EXAMPLES / "street_labels.npz").stat().st_size < 1e6


def test_a_video_has_sound_and_its_colours_named(tmp_path: Path) -> None:
    street.write_video(replace(SMALL, frames=5), tmp_path / "s.mp4")
    with av.open(str(tmp_path / "s.mp4")) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        assert file.streams.video[0].codec_context.colorspace == 1  # BT.709
        assert len(list(file.decode(video=0))) == 5


def test_a_dataset_of_streets_is_one_the_tool_reads(tmp_path: Path) -> None:
    street.write_dataset(tmp_path / "set", train=3, val=2, size=(96, 128))
    layout = recognise(tmp_path / "set")
    assert layout.name == "camvid"
    train = SegmentationDataset(layout, ("train",))
    train.check_files()
    assert len(train) == 3
    assert train.read(0)[1].shape == (96, 128)
    assert not np.array_equal(train.read(0)[1], train.read(1)[1])


def test_a_dataset_never_contains_the_committed_street(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(street.StreetSettings, "seed", 100_001)
    with pytest.raises(ValueError, match=r"street\.mp4"):
        street.write_dataset(tmp_path, train=3, val=2)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["hatchback", "saloon", "van"])
def test_the_flanks_of_a_car_look_sideways(kind: str) -> None:
    """A normal taken at one corner of a flank that is not quite flat looked backwards: the car had no side."""
    mesh = sys.modules["street.bodies"].car_mesh(kind)
    sides = mesh.normals[[8, 10]]
    assert (np.abs(sides[:, 0]) > 0.95).all()
    assert np.sign(sides[:, 0]).tolist() == [-1, 1]


def test_streets_are_drawn_where_pyav_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import render_street as street\n"
        "street.render_frame(street.random_settings(0, (96, 128)), 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
