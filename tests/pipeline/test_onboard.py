"""A video's way over a device, by the whole of `segment`: the files it writes are those of the host's way.

The device is the CPU without queues here, and once the recording one; on a GPU the tests at the end run the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icnet_cli.config import SegmentConfig
from icnet_cli.errors import ExitCode, IcnetError, device_error
from icnet_cli.inference.cuda import CudaEngine
from icnet_cli.inference.segmenter import Segmenter
from icnet_cli.pipeline import onboard
from icnet_cli.pipeline.lanes import Notice
from icnet_cli.pipeline.onboard import AUTO_BATCH, batch_of
from icnet_cli.pipeline.segment import segment
from icnet_cli.pipeline.sources import VideoSource
from icnet_cli.pixels.cv import cv2
from icnet_cli.video import open_video
from tests.inference.test_graphs import Capture
from tests.inference.tiny import TinyNetwork, tiny_meta
from tests.video.video_clips import make_clip

from .conftest import frames, run, write_video
from .recording import RecordingStreams


@pytest.fixture
def device_segmenter() -> Segmenter:
    """A Segmenter whose engine has the stages of a device, run on the CPU."""
    segmenter = Segmenter(TinyNetwork(), tiny_meta(), "cpu")
    segmenter.engine = CudaEngine(
        TinyNetwork(), tiny_meta().normalisation, torch.device("cpu"), "fp32", capture=Capture()
    )
    return segmenter


def decoded(path: Path) -> list[tuple[Any, ...]]:
    with open_video(path) as reader:
        return [(frame.pts * frame.time_base, frame.rgb()) for frame in reader]


def largest_difference(one: Path, other: Path) -> float:
    pairs = list(zip(decoded(one), decoded(other), strict=True))
    assert all(a[0] == b[0] for a, b in pairs)
    return max(float(np.abs(a[1].astype(int) - b[1]).mean()) for a, b in pairs)


VIEWS: list[dict[str, Any]] = [
    {"view": "overlay"},
    {"view": "overlay", "legend": True, "alpha": 0.3, "only": ("green", "blue")},
    {"view": "color"},
    {"view": "side-by-side"},
    {"view": "overlay", "blur": ("red",)},
    {"view": "overlay", "pix_fmt": "yuv444p"},
    {"view": "overlay", "every": 2, "frames": 3},
]


@pytest.mark.parametrize("options", VIEWS, ids=str)
def test_videos_are_those_of_the_host_s_way(
    options: dict[str, Any], video: Path, tmp_path: Path, segmenter: Segmenter, device_segmenter: Segmenter
) -> None:
    _, host = run(segmenter, video, tmp_path / "host.mkv", codec="ffv1", **options)
    events, device = run(device_segmenter, video, tmp_path / "device.mkv", codec="ffv1", **options)
    assert largest_difference(tmp_path / "host.mkv", tmp_path / "device.mkv") < 0.3
    for key in ("frames", "output_size", "size", "view"):
        assert device[key] == host[key]
    assert device["class_share"] == pytest.approx(host["class_share"], abs=1e-3)
    assert [event.done for event in events] == list(range(1, host["frames"] + 1))  # type: ignore[union-attr]
    expected = ["decode", "upload", "prepare", "forward", "postprocess"]
    painted = "blur" not in options and "pix_fmt" not in options
    tail = ["render", "download", "encode"] if painted else ["download", "render", "encode"]
    assert list(device["stages_ms"]) == [*expected, *tail]
    assert {stage for lane in device["lanes"].values() for stage in lane} == set(device["stages_ms"])


@pytest.mark.parametrize("name", ["labels", "labels.mkv"])
@pytest.mark.parametrize("ids", ["train", "dataset"])
def test_labels_are_those_of_the_host_s_way(
    name: str, ids: str, video: Path, tmp_path: Path, segmenter: Segmenter, device_segmenter: Segmenter
) -> None:
    options: dict[str, Any] = {"view": "labels", "ids": ids}
    stats = {"confidence": True}
    for place, made in (("host", segmenter), ("device", device_segmenter)):
        (tmp_path / place).mkdir()
        run(made, video, tmp_path / place / name, stats=tmp_path / f"{place}.csv", **options, **stats)
    if name == "labels":
        pairs = [
            (cv2.imread(str(path), -1), cv2.imread(str(tmp_path / "device" / name / path.name), -1))
            for path in sorted((tmp_path / "host" / name).glob("*.png"))
        ]
        assert len(pairs) == 10
        assert all((a == b).mean() > 0.999 for a, b in pairs)
    else:
        assert largest_difference(*(tmp_path / place / name for place in ("host", "device"))) < 0.05
    rows = [(tmp_path / f"{place}.csv").read_text().splitlines() for place in ("host", "device")]
    assert rows[0][0] == rows[1][0]
    for a, b in zip(rows[0][1:], rows[1][1:], strict=True):
        assert [float(x) for x in a.split(",")] == pytest.approx([float(x) for x in b.split(",")], abs=2e-3)


@pytest.mark.parametrize("batch", ["1", "3", "10", "64"])
def test_every_batch_gives_the_same_file(
    batch: str, video: Path, tmp_path: Path, device_segmenter: Segmenter
) -> None:
    run(device_segmenter, video, tmp_path / "one.mkv", codec="ffv1")
    _, report = run(device_segmenter, video, tmp_path / "many.mkv", codec="ffv1", batch=batch)
    assert report["batch"] == int(batch)
    assert largest_difference(tmp_path / "one.mkv", tmp_path / "many.mkv") == 0


def test_over_queues_that_are_late(
    video: Path, tmp_path: Path, device_segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = RecordingStreams()
    run(device_segmenter, video, tmp_path / "at-once.mkv", codec="ffv1")
    monkeypatch.setattr("icnet_cli.inference.streams.streams_of", lambda device: streams)
    run(device_segmenter, video, tmp_path / "late.mkv", codec="ffv1", batch="4")
    assert largest_difference(tmp_path / "at-once.mkv", tmp_path / "late.mkv") == 0
    assert streams.problems == []
    assert set(streams.waits) == {"icnet-encode"}


def test_what_a_device_has_no_stages_for_goes_the_other_way(
    tmp_path: Path, folder: Path, video: Path, device_segmenter: Segmenter
) -> None:
    odd = make_clip(tmp_path / "odd.mkv", codec="ffv1", size=(71, 48))
    for source, name, options in (
        (odd, "odd.mkv", {}), (folder, "labels", {}), (video, "smooth.mkv", {"smooth": 0.5}),
    ):  # fmt: skip
        (tmp_path / "out").mkdir(exist_ok=True)
        _, report = run(device_segmenter, source, tmp_path / "out" / name, **options)
        assert "batch" not in report
        assert "upload" not in report["stages_ms"]


@pytest.mark.parametrize(("rotation", "hflip"), [(90, False), (180, False), (270, False), (90, True)])
@pytest.mark.parametrize("options", [{}, {"blur": ("red",)}], ids=str)
def test_a_turned_video_is_upright(
    rotation: int, hflip: bool, options: dict[str, Any], tmp_path: Path, segmenter: Segmenter,
    device_segmenter: Segmenter,
) -> None:  # fmt: skip
    clip = make_clip(
        tmp_path / "turned.mp4", rotation=rotation, hflip=hflip, ticks=tuple(range(0, 3 * 512, 512))
    )
    for name, made in (("host.mkv", segmenter), ("device.mkv", device_segmenter)):
        run(made, clip, tmp_path / name, codec="ffv1", **options)
    assert largest_difference(tmp_path / "host.mkv", tmp_path / "device.mkv") < 0.3


@pytest.mark.parametrize(
    ("given", "is_device", "is_live", "total", "expected"),
    [
        ("auto", False, False, 100, 1), ("auto", True, False, 100, AUTO_BATCH), ("auto", True, True, None, 1),
        ("auto", True, False, 3, 3), ("auto", True, False, None, AUTO_BATCH), ("5", True, True, None, 5),
    ],
)  # fmt: skip
def test_the_batch_that_is_chosen(
    given: str, is_device: bool, is_live: bool, total: int | None, expected: int
) -> None:
    config = SegmentConfig("x.mp4", Path("y.mp4"), batch=given)
    assert batch_of(config, is_device=is_device, is_live=is_live, total=total) == expected


@pytest.mark.parametrize("batch", ["0", "65", "many", "-1"])
def test_batches_that_are_none_are_refused(batch: str) -> None:
    with pytest.raises(IcnetError, match="--batch must be auto or a number from 1 to 64") as failure:
        SegmentConfig("x.mp4", Path("y.mp4"), batch=batch).check()
    assert failure.value.code == ExitCode.USAGE


def test_a_batch_on_a_cpu_is_refused(video: Path, tmp_path: Path, segmenter: Segmenter) -> None:
    with pytest.raises(IcnetError, match="--batch 4 is for videos on a GPU: on a CPU frames go one by one"):
        run(segmenter, video, tmp_path / "out.mp4", batch="4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_batch_that_memory_does_not_hold_is_halved(
    video: Path, tmp_path: Path, device_segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = onboard._with_job, []

    def small(segmenter: Any, job: Any) -> Any:
        tried.append(job.batch)
        if job.batch > 2:
            raise device_error("out of memory on cuda:0")
        return real(segmenter, job)

    monkeypatch.setattr(onboard, "_with_job", small)
    monkeypatch.setattr(onboard, "batch_of", lambda *_, **__: 8)
    _, report = run(device_segmenter, video, tmp_path / "out.mp4")
    assert (tried, report["batch"]) == ([8, 4, 2], 2)
    with pytest.raises(IcnetError, match="out of memory"):  # a batch that was asked for is not changed
        run(device_segmenter, video, tmp_path / "other.mp4", batch="8")


def test_a_decoder_that_is_not_to_be_had_is_told_once(
    video: Path, tmp_path: Path, segmenter: Segmenter
) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a CUDA device")
    for hwaccel, told in (("cuda", 1), ("auto", 0), ("none", 0)):
        output = tmp_path / f"{hwaccel}.mp4"
        config = SegmentConfig(str(video), output, hwaccel=hwaccel)
        events = segment(config, segmenter)
        seen: list[Any] = []
        while True:
            try:
                seen.append(next(events))
            except StopIteration as end:
                report = end.value
                break
        notices = [event.text for event in seen if isinstance(event, Notice)]
        assert [("in software" in text) for text in notices] == [True] * told
        assert report["hwaccel"] == "none"
        assert ("hwaccel_note" in report) == (hwaccel != "none")
        assert report["frames"] == 10


def test_what_is_no_file_is_decoded_in_software_and_told() -> None:
    """A pipe's reader, or a live one: anything that is no reader of files."""
    source = object.__new__(VideoSource)
    source.reader = object()  # type: ignore[assignment]
    for hwaccel, told in (("cuda", True), ("auto", False), ("none", False)):
        config = SegmentConfig("-", Path("out.mp4"), hwaccel=hwaccel)
        note = onboard.decoder_note(config, source)
        assert (note == "--hwaccel is for files: what is piped or live is decoded in software") == told
        assert onboard.decoder_report(config, source)["hwaccel"] == "none"


# On a GPU ------------------------------------------------------------------------------------------------------------


gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@gpu
@needs_gpu
@pytest.mark.parametrize("options", VIEWS, ids=str)
def test_videos_of_a_gpu_are_those_of_the_cpu(
    options: dict[str, Any], video: Path, tmp_path: Path, segmenter: Segmenter
) -> None:
    on_gpu = Segmenter(TinyNetwork(), tiny_meta(), "cuda", "fp32")
    run(segmenter, video, tmp_path / "cpu.mkv", codec="ffv1", **options)
    for batch in ("1", "4"):
        _, report = run(on_gpu, video, tmp_path / f"gpu{batch}.mkv", codec="ffv1", batch=batch, **options)
        assert largest_difference(tmp_path / "cpu.mkv", tmp_path / f"gpu{batch}.mkv") < 0.3
        assert report["notes"] == []
        assert report["device"].startswith("cuda")


@gpu
@needs_gpu
def test_the_command_on_a_gpu(tmp_path: Path) -> None:
    """`icnet segment --device cuda` with bundled weights, decoded in software and by the GPU."""
    from icnet_cli.cli.app import run as command

    source = write_video(tmp_path / "street.mp4", frames(10, (256, 384)))
    for hwaccel in ("none", "cuda"):
        words = ["segment", str(source), "-o", str(tmp_path / f"{hwaccel}.mp4"), "--device", "cuda"]
        assert command([*words, "--hwaccel", hwaccel]) == 0
        assert len(decoded(tmp_path / f"{hwaccel}.mp4")) == 10


@gpu
@needs_gpu
def test_memory_is_flat_over_a_long_video(tmp_path: Path) -> None:
    source = write_video(tmp_path / "long.mp4", frames(400), tuple(range(400)))
    on_gpu = Segmenter(TinyNetwork(), tiny_meta(), "cuda", "fp16")
    peaks = []
    for count in (50, 400):
        torch.cuda.reset_peak_memory_stats()
        run(on_gpu, source, tmp_path / f"{count}.mp4", frames=count)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= peaks[0] * 1.02 + (1 << 20)
