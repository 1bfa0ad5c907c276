"""How pictures become packets: one encoder's settings, as a value that can be written down and opened again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from av.codec.context import Flags

from icnet_cli.errors import output_error
from icnet_cli.video.colour import Colour, spelled_out
from icnet_cli.video.containers import CODECS, OutputPlan, encoder_options, no_hardware, rate_cap
from icnet_cli.video.info import VideoInfo
from icnet_cli.video.pictures import Painter

_FRACTIONS = ("time_base", "rate", "aspect")
_BOTTOM_FIRST = (3, 4)  # AVFieldOrder: BB, TB
_ONE_THREAD = 512 * 384  # pixels
_FARTHEST = 1 << 40  # ticks from decoding to showing: a day even of a clock of ten million a second


def _repeats(width: int) -> bool:
    """Whether x264's macroblock tree gives the same bits in every run.

    Measured: of eleven widths those whose macroblocks are no multiple of eight to a row gave up to four files in four
    runs, with one thread as with several; without the tree all gave one.
    """
    return -(-width // 16) % 8 == 0


def _threads(options: dict[str, str], size: tuple[int, int]) -> dict[str, str]:
    """One thread for x264 where a rate cap and several would make the bits depend on the threads' timing.

    Under a cap each of its threads reads how far the others have come, without waiting for them: 160x120 to 640x480
    gave up to four files in six runs, and one with one thread. One core encodes some 30 million pixels a second with
    the default preset (320x240: 280 to 380 frames, 640x480: 76 to 105, 1280x720: 31), so up to _ONE_THREAD pixels it
    stays above 150 frames a second and no run waits for it; larger pictures keep their threads, and `--crf`, which
    lifts the cap, makes them repeat.
    """
    return {"threads": "1"} if "maxrate" in options and size[0] * size[1] <= _ONE_THREAD else {}


@dataclass(frozen=True)
class Encoding:
    """All that an encoder is told before its first frame.

    Attributes:
        codec: its name in CODECS.
        width, height: of the pictures; what is encoded may be padded to even sizes.
        aspect: of a sample; None where nothing is said of it.
        fields: the source's AVFieldOrder where its interlacing is kept; None: what is written is progressive, or
            nothing is known.
        family_tag: the codec's name in the container where it is not the usual one.
    """

    codec: str
    width: int
    height: int
    pix_fmt: str
    time_base: Fraction
    rate: Fraction
    colour: Colour
    options: dict[str, str]
    aspect: Fraction | None = None
    fields: int | None = None
    family_tag: str | None = None

    @classmethod
    def of(
        cls,
        plan: OutputPlan,
        size: tuple[int, int],
        pix_fmt: str,
        colour: Colour,
        *,
        time_base: Fraction,
        rate: Fraction,
        info: VideoInfo | None = None,
        interlaced: bool = False,
        crf: int | None = None,
        preset: str | None = None,
    ) -> Encoding:
        """The settings for pictures of `size` (width, height), made from a video that `info` describes."""
        width, height = size
        pixels = width * height / (info.width * info.height) if info else 1.0
        cap = rate_cap(info.bit_rate, info.codec_name, plan.codec, pixels) if info else None
        options = encoder_options(plan, crf, preset, cap, pix_fmt)
        if plan.codec.encoder == "libx264":
            options |= _threads(options, size)
        order = info.field_order if info is not None else 0
        private = ["mbtree=0"] if plan.codec.encoder == "libx264" and not _repeats(width) else []
        if interlaced:  # and no captions: the pattern's own would be written with every frame
            private.append("bff=1" if order in _BOTTOM_FIRST else "tff=1")
            options |= {"flags": "+ildct+ilme", "a53cc": "0"}
        if private:
            options["x264-params"] = ":".join(private)
        if plan.codec.family == "ffv1" and plan.container.muxer == "mp4":
            # FFV1 itself says no colours, and FFmpeg writes none to an mp4, matrix and range included, unless it
            # knows all of them: a full range was then read as limited, with its contrast raised.
            colour = spelled_out(colour)
        apples = plan.codec.family == "hevc" and plan.container.muxer in ("mp4", "mov")
        return cls(
            next(name for name, codec in CODECS.items() if codec == plan.codec),
            width, height, pix_fmt, time_base, rate, colour, options,
            aspect=None if info is None else info.sample_aspect_ratio,
            fields=None if info is None else order if interlaced else 1,
            family_tag="hvc1" if apples else None,  # Apple's players want this name, not hev1
        )  # fmt: skip

    def painter(self, template: Any = None) -> Painter:
        """What makes the encoder's frames of pictures, with the fields of `template`, an interlaced av.VideoFrame."""
        even = CODECS[self.codec].family != "ffv1"  # the one codec here that takes odd sizes in 4:2:0
        return Painter(self.width, self.height, self.pix_fmt, self.colour, even=even, fields=template)

    def add_to(self, container: Any) -> Any:
        """A stream in an av.OutputContainer, its encoder not yet open."""
        painter = self.painter()
        stream = container.add_stream(
            CODECS[self.codec].encoder, self.rate, dict(self.options), width=painter.width, height=painter.height,
            time_base=self.time_base,
        )  # fmt: skip
        context = stream.codec_context
        stream.time_base = self.time_base
        context.pix_fmt = self.pix_fmt
        context.flags |= Flags.frame_duration  # variable rates keep each frame's own duration
        painter.tag(context)
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect
        if self.fields is not None:
            context.field_order = self.fields
        if self.family_tag:
            context.codec_tag = self.family_tag
        return stream

    def start(self, stream: Any) -> None:
        """Open the encoder of a stream.

        Raises:
            IcnetError: DEVICE where its hardware is missing, OUTPUT where it refuses the pictures.
        """
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings unless told otherwise here
        codec = CODECS[self.codec]
        try:
            stream.codec_context.open()
        except Exception as error:
            if codec.hardware:
                raise no_hardware(codec.encoder, "h264") from error
            raise output_error(
                f"the encoder {codec.encoder} refuses {self.height}x{self.width} {self.pix_fmt} video; "
                "choose another --codec or --pix-fmt"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        document = asdict(self)
        for name in _FRACTIONS:
            value = document[name]
            document[name] = None if value is None else [value.numerator, value.denominator]
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Encoding:
        """The settings that `to_dict` wrote."""
        read = {name: Fraction(*document[name]) for name in _FRACTIONS if document[name] is not None}
        return cls(**{**document, **read, "colour": Colour(**document["colour"])})


def well_timed(packets: list[Any]) -> list[Any]:
    """An encoder's packets, each with a time to be decoded at that can be.

    x265 leaves that to chance where it is given fewer pictures than its reordering waits for, one or two. None is
    reordered then, so each is decoded when it is shown.
    """
    for packet in packets:
        if packet.dts is not None and not -_FARTHEST < packet.dts - packet.pts <= 0:
            packet.dts = packet.pts
    return packets
