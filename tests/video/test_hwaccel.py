"""The GPU's decoder: software in its place wherever it is not to be had, with one line; its frames are software's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from video_clips import make_clip, number_in

from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.video import hwaccel
from icnet_cli.video.colour import Colour
from icnet_cli.video.frame import Converter, Turn
from icnet_cli.video.hwaccel import HardwareReader, reader_for
from icnet_cli.video.reader import VideoReader


def cuda_is_there() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def frames(reader: VideoReader) -> list[tuple[Any, ...]]:
    with reader:
        return [(frame.index, frame.pts, frame.damaged, *frame.yuv420(), frame.rgb()) for frame in reader]


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    return len(one) == len(other) and all(
        a[:3] == b[:3] and all(map(np.array_equal, a[3:], b[3:])) for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


@pytest.mark.skipif(cuda_is_there(), reason="needs a machine without a CUDA device")
def test_without_a_gpu_software_decodes_and_says_so_in_one_line(clip: Path) -> None:
    reader = reader_for(clip, "cuda")
    assert isinstance(reader, HardwareReader)
    reason = "NVIDIA's driver gives no decoder here"
    assert reader.fallback == f"clip.mp4 is decoded in software, not by GPU 0: {reason}"
    assert same(frames(reader), frames(VideoReader(clip)))


def test_none_asks_no_gpu(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hwaccel, "nvdec", asked.append)
    assert type(reader_for(clip, "none")) is VideoReader
    assert asked == []
    reader_for(clip, "auto", device="1").close()
    assert asked == ["1"]


def test_a_context_that_torch_made_first_is_not_shared(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg refuses it (`Primary context already active with incompatible flags`): the decoder takes its own."""
    asked, open_source = [], hwaccel.open_source

    def refusing(path: Path, *, hwaccel: Any = None, **options: Any) -> Any:
        asked.append((hwaccel.device_id, hwaccel.options))
        if hwaccel.options:
            raise IcnetError("cannot read clip.mp4: the system could not read it", ExitCode.INPUT)
        return open_source(path, **options)

    monkeypatch.setattr(hwaccel, "open_source", refusing)
    with HardwareReader(clip, device="1") as reader:
        assert asked == [(1, {"primary_ctx": "1"}), (1, {})]
        assert "NVIDIA's driver" not in str(reader.fallback)


def test_a_codec_that_it_cannot_do_is_decoded_in_software(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hwaccel, "nvdec", lambda device: None)  # PyAV leaves such streams to software
    reader = HardwareReader(clip)
    assert reader.fallback == "clip.mp4 is decoded in software, not by GPU 0: it has no decoder for h264"
    assert same(frames(reader), frames(VideoReader(clip)))


def test_a_decoder_that_fails_at_the_first_picture_is_replaced(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is there and refuses the stream: its first picture never comes."""
    monkeypatch.setattr(hwaccel, "nvdec", lambda device: None)
    monkeypatch.setattr(HardwareReader, "_open", VideoReader._open)
    first = VideoReader._first_in_range
    calls = []

    def failing(reader: VideoReader) -> Any:
        calls.append(reader)
        if len(calls) == 1:
            raise RuntimeError("CUDA_ERROR_NOT_SUPPORTED")
        return first(reader)

    monkeypatch.setattr(VideoReader, "_first_in_range", failing)
    reader = HardwareReader(clip)
    assert reader.fallback is not None
    assert reader.fallback.endswith("CUDA_ERROR_NOT_SUPPORTED")
    assert same(frames(reader), frames(VideoReader(clip)))


def test_a_form_of_the_codec_that_it_cannot_do_is_decoded_in_software(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg then decodes by itself, on the one thread that a GPU is given: with all threads, and a line, instead."""
    monkeypatch.setattr(hwaccel, "nvdec", lambda device: None)
    opened = HardwareReader._open

    def accelerated(reader: HardwareReader, number: int | None) -> None:
        opened(reader, number)
        reader._accelerated = first = reader.fallback is not None and not told
        told.append(reader.fallback)
        if first:
            reader.fallback = None

    told: list[str | None] = []
    monkeypatch.setattr(HardwareReader, "_open", accelerated)
    reader = HardwareReader(clip)
    assert len(told) == 2
    assert reader.fallback == (
        "clip.mp4 is decoded in software, not by GPU 0: it has no decoder for h264 in yuv420p"
    )
    assert same(frames(reader), frames(VideoReader(clip)))


def samples_of(plane: Any, bits: int) -> np.ndarray:
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows if bits == 8 else rows.view(np.uint16)


def in_both_layouts(size: tuple[int, int], bits: int, full_range: bool) -> tuple[Any, Any]:
    """The same noise as software's decoder gives it and as a GPU's does: U and V apart, and in one plane."""
    (width, height), random = size, np.random.default_rng(0)
    names = ("yuv420p", "nv12") if bits == 8 else ("yuv420p10le", "p010le")
    planar, semi = (av.VideoFrame(width, height, name) for name in names)
    for frame in (planar, semi):
        frame.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
    shift = 0 if bits == 8 else 6  # ten bits stand at the upper end of sixteen
    for index, plane in enumerate(planar.planes):
        values = random.integers(0, 1 << bits, (plane.height, plane.width))
        samples_of(plane, bits)[: plane.height, : plane.width] = values
        other = samples_of(semi.planes[min(index, 1)], bits)
        first, step = (0, 1) if index == 0 else (index - 1, 2)
        other[: plane.height, first : first + step * plane.width : step] = values << shift
    return planar, semi


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("size", [(320, 192), (322, 190)])
def test_the_layouts_of_a_gpus_decoder_are_read_as_softwares(
    size: tuple[int, int], bits: int, full_range: bool
) -> None:
    """swscale makes RGB of each in another way, which on edges of colour is another label."""
    converter = Converter(Colour(1, full_range), *size, Turn())
    planar, semi = in_both_layouts(size, bits, full_range)
    assert np.array_equal(converter.rgb(planar), converter.rgb(semi))
    assert all(map(np.array_equal, converter.coded_yuv420(planar), converter.coded_yuv420(semi)))


@pytest.mark.parametrize("content", [None, b"", b"no video at all" * 100])
def test_a_file_that_is_at_fault_is_told_as_ever(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IcnetError) as software:
        VideoReader(path)
    with pytest.raises(IcnetError) as hardware:
        HardwareReader(path)
    assert str(hardware.value) == str(software.value)


def test_ranges_and_streams_are_passed_on(clip: Path) -> None:
    options: dict[str, Any] = {"start_s": 0.3, "end_s": 0.6}
    assert same(frames(reader_for(clip, "auto", **options)), frames(VideoReader(clip, **options)))


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_is_there(), reason="needs a CUDA device")
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_gpu_decodes_what_software_decodes(codec: str, tmp_path: Path) -> None:
    """The standards leave a decoder no choice: every sample is the same. Larger than NVDEC's smallest pictures."""
    clip = make_clip(tmp_path / "clip.mp4", codec=codec, size=(320, 192))
    reader = reader_for(clip, "cuda")
    assert isinstance(reader, HardwareReader)
    if reader.fallback:
        pytest.skip(reader.fallback)
    assert same(frames(reader), frames(VideoReader(clip)))


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_is_there(), reason="needs a CUDA device")
def test_a_gpu_reads_ranges_and_a_cut_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=(320, 192))
    with reader_for(clip, "cuda", start_s=0.3) as reader:
        assert isinstance(reader, HardwareReader)
        if reader.fallback:
            pytest.skip(reader.fallback)
        first = next(iter(reader))
        assert number_in(first.rgb()) == first.index
    cut = make_clip(tmp_path / "cut.ts", size=(320, 192))
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    found, expected = frames(reader_for(cut, "cuda")), frames(VideoReader(cut))
    assert abs(len(found) - len(expected)) <= 2
