"""Two results side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icnet_cli.benchmark.compare import compare_files
from icnet_cli.errors import ExitCode, IcnetError


def row(model: str = "icnet", ms: float | None = 10.0, **changes: object) -> dict[str, object]:
    return {"model": model, "variant": "v", "resolution": [32, 64], "batch": 1, "ms_p50": ms, **changes}


def write(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps({"rows": rows, "environment": {"cpu": path.stem}}))
    return path


def test_the_rows_of_both_and_how_many_times_faster(tmp_path: Path) -> None:
    a = write(tmp_path / "a.json", row(ms=30.0), row("fast-scnn"), row("gone"), row("published only", None))
    b = write(
        tmp_path / "b.json", row("fast-scnn", 20.0), row(ms=10.0, device="cuda:0"), row(resolution=[9, 9])
    )
    found = compare_files(a, b)
    assert [(one["model"], one["ms_a"], one["ms_b"], one["speedup"]) for one in found["rows"]] == [
        ("icnet", 30, 10, 3), ("fast-scnn", 10, 20, 0.5),
    ]  # fmt: skip
    assert found["only_a"] == ["gone, v"]
    assert found["only_b"] == ["icnet, v"]
    assert found["rows"][0]["device_b"] == "cuda:0"
    assert (found["environment_a"], found["environment_b"]) == ({"cpu": "a"}, {"cpu": "b"})


def test_backends_are_compared_each_with_itself_where_there_are_several(tmp_path: Path) -> None:
    several = [row(ms=ms, backend=name) for name, ms in (("torch", 16.0), ("openvino", 4.0))]
    a, b = write(tmp_path / "a.json", *several), write(tmp_path / "b.json", *several, row(backend="onnx"))
    found = compare_files(a, b)
    assert [(one["backend_a"], one["backend_b"], one["speedup"]) for one in found["rows"]] == [
        ("torch", "torch", 1), ("openvino", "openvino", 1),
    ]  # fmt: skip
    assert (found["only_a"], found["only_b"]) == ([], ["icnet, v, onnx"])
    # One each: what is asked is how much faster the other is.
    ones = [write(tmp_path / f"{n}.json", one) for n, one in enumerate(several)]
    (pair,) = compare_files(*ones)["rows"]
    assert (pair["backend_a"], pair["backend_b"], pair["speedup"]) == ("torch", "openvino", 4)


@pytest.mark.parametrize(
    "differs", [{"batch": 2}, {"precision": "fp16"}, {"variant": "w"}, {"stage": "stage 1"}]
)
def test_another_measurement_is_not_compared(tmp_path: Path, differs: dict) -> None:
    a, b = write(tmp_path / "a.json", row()), write(tmp_path / "b.json", row(**differs))
    with pytest.raises(IcnetError, match="no row in common"):
        compare_files(a, b)


@pytest.mark.parametrize("text", ["", "[1]", '{"rows": 3}', '{"rows": [7]}', "{" * 10000, '{"rows": []}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    good, bad = write(tmp_path / "good.json", row()), tmp_path / "bad.json"
    bad.write_text(text)
    for pair in ((good, bad), (bad, good), (good, tmp_path / "none.json")):
        with pytest.raises(IcnetError) as refused:
            compare_files(*pair)
        assert refused.value.code == ExitCode.INPUT
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ms", [0, -1, "fast", True, None])
def test_a_row_without_a_time_is_passed_over(tmp_path: Path, ms: object) -> None:
    a, b = write(tmp_path / "a.json", row(), row("x", ms)), write(tmp_path / "b.json", row(), row("x"))  # type: ignore[arg-type]
    assert len(compare_files(a, b)["rows"]) == 1
