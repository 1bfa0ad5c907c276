"""What is timed, and what a row says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from icnet_cli.benchmark.rows import given_by, network_input, pass_of, time_pass, time_plain_row, time_row
from icnet_cli.benchmark.subjects import Subject, subjects
from icnet_cli.config import BenchConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.inference.engine import TorchEngine
from icnet_cli.inference.exported import ExportedEngine
from icnet_cli.inference.segmenter import Segmenter
from tests.benchmark.conftest import SHORT, SIZE, SMALL, save

KEYS = {
    "model", "variant", "resolution", "device", "precision", "backend", "batch", "runs", "ms_p50", "ms_p95",
    "ms_p99", "model_fps", "params_m", "gflops", "peak_memory_mb", "published",
}  # fmt: skip


def test_a_row_has_the_keys_that_others_read() -> None:
    row = time_row(SMALL, SIZE, SHORT, device="cpu", batch=2)
    assert set(row) >= KEYS
    assert (row["runs"], row["warmup"], row["batch"], row["resolution"]) == (3, 1, 2, [32, 64])
    assert (row["device"], row["precision"], row["backend"]) == ("cpu", "fp32", "torch")
    assert row["model_fps"] == pytest.approx(2 * 1000 / row["ms_p50"])
    assert row["ms_p50"] <= row["ms_p95"] <= row["ms_p99"]
    assert "random weights" in row["variant"]


def test_what_is_timed_is_what_the_segmenter_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = SMALL.segmenter("cpu", "auto", SIZE)
    assert pass_of(segmenter) == segmenter.forward

    made: list[Segmenter] = []
    calls: list[Segmenter] = []
    build, forward = Subject.segmenter, Segmenter.forward
    monkeypatch.setattr(Subject, "segmenter", lambda *a: made.append(build(*a)) or made[-1])
    monkeypatch.setattr(Segmenter, "forward", lambda self, x: calls.append(self) or forward(self, x))
    time_row(SMALL, SIZE, SHORT, device="cpu")
    assert calls == made * 4  # one to warm up and three timed


@pytest.mark.parametrize(
    ("backend", "batch", "more"), [("compile", 2, 3), ("compile", 1, 0), ("torch", 2, 0)]
)
def test_what_is_built_for_a_batch_is_built_before_the_clock_runs(
    backend: str, batch: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    forward = Segmenter.forward
    monkeypatch.setattr(Segmenter, "backend", property(lambda self: backend))
    monkeypatch.setattr(Segmenter, "forward", lambda self, x: calls.append(len(x)) or forward(self, x))
    time_row(SMALL, SIZE, SHORT, device="cpu", batch=batch)
    assert calls == [batch] * (4 + more)


@pytest.mark.parametrize("output", ["scores", "logits", "labels", "probabilities"])
def test_every_output_runs_the_folded_network_once(output: str) -> None:
    segmenter = SMALL.segmenter("cpu", "auto", SIZE)
    seen = []
    segmenter.ready.classifier.register_forward_hook(lambda *_: seen.append(1))  # type: ignore[union-attr, operator]
    pictures = network_input(segmenter, SIZE)
    shapes = []
    run = pass_of(segmenter, output)
    time_pass(lambda x: shapes.append(run(x).shape) or x, pictures, SHORT)
    assert len(seen) == 4
    assert set(shapes) == {
        "scores": {(1, 19, 4, 8)},
        "logits": {(1, 19, 32, 64)},
        "labels": {(1, 32, 64)},
        "probabilities": {(1, 19, 32, 64)},
    }[output]  # fmt: skip
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in segmenter.ready.modules())


def test_a_plain_row_is_the_published_head_unfolded() -> None:
    row = time_plain_row(Subject("icnet", {"keep": 0.25, "head": "fused"}), SIZE, SHORT, device="cpu")
    assert set(row) >= KEYS
    assert "published head, plain eager" in row["variant"]
    assert (row["backend"], row["output"]) == ("plain", "scores")
    assert time_plain_row(SMALL, SIZE, SHORT, device="cpu")["output"] == "logits"


def test_by_default_one_row_a_bundled_network() -> None:
    found = subjects(BenchConfig())
    assert [subject.model for subject in found] == ["icnet", "fast-scnn"]
    assert found[0].variant == "keep 0.5, sub124, fused head, random weights"
    assert found[1].variant == "keep 1, random weights"


def test_a_model_is_exactly_one_row() -> None:
    (subject,) = subjects(BenchConfig(model="icnet", keep=0.25, branches="sub24", head="published"))
    assert subject.variant == "keep 0.25, sub24, published head, random weights"
    (subject,) = subjects(BenchConfig(model="pspnet50"))
    assert subject.variant == "keep 1, random weights"


def test_branches_are_of_icnet_alone() -> None:
    with pytest.raises(IcnetError) as refused:
        subjects(BenchConfig(model="fast-scnn", branches="sub4"))
    assert refused.value.code == ExitCode.USAGE


def test_bundled_weights_are_used_where_they_fit(bundle: Path) -> None:
    save(bundle, "small-icnet", "icnet", keep=0.25)
    (subject,) = subjects(BenchConfig(model="icnet", keep=0.25, branches="sub24"))
    assert subject.variant == "keep 0.25, sub24, fused head, small-icnet weights"
    assert subject.network().config.branches == "sub24"
    assert subject.accuracy() == {
        "miou": 0.5, "field": "val_of_train_only_run", "dataset": "camvid", "split": "val", "size": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"keep": 0.5}, {"keep": 0.25, "head": "published"}, {"keep": 0.25, "branches": "sub4"}]
)
def test_bundled_weights_are_not_used_where_they_do_not_fit(bundle: Path, options: dict) -> None:
    save(bundle, "small-icnet", "icnet", keep=0.25, aux=False)
    (subject,) = subjects(BenchConfig(model="icnet", **options))
    assert "random weights" in subject.variant
    assert subject.accuracy() is None


def test_weights_bring_their_network(tmp_path: Path) -> None:
    path = save(tmp_path, "mine", "fast-scnn", keep=0.25)
    (subject,) = subjects(BenchConfig(weights=str(path)))
    assert (subject.model, subject.variant) == ("fast-scnn", "keep 0.25, mine weights")
    with pytest.raises(IcnetError) as refused:
        subjects(BenchConfig(weights="nowhere"))
    assert refused.value.code == ExitCode.WEIGHTS


@pytest.mark.parametrize(("gives_scores", "output"), [(True, "logits"), (False, "labels")])
def test_an_exported_file_says_what_it_ends_with(gives_scores: bool, output: str) -> None:
    """Enlarging to the full size is in its time, which is then no score map's."""
    segmenter = Segmenter.__new__(Segmenter)
    engine = ExportedEngine.__new__(ExportedEngine)
    engine.gives_scores, segmenter.engine = gives_scores, engine
    assert given_by(segmenter) == output
    segmenter.engine = TorchEngine.__new__(TorchEngine)
    assert given_by(segmenter) is None
