from __future__ import annotations

import builtins
import csv
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from icnet_cli.config import TrainConfig
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training.metrics import MetricsLog
from icnet_cli.training.trainer import EvalDone, StepDone, train


def step(number: int) -> StepDone:
    return StepDone(number, 0, number / 100, 1.5, 0.01, 20.0, float(number))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_first_step_each_tenth_and_each_evaluation_is_a_row(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for number in range(1, 21):
        log.step(step(number))
    log.evaluation(EvalDone(20, 1, 0.5, 0.9, True), 21.0)
    found = rows(log.path)
    assert [row["step"] for row in found] == ["1", "10", "20", "20"]
    assert found[-1]["miou"] == "0.500000"
    assert found[-1]["loss"] == ""


def test_the_batches_of_one_step_are_one_row(tmp_path: Path) -> None:
    """Of three a step: before the first one ends they are of step 0, and after a resumed run's last one of that."""
    log = MetricsLog(tmp_path)
    for batch in range(1, 35):
        log.step(replace(step(batch // 3), loss=float(batch)))
    assert [(row["step"], row["loss"]) for row in rows(log.path)] == [("1", "3.000000"), ("10", "30.000000")]
    again = MetricsLog(tmp_path)
    again.rewind(10)
    for batch in range(32, 61):
        again.step(replace(step(batch // 3), loss=float(batch)))
    assert [row["step"] for row in rows(log.path)] == ["1", "10", "20"]


def test_a_resumed_run_forgets_the_steps_it_takes_again(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for number in (10, 20, 30):
        log.step(step(number))
    with log.path.open("a") as file:
        file.write("4")  # a row cut short by the crash
    MetricsLog(tmp_path).rewind(20)
    assert [row["step"] for row in rows(log.path)] == ["10", "20"]


def test_a_kill_while_it_forgets_them_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path)
    for number in (10, 20, 30):
        log.step(step(number))

    def killed(self: csv.DictWriter[str], rows: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        MetricsLog(tmp_path).rewind(20)
    assert [row["step"] for row in rows(log.path)] == ["10", "20", "30"]


@pytest.mark.parametrize("content", [b"foo,bar\n1,2\n", b"step,loss\n\xff\xfe,1\n"])
def test_another_file_in_its_place_is_told_and_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(
        IcnetError, match=r"metrics\.csv cannot be read as this run's record .* move it away"
    ) as caught:
        MetricsLog(tmp_path).rewind(20)
    assert caught.value.code is ExitCode.INPUT
    assert (tmp_path / "metrics.csv").read_bytes() == content


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)


@pytest.mark.usefixtures("no_tensorboard")
def test_tensorboard_without_its_extra_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match=r"icnet\[tensorboard\]") as caught:
        MetricsLog(tmp_path, tensorboard=True)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.usefixtures("no_tensorboard")
def test_tensorboard_without_its_extra_leaves_no_run(config: TrainConfig) -> None:
    """The same command without the option is then a run."""
    assert config.output is not None
    with pytest.raises(IcnetError, match=r"icnet\[tensorboard\]") as caught:
        list(train(replace(config, tensorboard=True)))
    assert caught.value.code is ExitCode.USAGE
    assert not config.output.exists()


def test_tensorboard_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    log = MetricsLog(tmp_path, tensorboard=True)
    log.step(step(10))
    log.close()
    assert list((tmp_path / "tensorboard").glob("events*"))
