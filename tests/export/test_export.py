"""Exported files say what the network says, describe themselves, and appear only when they do."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from icnet_cli.checkpoints.bundled import bundled_weights
from icnet_cli.checkpoints.format import (
    LoadedWeights,
    Normalisation,
    WeightsMeta,
    load_weights,
    save_weights,
)
from icnet_cli.classes import load_table
from icnet_cli.config import ExportConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.export import export as exporting
from icnet_cli.export.agreement import original_labels, street_frame
from icnet_cli.export.export import export
from icnet_cli.export.quantise import open_calibration
from icnet_cli.inference.backends import MODULES, Ports, open_exported
from icnet_cli.models import build
from icnet_cli.models.icnet import icnet_channels
from icnet_cli.pixels.cv import cv2

from .foreign_files import balanced, settled

TABLE = load_table("camvid")
SIZE = (96, 160)
ODD = [(33, 47), (191, 129), (64, 64), (98, 163)]


def needs(kind: str) -> None:
    missing = [name for name in MODULES[kind] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the {kind} extra is not installed ({', '.join(missing)})")


def weights_of(folder: Path, model: str, normalisation: Normalisation | None = None, **options: Any) -> Path:
    torch.manual_seed(0)
    network = settled(build(model, {"keep": 0.125, "num_classes": TABLE.num_classes} | options))
    head = (
        network.conv6_cls
        if model == "icnet"
        else network.conv6
        if model == "pspnet50"
        else network.classifier
    )
    meta = WeightsMeta.of(network, TABLE, SIZE, normalisation=normalisation or Normalisation())
    frames = torch.from_numpy(street_frame(*SIZE, seed=9)).permute(2, 0, 1)[None]
    balanced(network, head, meta.normalisation.apply(frames))
    path = folder / f"{model}.safetensors"
    save_weights(path, network, meta)
    return path


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of(tmp_path_factory.mktemp("weights"), "fast-scnn")


def exported(weights: Path, to: str, folder: Path, **options: Any) -> tuple[dict[str, Any], Path]:
    needs(to)
    output = folder / f"out{ {'onnx': '.onnx', 'pt2': '.pt2', 'openvino': '.xml'}[to] }"
    return export(ExportConfig(weights=str(weights), to=to, output=output, **options)), output


def agreement_at(output: Path, weights: Path, size: tuple[int, int]) -> float:
    frame, loaded = street_frame(*size, seed=4), load_weights(weights)
    model = open_exported(output, threads=1, own=True)
    labels = model.labels(frame[None])
    expected = original_labels(loaded.network, loaded.meta, frame)
    assert labels.shape == (1, *size)
    assert min(size) < 90 or len(np.unique(expected)) > 3
    return float((labels[0] == expected).mean())


PRUNED = icnet_channels(0.125) | {
    "conv3_2_3x3": 5,
    "conv4_2_reduce": 19,
    "conv5": 168,
    "cff2": 21,
    "conv2_sub1": 3,
}


def unevenly_pruned(model: str) -> dict[str, int]:
    """Channels of which each group has lost another share, as a latency target cuts them."""
    whole = build(model, {"keep": 0.125, "num_classes": TABLE.num_classes}).config.channels
    return {name: max(2, count - index % 4) for index, (name, count) in enumerate(whole.items())}


@pytest.mark.parametrize(
    ("model", "to", "options"),
    [
        ("icnet", "onnx", {"channels": PRUNED}),
        ("fast-scnn", "pt2", {"channels": unevenly_pruned("fast-scnn")}),
        *(
            pytest.param(model, to, options, marks=pytest.mark.slow)
            for model, to, options in (
                ("icnet", "pt2", {"trunk": "deeplabv3", "output_stride": 16}),
                ("icnet", "openvino", {"head": "published", "align_corners": True}),
                ("fast-scnn", "onnx", {}),
                ("fast-scnn", "openvino", {}),
                ("pspnet50", "onnx", {}),
                ("pspnet50", "pt2", {}),
                ("deeplabv3", "onnx", {}),
                ("deeplabv3", "openvino", {}),
                ("fast-scnn", "openvino", {"channels": unevenly_pruned("fast-scnn")}),
                ("pspnet50", "openvino", {"channels": unevenly_pruned("pspnet50")}),
                ("deeplabv3", "pt2", {"channels": unevenly_pruned("deeplabv3")}),
            )
        ),
    ],
)
def test_any_size(tmp_path: Path, model: str, to: str, options: dict[str, Any]) -> None:
    weights = weights_of(tmp_path, model, **options)
    report, output = exported(weights, to, tmp_path, dynamic=True, with_argmax=True)
    assert report["agreement"] >= 0.999
    assert report["agreement_pictures"] == 3
    assert report["size"] is None
    least = 65 if options.get("output_stride") == 16 else 33
    for size in ODD:
        if min(size) >= least:
            assert agreement_at(output, weights, size) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino", "pt2"])
@pytest.mark.parametrize("model", ["icnet", "fast-scnn", "pspnet50", "deeplabv3"])
def test_one_odd_size(tmp_path: Path, model: str, to: str) -> None:
    """Every network in every format at a size that nothing divides."""
    weights = weights_of(tmp_path, model)
    report, output = exported(weights, to, tmp_path, size=(99, 157), with_argmax=True)
    assert report["agreement"] >= 0.999
    assert agreement_at(output, weights, (99, 157)) >= 0.999


@pytest.mark.parametrize("to", ["onnx", "openvino", pytest.param("pt2", marks=pytest.mark.slow)])
def test_fp16(tmp_path: Path, fast: Path, to: str) -> None:
    """A random network's classes are all but tied everywhere, so a bound below the trained ones' 99.5 %."""
    report, output = exported(fast, to, tmp_path, fp16=True, size=(97, 131), min_agreement=0.95)
    assert report["precision"] == "fp16"
    assert open_exported(output, own=True).run(street_frame(97, 131)[None]).dtype == np.float32
    assert agreement_at(output, fast, (97, 131)) >= 0.95
    both = [path for path in tmp_path.iterdir() if path.stem == "out"]
    assert sum(path.stat().st_size for path in both) < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "options"), [("onnx", {"fp16": True}), ("onnx", {"with_argmax": True}), ("openvino", {})]
)
def test_trained_weights(tmp_path: Path, to: str, options: dict[str, Any]) -> None:
    """At the bounds that users get."""
    known = bundled_weights()
    if "icnet-camvid" not in known:
        pytest.skip("the bundled weights are not here")
    report, _ = exported(known["icnet-camvid"], to, tmp_path, **options)
    assert report["agreement"] >= (0.995 if options.get("fp16") else 0.999)


def test_raw_in_and_logits_out(tmp_path: Path, fast: Path) -> None:
    """The network's own input, in its own channel order: BGR here."""
    order = Normalisation((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "BGR")
    weights = weights_of(tmp_path, "fast-scnn", order)
    report, output = exported(weights, "pt2", tmp_path, raw=True)
    assert report["agreement"] >= 0.999
    model, loaded = open_exported(output, own=True), load_weights(weights)
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = loaded.network(x).numpy()
    np.testing.assert_allclose(model.run(x.numpy()), expected, rtol=1e-3, atol=1e-3)
    assert model.meta.normalisation == order


def test_bgr_networks_take_rgb_frames(tmp_path: Path) -> None:
    weights = weights_of(
        tmp_path, "fast-scnn", Normalisation((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), "BGR")
    )
    _, output = exported(weights, "pt2", tmp_path)
    assert agreement_at(output, weights, SIZE) >= 0.999


def test_a_file_describes_itself(tmp_path: Path, fast: Path) -> None:
    report, output = exported(fast, "onnx", tmp_path, with_argmax=True)
    model = open_exported(output, own=True)
    assert model.meta.classes == TABLE
    assert model.ports.size == SIZE
    assert (model.ports.input, model.ports.output) == ("frames", "labels")
    assert report["trtexec"].startswith("trtexec --onnx=")
    import onnx

    props = {prop.key: prop.value for prop in onnx.load(str(output)).metadata_props}
    assert json.loads(props["class_names"]) == list(TABLE.names)
    assert json.loads(props["palette"])[0] == list(TABLE.palette[0])
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]
    assert output.stat().st_mode & 0o777 == 0o644


def test_users_pictures_are_compared_on(tmp_path: Path, fast: Path) -> None:
    folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for place in (folder, elsewhere):
        place.mkdir()
    (folder / "linked").symlink_to(elsewhere)
    for seed, place in enumerate((folder, elsewhere)):
        cv2.imwrite(str(place / f"{seed}.png"), street_frame(70, 90, seed))
    report, _ = exported(fast, "pt2", tmp_path, pictures=folder)
    assert (report["agreement_pictures"], report["agreement_drawn"]) == (2, False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IcnetError, match="no pictures"):
        exported(fast, "pt2", tmp_path, pictures=tmp_path / "empty", overwrite=True)
    (tmp_path / "no.png").write_bytes(b"no picture")
    for name, words in (("no.png", "no.png"), ("nowhere", "no such file or folder")):
        with pytest.raises(IcnetError, match=words) as caught:
            exported(fast, "pt2", tmp_path, pictures=tmp_path / name, overwrite=True)
        assert caught.value.code is ExitCode.INPUT


def test_an_exported_file_is_not_exported_again(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    with pytest.raises(IcnetError, match="exported file itself") as caught:
        exported(tmp_path / "net.onnx", "pt2", tmp_path)
    assert caught.value.code is ExitCode.WEIGHTS


def small_camvid(root: Path, weights: Path) -> Path:
    """Two pictures, labelled with what the network itself says: its mIoU is 1."""
    loaded = load_weights(weights)
    for split in ("train", "val"):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        frame = street_frame(*SIZE, seed=len(split))
        cv2.imwrite(str(root / split / "a.png"), frame[:, :, ::-1])
        cv2.imwrite(
            str(root / f"{split}annot" / "a.png"), original_labels(loaded.network, loaded.meta, frame)
        )
    return root


@pytest.mark.parametrize("to", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_int8_tells_what_it_costs(tmp_path: Path, fast: Path, to: str) -> None:
    needs("onnx")
    root = small_camvid(tmp_path / "camvid", fast)
    report, output = exported(fast, to, tmp_path, int8=True, calibrate=root, with_argmax=True)
    assert 0.5 < report["agreement"] < 1  # it is another function, and said to be
    assert (report["agreement_pictures"], report["agreement_drawn"]) == (1, False)  # the picture of val
    assert report["miou_images"] == 1
    assert report["miou_before"] == pytest.approx(1.0)
    assert 0 < report["miou_lost"] < 1
    assert report["trtexec"] is None
    assert open_exported(output).meta.classes == TABLE
    assert {path.name for path in tmp_path.iterdir()} <= {"camvid", "out.onnx", "out.xml", "out.bin"}


def test_int8_weights_leave_room_for_the_sum_of_two_products(tmp_path: Path, fast: Path) -> None:
    """Where two products of 8 bits are added in 16, as AVX2 does, 255 * 64 * 2 fits and 255 * 127 * 2 does not."""
    needs("onnx")
    import onnx

    root = small_camvid(tmp_path / "camvid", fast)
    _, output = exported(fast, "onnx", tmp_path, int8=True, calibrate=root)
    held = [onnx.numpy_helper.to_array(one) for one in onnx.load(str(output)).graph.initializer]
    kernels = [np.abs(one.astype(int)) for one in held if one.dtype == np.int8 and one.ndim == 4]
    assert len(kernels) > 20
    assert 60 < max(kernel.max() for kernel in kernels) <= 64


def test_what_is_compared_on_is_real_where_there_is_something_real(tmp_path: Path, fast: Path) -> None:
    root = small_camvid(tmp_path / "camvid", fast)
    config = ExportConfig(weights=str(fast), to="onnx", output=Path("x.onnx"), pictures=root / "train")
    dataset, plain = open_calibration(root), open_calibration(root / "train")
    assert exporting._pictures(config, dataset) == [root / "train" / "a.png"]
    config = replace(config, pictures=None)
    assert exporting._pictures(config, dataset) == [root / "val" / "a.png"]
    assert exporting._pictures(config, plain) == [root / "train" / "a.png"]
    assert exporting._pictures(config, None) == []


@pytest.mark.parametrize(("stride", "least"), [(8, 64), (16, 96)])
@pytest.mark.parametrize("train_size", [(544, 736), (32, 480)])
def test_trtexec_is_told_sizes_that_the_file_takes(
    stride: int, least: int, train_size: tuple[int, int]
) -> None:
    network = build("icnet", {"keep": 0.125, "output_stride": stride})
    meta = WeightsMeta.of(network, load_table("cityscapes"), train_size)
    ports = Ports("frames", "labels", None, "fp32")
    line = exporting.trtexec_line(Path("a b.onnx"), ports, LoadedWeights(network, meta, Path("x")))
    assert line.startswith("trtexec --onnx='a b.onnx' --saveEngine='a b.engine' --noTF32 ")
    shapes = [[int(n) for n in found.split("x")] for found in re.findall(r"frames:(\S+)", line)]
    assert [shape[0] for shape in shapes] == [1, 1, 1]
    assert shapes[0][1:] == [least, least, 3]
    assert all(low <= best <= high for low, best, high in zip(*shapes, strict=True))


@pytest.mark.slow
def test_int8_under_the_bound_is_not_kept(tmp_path: Path, fast: Path) -> None:
    needs("onnx")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a.png"), street_frame(*SIZE))
    with pytest.raises(IcnetError, match="it was not kept") as caught:
        exported(fast, "onnx", tmp_path, int8=True, calibrate=pictures, min_agreement=1.0)
    assert caught.value.code is ExitCode.CHECK
    assert list(tmp_path.iterdir()) == [pictures]


# What is refused, and what is left behind -----------------------------------------------------------------------------


def test_a_file_that_disagrees_is_not_kept(
    tmp_path: Path, fast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the exporter had lost the classifier's bias."""
    real = exporting.trace

    def wrong(network: nn.Module, *rest: Any) -> Any:
        other = build("fast-scnn", network.config_dict())  # type: ignore[operator]
        other.load_state_dict(network.state_dict())
        other.classifier.bias.data.zero_()  # type: ignore[union-attr]
        return real(other.eval(), *rest)

    monkeypatch.setattr(exporting, "trace", wrong)
    with pytest.raises(IcnetError, match=r"under 99\.9000%") as caught:
        exported(fast, "pt2", tmp_path)
    assert caught.value.code is ExitCode.CHECK
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_exists(tmp_path: Path, fast: Path) -> None:
    (tmp_path / "out.pt2").write_bytes(b"precious")
    with pytest.raises(IcnetError, match="-y") as caught:
        exported(fast, "pt2", tmp_path)
    assert caught.value.code is ExitCode.USAGE
    assert (tmp_path / "out.pt2").read_bytes() == b"precious"
    needs("openvino")
    (tmp_path / "out.bin").write_bytes(b"precious")
    with pytest.raises(IcnetError, match=r"out\.bin exists"):
        exported(fast, "openvino", tmp_path)
    with pytest.raises(IcnetError) as caught:
        exported(fast, "pt2", tmp_path / "nowhere")
    assert caught.value.code is ExitCode.OUTPUT


def test_an_extra_that_is_missing(tmp_path: Path, fast: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    config = ExportConfig(weights=str(fast), to="onnx", output=tmp_path / "out.onnx")
    with pytest.raises(IcnetError, match=r"pip install 'icnet\[onnx\]'") as caught:
        export(config)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (64, 64), "dynamic": True}, "--dynamic contradict"),
        ({"fp16": True, "int8": True, "calibrate": Path("x")}, "--fp16 and --int8"),
        ({"int8": True}, "--calibrate"),
        ({"to": "pt2", "output": Path("x.pt2"), "int8": True, "calibrate": Path("x")}, "--int8 is for"),
        ({"output": Path("x.pt2")}, "must end in .onnx"),
        ({"min_agreement": 1.5}, "--min-agreement"),
    ],
)
def test_contradictions(change: dict[str, Any], words: str) -> None:
    config = ExportConfig(weights="w", to="onnx", output=Path("x.onnx"))
    assert config.problems() == []
    assert words in "; ".join(replace(config, **change).problems())


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".xml", ".engine"])
def test_what_is_no_exported_file(tmp_path: Path, suffix: str) -> None:
    needs({".onnx": "onnx", ".xml": "openvino"}.get(suffix, "pt2"))
    path = tmp_path / f"bad{suffix}"
    with pytest.raises(IcnetError):
        open_exported(path)
    path.write_bytes(b"not a network at all")
    with pytest.raises(IcnetError) as caught:
        open_exported(path)  # a .pt2 unseen: reading one can run code
    assert caught.value.code is ExitCode.WEIGHTS
    assert len(str(caught.value).splitlines()) == 1


def test_somebody_elses_onnx_file(tmp_path: Path) -> None:
    needs("onnx")
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(tmp_path / "a.onnx"))
    with pytest.raises(IcnetError, match="not exported by icnet"):
        open_exported(tmp_path / "a.onnx")
