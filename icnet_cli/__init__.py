"""icnet: road video to per-pixel classes in real time.

    import icnet_cli

    segmenter = icnet_cli.load("icnet-camvid", device="auto")
    labels = segmenter.labels(frame)  # uint8 (H, W, 3) RGB -> uint8 (H, W)
    for labels, pts in segmenter.stream(icnet_cli.open_video("dashcam.mp4")):
        ...

Importing this package loads nothing heavy; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from icnet_cli.inference.segmenter import Segmenter
    from icnet_cli.video import VideoReader

__version__ = "0.1.0"
__all__ = ["__version__", "load", "open_video"]


def load(
    name_or_file: str | Path = "icnet-camvid",
    device: str = "auto",
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    backend: str = "torch",
) -> Segmenter:
    """A Segmenter from bundled weights by name, from a .safetensors file, or from a file of `icnet export`.

    Args:
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (fp32 on a CPU, fp16 on a GPU), `fp32`, `fp16` or `bf16`.
        size: the network's input (height, width), 32 to 16384 each; default: see
            `inference.segmenter.default_input_size`.
        backend: `torch`; or `openvino`, `onnx` or `compile`, which build the network at the first picture's size,
            once, and keep it on the disk (`ICNET_CACHE_DIR`).

    `.labels(frame)` labels a picture; `.network` is the nn.Module to fine-tune (an exported file has none).

    Raises:
        IcnetError: WEIGHTS for a missing or invalid file, or a trunk that has no trained classifier;
            DEVICE or USAGE for a device that is not to be had.
    """
    from icnet_cli.inference.segmenter import load as load_segmenter

    return load_segmenter(name_or_file, device, precision, size, backend)


def open_video(path: str | Path) -> VideoReader:
    """The frames of a video file, upright and in order: iterate it, and close it or use it in a `with`.

    Each frame has `.rgb()` (uint8 (H, W, 3)), `.pts` (an int, in `.time_base`) and `.seconds`.

    Raises:
        IcnetError: INPUT for a file that is missing or cannot be read; USAGE for a camera or an address.
    """
    import os

    from icnet_cli.config.live import is_live_name
    from icnet_cli.errors import printable, usage_error
    from icnet_cli.video import open_video

    is_name = isinstance(path, str | os.PathLike)
    name = os.fspath(path) if is_name else ""
    if not is_name or (is_live_name(name) and not os.path.isfile(name)):
        # An address may hold a password.
        what = "a camera or an address" if is_name else printable(repr(path))
        raise usage_error(
            f"open_video reads a video file, not {what}; `icnet segment` reads cameras and addresses, and "
            "examples/webcam.py shows a loop over OpenCV's"
        )
    return open_video(name)
