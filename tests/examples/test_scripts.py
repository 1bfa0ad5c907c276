"""Each example runs, on tiny weights and pictures made here."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import torch

from icnet_cli.checkpoints.card import card_markdown
from icnet_cli.checkpoints.format import Normalisation, WeightsMeta, load_weights, save_weights
from icnet_cli.classes import load_table
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.models import NETWORKS, build
from icnet_cli.pixels.cv import cv2
from tests.tiny_camvid import write_camvid

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ARGUMENTLESS = {"callback_loop"}  # a class to copy, not a command


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    network = build("fast-scnn", {"keep": 0.25, "num_classes": 11})
    path = tmp_path / "tiny.safetensors"
    save_weights(path, network, WeightsMeta.of(network, load_table("camvid"), (64, 96)))
    return str(path)


@pytest.fixture
def video(tmp_path: Path) -> str:
    path = tmp_path / "drive.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for value in range(4):
            frame = np.full((64, 96, 3), 40 * value, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return str(path)


def test_class_shares(weights: str, video: str, tmp_path: Path) -> None:
    example("class_shares").main(video, str(tmp_path / "shares.csv"), weights)
    with (tmp_path / "shares.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    pts = [int(row.pop("pts")) for row in rows]
    assert pts == sorted(set(pts))
    assert all(sum(map(float, row.values())) == pytest.approx(1, abs=1e-3) for row in rows)


def test_a_folder_to_cityscapes_ids(weights: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    module = example("folder_to_cityscapes_ids")
    module.main(str(tmp_path / "in"), str(tmp_path / "out"), weights)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    labels = cv2.imread(str(tmp_path / "out" / "a.png"), cv2.IMREAD_UNCHANGED)
    ids = module.cityscapes_ids(load_table("camvid"))
    assert ids[:11].tolist() == [23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 25]
    assert set(np.unique(labels)) <= set(ids.tolist())


def test_labels_that_cannot_be_written_are_told(weights: str, tmp_path: Path) -> None:
    """OpenCV would return False, and the folder would lack a picture without a word."""
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((64, 96, 3), np.uint8))
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    with pytest.raises(IcnetError, match=r"a\.png") as caught:
        example("folder_to_cityscapes_ids").main(str(tmp_path / "in"), str(tmp_path / "out"), weights)
    assert caught.value.code is ExitCode.OUTPUT


def test_the_webcam_loop_on_a_file(weights: str, video: str) -> None:
    assert example("webcam").main(video, weights, show=False) == 4


def test_the_webcam_loop_without_a_display_ends_in_a_line(
    weights: str, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toolkit of OpenCV's windows ends the process with lines of its own."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = started("webcam", video, "--weights", weights)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "webcam.py opens a window, which cannot be had here; see `icnet segment`\n"


def test_the_webcam_loop_names_what_it_cannot_open(weights: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.mp4")
    with pytest.raises(SystemExit, match=r"cannot open .*none\.mp4"):
        example("webcam").main(missing, weights, show=False)


def two_sided(root: Path, widths: tuple[int, int]) -> Path:
    """A dataset of two pictures of these widths, each dark on the left and bright on the right."""
    for part in ("images", "labels"):
        (root / part / "train").mkdir(parents=True)
    (root / "classes.yaml").write_text("name: mine\nclasses:\n- {name: left, color: [255, 0, 0]}\n"
                                       "- {name: right, color: [0, 255, 0]}\n")  # fmt: skip
    for index, width in enumerate(widths):
        labels = np.zeros((64, width), np.uint8)
        labels[:, 40 + 8 * index :] = 1
        image = np.repeat(labels[..., None] * 200, 3, axis=2)
        cv2.imwrite(str(root / "images" / "train" / f"{index}.png"), image)
        cv2.imwrite(str(root / "labels" / "train" / f"{index}.png"), labels)
    return root


def test_fine_tuning_learns_new_classes(weights: str, tmp_path: Path) -> None:
    root = two_sided(tmp_path / "mine", (96, 96))
    module, out = example("fine_tune"), tmp_path / "mine.safetensors"
    first = module.main(str(root), str(out), weights, steps=1)
    assert module.main(str(root), str(out), weights, steps=12) < first
    assert load_weights(out).meta.classes.names == ("left", "right")


def test_fine_tuning_is_at_the_size_that_its_weights_name(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the pictures' own, which may differ."""
    module, out, seen = example("fine_tune"), tmp_path / "mine.safetensors", set()
    apply = Normalisation.apply

    def looking(self: Normalisation, pictures: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(pictures.shape[2:]))
        return apply(self, pictures)

    monkeypatch.setattr(Normalisation, "apply", looking)
    module.main(str(two_sided(tmp_path / "mine", (96, 130))), str(out), weights, steps=1)
    assert seen == {load_weights(out).meta.train_size} == {(64, 96)}


def test_the_callback_loop_answers_with_the_newest_and_counts_the_rest(weights: str) -> None:
    answers: list[tuple[tuple[int, ...], float]] = []
    node = example("callback_loop").LabelNode(
        lambda labels, stamp: answers.append((labels.shape, stamp)), weights
    )
    for number in range(20):
        node.on_image(np.zeros((64, 96, 3), np.uint8), float(number))
    node.close()
    stamps = [stamp for _, stamp in answers]
    assert stamps == sorted(stamps)
    assert stamps[-1] == 19
    assert len(answers) + node.dropped == 20


@pytest.mark.parametrize(
    "name", ["class_shares", "folder_to_cityscapes_ids", "webcam", "fine_tune", "callback_loop"]
)
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60


def started(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An example, run as a person runs it."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in ARGUMENTLESS)
)
def test_an_example_says_what_it_takes(name: str) -> None:
    done = started(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name}.py")
    words = str(example(name).__doc__).splitlines()[0]
    assert words in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["class_shares", "fine_tune", "folder_to_cityscapes_ids"])
def test_an_example_without_its_arguments_names_them(name: str) -> None:
    done = started(name)
    assert done.returncode == 2
    assert "the following arguments are required" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_example_takes_its_arguments_from_the_command_line(
    weights: str, video: str, tmp_path: Path
) -> None:
    table = tmp_path / "shares.csv"
    assert started("class_shares", video, str(table), "--weights", weights).returncode == 0
    assert len(table.read_text().splitlines()) == 5


def test_the_figure_of_the_run_that_did_not_see_val_is_carried_over_with_its_command(tmp_path: Path) -> None:
    figure = {"miou": 0.5, "images": 9, "protocol": {"split": "val"}}
    network = build("fast-scnn", {"keep": 0.25, "num_classes": 11})
    card = {"command": "icnet train x/", "metrics": {"val_of_train_only_run": figure}}
    path = tmp_path / "settled.safetensors"
    save_weights(path, network, WeightsMeta.of(network, load_table("camvid"), (64, 96), card=card))
    assert example("publish_weights").settled_figure(path) == figure | {"command": "icnet train x/"}


@pytest.mark.parametrize("table", ["camvid", "cityscapes"])
def test_published_weights_have_the_licence_of_their_own_data(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CamVid's is known of CamVid's classes; of others it has to be said."""
    classes, root = load_table(table), write_camvid(tmp_path / "camvid", 2)
    network = build("fast-scnn", {"keep": 0.25, "num_classes": classes.num_classes})
    (tmp_path / "run").mkdir()
    meta = WeightsMeta.of(network, classes, (64, 96), card={"splits": ["train"]})
    save_weights(tmp_path / "run" / "best.safetensors", network, meta)
    (tmp_path / "run" / "run.json").write_text('{"recipe": {"name": "tiny"}, "config": {"seed": 0}}')
    out, module = tmp_path / "out.safetensors", example("publish_weights")
    measured = module.measure(tmp_path / "run" / "best.safetensors", root) if table == "camvid" else None
    monkeypatch.setattr(module, "measure", lambda *_: measured)
    line = ["publish_weights.py", str(tmp_path / "run"), str(root), "-o", str(out)]
    monkeypatch.setattr("sys.argv", [*line, "--command", "icnet train x/", "--hardware", "a core"])
    if table == "camvid":
        module.main()
        assert load_weights(out).meta.card["licence"].startswith("CamVid is for research use")
        return
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 2
    assert "--data is needed: cityscapes are not CamVid's classes" in capsys.readouterr().err
    assert not out.exists()


def test_averaged_weights_are_the_mean_of_their_sources(weights: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = load_weights(Path(weights))
    network = build("fast-scnn", first.meta.config)
    other, out = tmp_path / "other.safetensors", tmp_path / "mean.safetensors"
    save_weights(other, network, first.meta)
    figures = {"best_miou": 0.7, "metrics": {"val_seen_in_training": {"miou": 0.7}}}
    kept = replace(first.meta, card=first.meta.card | figures | {"licence": "CC BY 4.0"})
    save_weights(tmp_path / "first.safetensors", first.network, kept)
    example("average_weights").main([tmp_path / "first.safetensors", other], out)
    averaged = load_weights(out)
    assert averaged.meta.card["averaged"] == "the mean of 2 weights"
    assert averaged.meta.card["licence"] == "CC BY 4.0"
    assert not averaged.meta.card.keys() & figures.keys()  # the first one's are not the mean's
    one, two = first.network.state_dict(), network.state_dict()
    assert not torch.equal(one["classifier.weight"], two["classifier.weight"])
    for name, value in averaged.network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (one[name] + two[name]) / 2)


def test_weights_of_another_network_are_not_averaged(weights: str, tmp_path: Path) -> None:
    network = build("fast-scnn", {"keep": 0.5, "num_classes": 11})
    other = tmp_path / "wide.safetensors"
    save_weights(other, network, WeightsMeta.of(network, load_table("camvid"), (64, 96)))
    with pytest.raises(SystemExit, match=r"wide\.safetensors is not of the same network"):
        example("average_weights").main([Path(weights), other], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()


def test_spoiled_pictures_are_measured_as_eval_measures(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a size that is not the pictures'; each kind is another picture, and the same one each time."""
    loaded = load_weights(Path(weights))
    path = tmp_path / "larger.safetensors"
    save_weights(path, loaded.network, replace(loaded.meta, train_size=(96, 128)))
    root = write_camvid(tmp_path / "camvid", 2)
    module = example("spoiled_pictures")
    found = module.main(root, "val", [str(path), str(path)])
    measured = example("publish_weights").measure(path, root).confusion.miou
    assert found["as they are"] == pytest.approx([measured, measured], abs=1e-6)
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(module.SPOILED)
    picture = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    spoiled = {kind: spoil(picture) for kind, spoil in module.SPOILED.items()}
    for kind, spoil in module.SPOILED.items():
        assert (spoil(picture) == spoiled[kind]).all()
        assert (spoiled[kind].shape, spoiled[kind].dtype) == (picture.shape, np.uint8)
        assert (spoiled[kind] == picture).all() == (kind == "as they are")
    red = np.full((32, 32, 3), (200, 30, 60), np.uint8)
    red[:, ::2] = (210, 40, 70)  # luma, of which JPEG keeps more than of colour
    blue_first = cv2.imencode(".jpg", red[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    assert (module.jpeg(20)(red) == cv2.imdecode(blue_first, cv2.IMREAD_COLOR)[:, :, ::-1]).all()


def test_offsets_undo_what_was_added_to_the_scores_of_a_class() -> None:
    """Scores that name the truth, until 1.6 is taken from one class: the offsets give it back."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 6000).astype(np.uint8)
    scores = rng.normal(0, 0.5, (6000, 4)).astype(np.float32)
    scores[np.arange(6000), truth] += 2.0
    scores[:, 2] -= 1.6
    module = example("adjust_logits")
    offsets = module.fit([(scores, truth)])
    assert offsets.mean() == pytest.approx(0, abs=1e-6)
    assert offsets[2] - np.delete(offsets, 2).mean() == pytest.approx(1.6, abs=0.4)
    before, after = (module.mean_iou([(scores, truth)], k * offsets) for k in (0.0, 1.0))
    assert before < 0.85
    assert after > 0.95


def test_offsets_are_fitted_to_a_dataset_and_added_to_the_classifiers(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_camvid(tmp_path / "camvid", 2)
    module, found, out = example("adjust_logits"), tmp_path / "found.json", tmp_path / "adjusted.safetensors"
    module.fit_command([(weights, str(root), "val"), (weights, str(root), "train")], found)
    table = [line.split(":")[1].split() for line in capsys.readouterr().out.splitlines()]
    assert len(table) == 5
    assert sum(map(float, table[-1])) > sum(map(float, table[0]))
    module.apply_command(found, Path(weights), 0.5, out)
    before, after = load_weights(Path(weights)), load_weights(out)
    change = after.network.state_dict()["classifier.bias"] - before.network.state_dict()["classifier.bias"]
    expected = list(json.loads(found.read_text()).values())
    torch.testing.assert_close(change, 0.5 * torch.tensor(expected), atol=1e-3, rtol=0)
    assert "sky " in after.meta.card["logit_adjustment"]
    assert "| logit adjustment | " in card_markdown("adjusted", after.meta)


def test_offsets_are_fitted_to_what_eval_measures(weights: str, tmp_path: Path) -> None:
    """At the weights' own size, which is not the pictures': the same mean IoU, but for rounding at ties."""
    loaded = load_weights(Path(weights))
    path = tmp_path / "larger.safetensors"
    save_weights(path, loaded.network, replace(loaded.meta, train_size=(96, 128)))
    root = write_camvid(tmp_path / "camvid", 2)
    module = example("adjust_logits")
    measured = example("publish_weights").measure(path, root).confusion.miou
    found = module.mean_iou([module.sample(str(path), root, "val", every=1)], np.zeros(11, np.float32))
    assert found == pytest.approx(measured, abs=1e-4)


def test_offsets_of_other_classes_are_refused(weights: str, tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text('{"left": 1.0, "right": -1.0}')
    with pytest.raises(SystemExit, match="other classes"):
        example("adjust_logits").apply_command(tmp_path / "found.json", Path(weights), 1.0, tmp_path / "out")


@pytest.mark.parametrize("model", NETWORKS)
def test_offsets_move_every_score_of_their_class(model: str) -> None:
    torch.manual_seed(0)
    network = build(model, {"num_classes": 3}).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = network.scores(x)
        example("adjust_logits").add(network, [1.0, 0.0, -2.0])
        after = network.scores(x)
    shift = torch.tensor([1.0, 0.0, -2.0]).view(1, 3, 1, 1).expand_as(before)
    torch.testing.assert_close(after - before, shift, atol=1e-2, rtol=0)  # an untrained PSPNet scores 1e3
