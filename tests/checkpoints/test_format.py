from __future__ import annotations

import json
import math
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from icnet_cli.checkpoints.bundled import bundled_weights, find_weights
from icnet_cli.checkpoints.format import (
    HEADER_KEY,
    Normalisation,
    WeightsMeta,
    load_weights,
    read_meta,
    save_weights,
    write_atomically,
)
from icnet_cli.checkpoints.header import classes_of, is_own
from icnet_cli.classes import ClassTable
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.models import Network, build

CLASSES = ClassTable(
    name="two", names=("road", "sky"), palette=((128, 64, 128), (70, 130, 180)), ids=(0, 1), categories=None
)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build("icnet", {"keep": 0.125, "num_classes": 2}).eval()


@pytest.fixture
def saved(network: Network, tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_weights(path, network, WeightsMeta.of(network, CLASSES, (64, 96), card={"data": "made here"}))
    return path


def refused(path: Path) -> str:
    with pytest.raises(IcnetError) as caught:
        load_weights(path)
    assert caught.value.code is ExitCode.WEIGHTS
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_classes_are_read_without_the_rest(saved: Path, tmp_path: Path) -> None:
    assert classes_of(saved) == CLASSES
    assert is_own(saved)
    whole, path = saved.read_bytes(), tmp_path / "other.safetensors"
    for data in (b"", whole[:100], b"\xff" * 100, whole.replace(b"__metadata__", b"__metadatb__")):
        path.write_bytes(data)
        assert classes_of(path) is None, data[:20]
        assert not is_own(path), data[:20]
    assert classes_of(tmp_path / "none.safetensors") is None


@torch.no_grad()
def test_a_file_builds_its_network_again(network: Network, saved: Path) -> None:
    loaded = load_weights(saved)
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(loaded.network(x), network(x))
    assert loaded.meta.model == "icnet"
    assert loaded.meta.classes == CLASSES
    assert loaded.meta.train_size == (64, 96)
    assert loaded.meta.card == {"data": "made here"}
    assert read_meta(saved) == loaded.meta


def test_channel_counts_travel_with_the_file(tmp_path: Path) -> None:
    channels = dict(build("fast-scnn", {"keep": 0.5}).config.channels) | {"gfe1_2_expand": 24}
    odd = build("fast-scnn", {"channels": channels, "num_classes": 2})
    save_weights(tmp_path / "odd.safetensors", odd, WeightsMeta.of(odd, CLASSES, (64, 64)))
    again = load_weights(tmp_path / "odd.safetensors").network
    assert again.get_submodule("gfe1.1.expand.conv").weight.shape[0] == 24


def test_half_precision_halves_the_convolutions_only(network: Network, tmp_path: Path) -> None:
    network.get_submodule("conv1_sub1.bn").running_var.fill_(1e6)  # past fp16
    meta = WeightsMeta.of(network, CLASSES, (64, 96))
    for name, half in (("full", False), ("half", True)):
        save_weights(tmp_path / f"{name}.safetensors", network, meta, half=half)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_weights(tmp_path / "half.safetensors").network
    assert loaded.get_submodule("conv1_sub1.bn").running_var[0] == 1e6
    difference = loaded.conv_sub4.conv.weight - network.conv_sub4.conv.weight
    assert 0 < difference.abs().max() < 1e-3


def test_writing_is_whole_or_not_at_all(saved: Path) -> None:
    before = saved.read_bytes()

    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(IcnetError, match="disk full") as caught:
        write_atomically(saved, fail)
    assert caught.value.code is ExitCode.OUTPUT
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


# Hostile and damaged files -------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, ("executed",)


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict], None]) -> None:
    tensors, document = load_file(path), json.loads(read_meta(path).to_json())
    change(tensors, document)
    save_file(tensors, path, {HEADER_KEY: json.dumps(document)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"not a weights file at all",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 50_000_000) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 8) + b'{"a":[1}',
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<Q", 60)
        + b'{"a":{"dtype":"F32","shape":[9999999],"data_offsets":[0,4]}}'.ljust(60)
        + b"0000",
        struct.pack("<Q", 58) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}'.ljust(58) + b"0000",
    ],
)
def test_what_is_not_safetensors_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    refused(path)


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, write in (
        ("pickle.safetensors", lambda p: p.write_bytes(pickle.dumps(Bomb()))),
        ("torch.safetensors", lambda p: torch.save({"a": Bomb()}, p)),
    ):
        write(tmp_path / name)
        refused(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    refused(saved)


def _set(key: str, value: object) -> Callable[[dict, dict], None]:
    def change(tensors: dict, document: dict) -> None:
        part = document
        *path, last = key.split(".")
        for step in path:
            part = part[step]
        part[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("format_version", 2), "format 2"),
        (_set("model", "resnet"), "resnet"),
        (_set("config.num_classes", 3), "shape"),
        (_set("config.num_classes", 10**9), "channel count"),
        (_set("config.channels.conv5", 10**9), "channel count"),
        (_set("config.channels.conv5", -8), "channel count"),
        (_set("config.unknown", 1), "unknown"),
        (_set("config.keep", "a lot"), "keep"),
        (_set("train_size", [0, 0]), "train_size"),
        (_set("train_size", [10**9, 64]), "train_size"),
        (_set("normalisation.std", [0, 1, 1]), "std"),
        (_set("normalisation.order", "GBR"), "order"),
        (_set("classes", {}), ""),
        (lambda t, d: t.pop("conv_sub4.conv.weight"), "lacks tensor conv_sub4.conv.weight"),
        (lambda t, d: t.update(extra=torch.zeros(1)), "unknown tensor extra"),
        (lambda t, d: t.update({"conv6_cls.bias": torch.zeros(5)}), "shape"),
        (lambda t, d: t["conv6_cls.bias"].fill_(float("nan")), "not finite"),
        (lambda t, d: t["conv6_cls.bias"].fill_(float("inf")), "not finite"),
    ],
)
def test_a_file_that_does_not_hold_what_it_describes_is_refused(
    saved: Path, change: Callable[[dict, dict], None], words: str
) -> None:
    rewrite(saved, change)
    assert words in refused(saved)


@pytest.mark.parametrize("half", [False, True])
def test_what_would_be_refused_is_not_written(saved: Path, half: bool) -> None:
    """Half precision makes infinities of its own, beyond 65504."""
    loaded, before = load_weights(saved), saved.read_bytes()
    with torch.no_grad():
        loaded.network.get_parameter("conv_sub4.conv.weight").fill_(1e6 if half else math.nan)
    with pytest.raises(
        IcnetError, match=r"is not written: conv_sub4\.conv\.weight holds values that"
    ) as caught:
        save_weights(saved, loaded.network, loaded.meta, half)
    assert caught.value.code is ExitCode.CHECK
    assert saved.read_bytes() == before
    if half:  # the failing twin: whole precision holds them
        save_weights(saved, loaded.network, loaded.meta)


def test_rewriting_without_a_change_is_accepted(saved: Path) -> None:
    """The twin of the refusals above: the rewriting itself is not what is refused."""
    rewrite(saved, lambda tensors, document: None)
    load_weights(saved)


def test_a_safetensors_file_of_somebody_else_is_named_as_such(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "not one of icnet's" in refused(tmp_path / "other.safetensors")


def test_a_missing_name_lists_the_bundled_ones(tmp_path: Path) -> None:
    with pytest.raises(IcnetError) as caught:
        find_weights("no-such-network")
    assert caught.value.code is ExitCode.WEIGHTS
    assert all(name in str(caught.value) for name in bundled_weights())
    refused(tmp_path / "missing.safetensors")


def test_a_run_folder_stands_for_its_result(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="no weights"):
        find_weights(tmp_path)
    for name in ("last", "best", "pruned"):
        (tmp_path / f"{name}.safetensors").touch()
        assert find_weights(tmp_path) == tmp_path / f"{name}.safetensors"


# Normalisation -------------------------------------------------------------------------------------------------------


def test_normalisation_is_per_channel_in_the_networks_order() -> None:
    normalisation = Normalisation((10.0, 20.0, 30.0), (1.0, 2.0, 4.0), "RGB")
    picture = torch.tensor([12, 24, 38], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalisation.apply(picture).flatten().tolist() == [2.0, 2.0, 2.0]
    bgr = replace(normalisation, order="BGR", std=(1.0, 1.0, 1.0))
    assert bgr.apply(picture).flatten().tolist() == [8.0, 4.0, 2.0]
    fill = torch.from_numpy(np.array(normalisation.fill, np.uint8)).view(1, 3, 1, 1)
    assert normalisation.apply(fill).abs().max() < 1


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("net.onnx", "give the .safetensors that it was exported from"),
        ("net.XML", "give the .safetensors that it was exported from"),
        ("net.pth", "weights go through icnet weights import"),
    ],
)
def test_what_is_no_weights_file_is_told_with_what_helps(tmp_path: Path, name: str, cure: str) -> None:
    """No import takes what was exported."""
    path = tmp_path / name
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(IcnetError, match="is not a safetensors file") as caught:
        read_meta(path)
    assert cure in str(caught.value)
