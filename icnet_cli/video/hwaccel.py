"""Decoding on the GPU's own decoder (NVDEC), and in software where that is not to be had.

FFmpeg's CUDA decoder is asked through PyAV. Its pictures are downloaded as they come (nv12), so everything behind the
reader stays as it is: times, ranges, damage, conversion. They do not stay on the GPU: handing them to torch there
(DLPack) has to be run on such a machine before it can be trusted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from av.codec.hwaccel import HWAccel

from icnet_cli.errors import IcnetError, input_error, printable

from .reader import VideoReader
from .source import open_source

HWACCELS = ("auto", "none", "cuda")
# Layouts that NVDEC never gives: where its chroma is not full, U and V share a plane (nv12, p010).
_FROM_SOFTWARE = ("yuv42", "yuvj42", "yuv41", "yuvj41", "gray", "gbr", "rgb")


def nvdec(device: str = "0", *, own_context: bool = False) -> HWAccel:
    """CUDA device `device`'s decoder, in the context that torch uses there too: another one would cost its memory.

    FFmpeg refuses to share one that torch made first, as its threads would wait in another way than FFmpeg wants them
    to: `own_context` is for that case. `icnet segment` opens the file before torch, and then FFmpeg makes theirs.
    """
    options: Any = {} if own_context else {"primary_ctx": "1"}
    return HWAccel("cuda", device, allow_software_fallback=True, options=options)


class HardwareReader(VideoReader):
    """A `VideoReader` that decodes on a GPU as far as that can be done.

    Attributes:
        fallback: why it decodes in software, one line; None while the GPU does it.
    """

    def __init__(self, path: str | Path, *, device: str = "0", **options: Any) -> None:
        self._device, self._accelerated = device, False
        self.fallback: str | None = None
        super().__init__(path, **options)

    def _begin(self, stream: int | None) -> None:
        try:
            super()._begin(stream)
        except IcnetError as error:
            if self.fallback is not None:
                raise  # it is the file, not the decoder
            self._fall_back(error)
            super()._begin(stream)

    def _connect(self) -> Any:
        # What is read a second time, because a decoder went quiet on a damaged end, is read in software.
        if self.fallback is not None or not self._threaded:
            return super()._connect()
        with suppress(IcnetError):
            return open_source(self.path, max_pixels=self.max_pixels, hwaccel=nvdec(self._device))
        with suppress(IcnetError):
            own = nvdec(self._device, own_context=True)
            return open_source(self.path, max_pixels=self.max_pixels, hwaccel=own)
        container = super()._connect()  # raises where it is the file
        self._fall_back("NVIDIA's driver gives no decoder here")
        return container

    def _open(self, number: int | None) -> None:
        super()._open(number)
        context = self._stream.codec_context
        self._accelerated = bool(context.is_hwaccel)
        if self._accelerated:
            context.thread_count = 1  # one queue of one decoder: more threads only hold more pictures
        elif self.fallback is None and self._threaded:
            self._fall_back(f"it has no decoder for {context.codec.canonical_name}")

    def _look_at(self, first: Any) -> None:
        # A codec that the GPU knows, in a form that it does not: FFmpeg's own decoder takes over, on one thread.
        if self._accelerated and first.format.name.startswith(_FROM_SOFTWARE):
            codec = self._stream.codec_context.codec.canonical_name
            raise input_error(f"it has no decoder for {codec} in {first.format.name}")
        super()._look_at(first)

    def _fall_back(self, reason: Exception | str) -> None:
        cause = reason.__cause__ or reason if isinstance(reason, Exception) else reason
        words = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        name = printable(self.path.name)
        self.fallback = f"{name} is decoded in software, not by GPU {self._device}: {printable(words)}"


def reader_for(path: str | Path, hwaccel: str = "none", device: str = "0", **options: Any) -> VideoReader:
    """A reader of a file that decodes where `hwaccel` says: `none`, `cuda`, or `auto` (as `cuda`, without a word).

    Raises:
        IcnetError: as `open_video`.
    """
    return (
        VideoReader(path, **options) if hwaccel == "none" else HardwareReader(path, device=device, **options)
    )
