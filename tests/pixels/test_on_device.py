"""The twins on tensors do what numpy and OpenCV do, wherever the tensors lie."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import torch

from icnet_cli.pixels.blur import Blur
from icnet_cli.pixels.files import shrink_or_grow
from icnet_cli.pixels.legend import Legend
from icnet_cli.pixels.on_device import (
    DevicePainter,
    Resizer,
    TensorPlanes,
    count_classes,
    doubled,
    rgb_from_planes,
    turned,
)
from icnet_cli.pixels.overlay import VIEWS, Painter
from icnet_cli.pixels.yuv import Planes, YuvColour

PALETTE = np.array([[128, 64, 128], [70, 130, 180], [220, 20, 60]], np.uint8)
COLOURS = [
    YuvColour(m, full) for m in ("smpte170m", "bt709", "bt2020nc", "smpte240m") for full in (False, True)
]
SIZES = [(16, 20), (15, 21), (1, 1), (2, 7), (48, 50)]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(request.param)


def noise(size: tuple[int, int], seed: int = 0) -> Planes:
    random = np.random.default_rng(seed)
    small = (-(-size[0] // 2), -(-size[1] // 2))
    return Planes(*(random.integers(0, 256, shape, np.uint8) for shape in (size, small, small)))


def upload(pictures: list[Planes], device: torch.device) -> TensorPlanes:
    return TensorPlanes(
        *(torch.from_numpy(np.stack(plane)).to(device) for plane in zip(*pictures, strict=True))
    )


def empty(size: tuple[int, int], count: int, device: torch.device) -> TensorPlanes:
    return upload([Planes(*(np.zeros_like(plane) for plane in noise(size)))] * count, device)


def labels_of(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """All classes, and values that are none."""
    values = np.array([0, 1, 2, 7, 255], np.uint8)
    return np.random.default_rng(seed).choice(values, size)


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_colours_are_those_of_the_standards(
    colour: YuvColour, size: tuple[int, int], device: torch.device
) -> None:
    pictures = [noise(size, seed) for seed in (1, 2)]
    found = rgb_from_planes(upload(pictures, device), colour).cpu().numpy()
    for planes, rgb in zip(pictures, found, strict=True):
        full = [p.repeat(2, 0).repeat(2, 1)[: size[0], : size[1]] for p in planes[1:]]
        expected = colour.to_rgb(np.stack([planes.y, *full], axis=-1))
        assert np.abs(rgb.transpose(1, 2, 0) - expected).max() <= 4  # 16 bits, each product rounded down


def test_another_matrix_gives_other_colours(device: torch.device) -> None:
    planes = upload([noise((16, 16))], device)
    here, there = (rgb_from_planes(planes, YuvColour(matrix)) for matrix in ("bt709", "smpte170m"))
    assert (here - there).abs().max() > 10


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="swscale rounds otherwise elsewhere"
)
@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize("size", [(16, 20), (2, 2), (34, 70), (50, 254)])
def test_colours_are_to_the_last_bit_those_of_the_decoder_s_way(
    colour: YuvColour, size: tuple[int, int], device: torch.device
) -> None:
    """What the CPU's path feeds the network: `Frame.rgb`, which is swscale."""
    video = pytest.importorskip("icnet_cli.video.frame")
    colours = pytest.importorskip("icnet_cli.video.colour")
    import av

    planes = noise(size)
    picture = av.VideoFrame(size[1], size[0], "yuv420p")
    for target, source in zip(picture.planes, planes, strict=True):
        np.frombuffer(target, np.uint8).reshape(-1, target.line_size)[:, : target.width] = source  # type: ignore[call-overload]
    code = next(code for code, name in colours.MATRIX_NAMES.items() if name == colour.matrix)
    converter = video.Converter(colours.Colour(code, colour.full_range), size[1], size[0], video.Turn())
    found = rgb_from_planes(upload([planes], device), colour)[0].permute(1, 2, 0).cpu().numpy()
    assert np.array_equal(found, converter.rgb(picture))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_pictures_are_turned_as_on_the_host(
    size: tuple[int, int], clockwise: int, mirror: bool, device: torch.device
) -> None:
    video_frame = pytest.importorskip("icnet_cli.video.frame")
    turn = video_frame.Turn(clockwise, mirror)
    planes = noise(size)
    found = turned(upload([planes], device), clockwise, mirror)
    for plane, tensor in zip(planes, found, strict=True):
        assert np.array_equal(tensor[0].cpu().numpy(), turn.apply(plane))


def test_every_chroma_sample_covers_four_pixels() -> None:
    chroma = torch.arange(4, dtype=torch.uint8).reshape(1, 2, 2)
    assert doubled(chroma, (3, 3))[0].tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((90, 120), (45, 60)), ((90, 120), (64, 96)), ((61, 83), (32, 32)), ((50, 50), (49, 47)),
        ((32, 40), (64, 96)), ((40, 90), (64, 32)), ((33, 65), (33, 65)), ((100, 40), (37, 40)),
    ],
)  # fmt: skip
def test_sizes_change_as_on_the_host(
    size: tuple[int, int], to: tuple[int, int], device: torch.device
) -> None:
    random = np.random.default_rng(3)
    pictures = np.stack([random.integers(0, 256, (*size, 3), np.uint8) for _ in range(2)])
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().to(device)
    found = Resizer(size, to, device)(tensor).permute(0, 2, 3, 1).cpu().numpy()
    expected = np.stack([shrink_or_grow(picture, to) for picture in pictures])
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    by_area = to[0] <= size[0] and to[1] <= size[1]
    assert (difference > 0).mean() < (1e-3 if by_area else 0.2)


def painter(view: str, size: tuple[int, int], **options: object) -> Painter:
    legend = Legend(("road", "sky", "person"), PALETTE, size)
    return Painter(PALETTE, view, 0.37, legend if min(size) > 30 else None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(16, 20), (15, 21), (2, 7), (48, 50), (200, 301)])
@pytest.mark.parametrize("only", [None, (1, 2)])
@pytest.mark.parametrize("full_range", [False, True])
def test_planes_are_painted_to_the_last_bit_as_on_the_host(
    view: str, size: tuple[int, int], only: tuple[int, ...] | None, full_range: bool, device: torch.device
) -> None:
    colour = YuvColour("bt709", full_range)
    host = painter(view, size, only=only)
    pictures, labels = [noise(size, s) for s in (1, 2)], [labels_of(size, s) for s in (3, 4)]
    twin = DevicePainter(host, colour, size, device)
    assert twin.output_size == host.output_size(size)
    out = empty(twin.output_size, 2, device)
    twin.paint(upload(pictures, device), torch.from_numpy(np.stack(labels)).to(device), out)
    for index in range(2):
        expected = host.paint_planes(pictures[index], labels[index], colour)
        for plane, tensor in zip(expected, out, strict=True):
            assert np.array_equal(tensor[index].cpu().numpy(), plane)


def test_another_alpha_paints_otherwise(device: torch.device) -> None:
    """The twin of the one above: a painter of other strength is told apart."""
    planes, labels, colour = noise((16, 20)), labels_of((16, 20)), YuvColour()
    out = empty((16, 20), 1, device)
    twin = DevicePainter(Painter(PALETTE, "overlay", 0.5), colour, (16, 20), device)
    twin.paint(upload([planes], device), torch.from_numpy(labels[None]).to(device), out)
    other = Painter(PALETTE, "overlay", 0.4).paint_planes(planes, labels, colour)
    assert not np.array_equal(out.y[0].cpu().numpy(), other.y)


def test_blurring_is_left_to_the_host() -> None:
    with pytest.raises(ValueError, match="on the host"):
        DevicePainter(
            painter("overlay", (16, 16), blur=Blur([1])), YuvColour(), (16, 16), torch.device("cpu")
        )


def test_classes_are_counted(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icnet_cli.pixels.on_device._COUNT_BYTES", 500)  # so that there are several steps
    labels = np.stack([labels_of((17, 23), seed) for seed in range(3)])
    found = count_classes(torch.from_numpy(labels).to(device), 3).cpu().numpy()
    assert found.tolist() == [[int((one == k).sum()) for k in range(3)] for one in labels]
