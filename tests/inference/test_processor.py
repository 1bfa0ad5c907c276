from __future__ import annotations

import pytest

from icnet_cli.inference import processor


@pytest.mark.parametrize(
    ("features", "has"),
    [
        ("flags\t\t: fpu sse2 avx512f avx512_bf16 amx_tile amx_bf16", True),
        ("flags\t\t: fpu sse2 avx512f avx512_bf16", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu sse2 avx2 avx512f avx512_vnni", False),
        ("flags\t\t: amx_bf16x", False),
        ("", False),
    ],
)
def test_bf16_of_its_own(monkeypatch: pytest.MonkeyPatch, features: str, has: bool) -> None:
    monkeypatch.setattr(processor, "_features", lambda: features)
    assert processor.cpu_has_bf16() == has
    assert processor.cpu_lacks_bf16() == (bool(features) and not has)
    assert features in processor.processor()


def test_this_one_tells_something() -> None:
    assert processor.processor().split()[0] in ("Linux", "Darwin", "Windows")
    assert isinstance(processor.cpu_has_bf16(), bool)
