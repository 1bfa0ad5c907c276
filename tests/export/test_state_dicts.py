"""State dicts of other programs: Fast-SCNN of the common port, and torchvision's ResNet-50."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from icnet_cli.checkpoints.foreign import is_foreign, read_foreign
from icnet_cli.checkpoints.format import WeightsMeta, load_weights, save_weights
from icnet_cli.classes import load_table
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.models import build
from icnet_cli.training.pretrained import start_from

from .foreign_files import State, port_state, resnet_state


def saved(tmp_path: Path, document: Any, **options: Any) -> Path:
    path = tmp_path / "net.pth"
    torch.save(document, path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(IcnetError) as caught:
        read_foreign(path)
    assert caught.value.code is ExitCode.WEIGHTS
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


# The port once more, plainly: its forward pass on its own names -------------------------------------------------------


def unit(x: Tensor, s: State, name: str, index: int, relu: bool = True, **conv: int) -> Tensor:
    """Convolution and BatchNorm at `index` and `index + 1` of a Sequential."""
    weight = s[f"{name}.{index}.weight"]
    conv.setdefault("groups", x.shape[1] // weight.shape[1])
    x = F.conv2d(x, weight, s.get(f"{name}.{index}.bias"), **conv)
    bn = [s[f"{name}.{index + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    x = F.batch_norm(x, *bn)
    return x.relu() if relu else x


def separable(x: Tensor, s: State, name: str, stride: int) -> Tensor:
    return unit(unit(x, s, name, 0, stride=stride, padding=1), s, name, 3)


def grow(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def port_logits(x: Tensor, s: State) -> Tensor:
    high = unit(x, s, "learning_to_downsample.conv.conv", 0, stride=2)
    for index in (1, 2):
        high = separable(high, s, f"learning_to_downsample.dsconv{index}.conv", 2)
    low, deep = high, "global_feature_extractor"
    for group, stride in ((1, 2), (2, 2), (3, 1)):
        for block in range(3):
            name = f"{deep}.bottleneck{group}.{block}.block"
            y = unit(low, s, f"{name}.0.conv", 0)
            y = unit(y, s, f"{name}.1.conv", 0, stride=stride if block == 0 else 1, padding=1)
            y = unit(y, s, name, 2, relu=False)
            low = low + y if block else y
    pooled = [
        grow(unit(F.adaptive_avg_pool2d(low, grid), s, f"{deep}.ppm.conv{i}.conv", 0), low.shape[2:])
        for i, grid in enumerate((1, 2, 3, 6), start=1)
    ]
    low = unit(torch.cat([low, *pooled], 1), s, f"{deep}.ppm.out.conv", 0)
    low = F.interpolate(low, scale_factor=4, mode="bilinear", align_corners=True)
    low = unit(low, s, "feature_fusion.dwconv.conv", 0, padding=1)
    low = unit(low, s, "feature_fusion.conv_lower_res", 0, relu=False)
    x_ = (low + unit(high, s, "feature_fusion.conv_higher_res", 0, relu=False)).relu()
    for index in (1, 2):
        x_ = separable(x_, s, f"classifier.dsconv{index}.conv", 1)
    scores = F.conv2d(x_, s["classifier.conv.1.weight"], s["classifier.conv.1.bias"])
    return grow(scores, x.shape[2:])


@torch.no_grad()
@pytest.mark.parametrize(
    ("prefix", "aux", "wrap", "legacy"),
    [
        ("", True, False, False),
        ("module.", False, True, False),
        ("module.", True, False, True),
        ("model._orig_mod.", False, False, False),
    ],
)
def test_port_labels_are_its_own(tmp_path: Path, prefix: str, aux: bool, wrap: bool, legacy: bool) -> None:
    state = port_state(aux)
    x = torch.randn(1, 3, 128, 256, generator=torch.Generator().manual_seed(1))
    state["classifier.conv.1.bias"] -= port_logits(x, state).mean(dim=(0, 2, 3))
    named = {prefix + name: tensor for name, tensor in state.items()}
    path = saved(
        tmp_path,
        {"state_dict": named, "epoch": 3} if wrap else named,
        _use_new_zipfile_serialization=not legacy,
    )
    assert is_foreign(path)
    foreign = read_foreign(path)
    expected = port_logits(x, state).argmax(1)
    assert len(expected.unique()) > 8
    assert (foreign.network(x).argmax(1) == expected).float().mean() >= 0.999
    assert bool(foreign.left_out) is aux
    assert foreign.meta.normalisation.order == "RGB"
    assert foreign.meta.classes.name == "cityscapes"
    # The comparison can fail: the paper's own form, with the same weights, is another function.
    paper = build("fast-scnn", {"aux": False}).eval()
    paper.load_state_dict(foreign.state, strict=False)
    assert (paper(x).argmax(1) == expected).float().mean() < 0.99


@pytest.mark.parametrize("key", ["model_state_dict", "model"])
def test_what_lies_beside_a_state_dict_is_left_alone(tmp_path: Path, key: str) -> None:
    assert read_foreign(saved(tmp_path, {key: port_state(), "epoch": 3})).complete


def test_two_networks_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    """A model and what torch.compile made of it, say, of which the last one counted."""
    both = {
        f"{prefix}{name}": value for prefix in ("model.", "module.") for name, value in port_state().items()
    }
    assert "more than one network" in refusal(saved(tmp_path, both))


def test_what_loads_no_such_file_names_what_does(tmp_path: Path) -> None:
    path = saved(tmp_path, port_state())
    with pytest.raises(IcnetError, match=f"icnet weights import {path}") as caught:
        load_weights(path)
    assert caught.value.code == ExitCode.WEIGHTS


def test_port_with_something_wrong(tmp_path: Path) -> None:
    state = port_state()
    name = "global_feature_extractor.ppm.out.conv.0.weight"
    assert name in refusal(saved(tmp_path, {k: v for k, v in state.items() if k != name}))
    assert "128x256x1x1" in refusal(saved(tmp_path, {**state, name: state[name][:, :200]}))
    assert "extra.weight" in refusal(saved(tmp_path, {**state, "extra.weight": torch.ones(3)}))
    assert "finite" in refusal(saved(tmp_path, {**state, name: state[name] * float("inf")}))
    assert "torch.int64" in refusal(saved(tmp_path, {**state, name: state[name].long()}))


def test_what_is_no_state_dict(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": 1})
    refusal(path)
    path = saved(tmp_path, [torch.ones(1)])
    refusal(path)
    assert "known formats are" in refusal(saved(tmp_path, {"features.0.weight": torch.ones(1)}))
    whole = saved(tmp_path, port_state()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"")
    refusal(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_no_code_is_run(tmp_path: Path) -> None:
    target = tmp_path / "was here"
    path = saved(tmp_path, {"learning_to_downsample.x": Bomb(target)})
    assert "save the model's state_dict() alone" in refusal(path)
    path.write_bytes(pickle.dumps(Bomb(target)))
    refusal(path)
    assert not target.exists()


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icnet_cli.checkpoints.foreign.MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/0", bytes(2 << 20))
    assert path.stat().st_size < 1 << 14
    assert "unpacks" in refusal(path)


# ResNet-50 ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resnet() -> State:
    return resnet_state()


def test_resnet_starts_the_trunk(tmp_path: Path, resnet: State) -> None:
    path = saved(tmp_path, resnet)
    foreign = read_foreign(path)
    trunk = foreign.network.trunk
    assert torch.equal(trunk.conv4_3.conv3x3.conv.weight, resnet["layer3.2.conv2.weight"])
    assert torch.equal(trunk.conv5_1.proj.bn.running_var, resnet["layer4.0.downsample.1.running_var"])
    assert not foreign.complete
    assert (
        foreign.taken == 50 * 5
    )  # of 53 convolutions and their BatchNorms: not the stem, nor its two readers
    assert {"conv1.weight", "fc.bias", "layer1.0.downsample.0.weight"} <= set(foreign.left_out)
    with torch.device("meta"):
        icnet = build("icnet", {"num_classes": 12})
    icnet = icnet.to_empty(device="cpu")
    assert start_from(icnet, path) == 50 * 5
    assert torch.equal(icnet.trunk.conv3_1.reduce.conv.weight, resnet["layer2.0.conv1.weight"])


def test_resnet_that_fits_nothing(tmp_path: Path, resnet: State) -> None:
    with pytest.raises(IcnetError, match="--keep") as caught:
        start_from(build("icnet", {"keep": 0.125}), saved(tmp_path, resnet))
    assert caught.value.code is ExitCode.WEIGHTS


def test_resnet_with_something_wrong(tmp_path: Path, resnet: State) -> None:
    def without(name: str) -> State:
        return {k: v for k, v in resnet.items() if k != name}

    assert "bn1.weight" in refusal(saved(tmp_path, without("bn1.weight")))
    assert "layer2.3.conv3.weight" in refusal(saved(tmp_path, without("layer2.3.conv3.weight")))
    deeper = {"layer3.6.conv1.weight": torch.ones(256, 1024, 1, 1)}
    assert "layer3.6.conv1.weight" in refusal(saved(tmp_path, resnet | deeper))
    wide = {"layer1.1.conv2.weight": torch.ones(128, 128, 3, 3)}
    assert "128x128x3x3" in refusal(saved(tmp_path, resnet | wide))


def test_our_own_files_are_not_foreign(tmp_path: Path) -> None:
    network = build("fast-scnn", {"keep": 0.25})
    path = tmp_path / "own.safetensors"
    save_weights(path, network, WeightsMeta.of(network, load_table("cityscapes"), (64, 96)))
    assert not is_foreign(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # the header says whose it is: no tensor is read for that
    assert "icnet's own weights" in refusal(path)
    path.write_bytes(b"damaged")
    assert not is_foreign(path)
