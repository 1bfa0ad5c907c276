"""`icnet export`: trace, write, run what was written, compare it with the network, and only then keep it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from icnet_cli.checkpoints.bundled import find_weights
from icnet_cli.checkpoints.format import LoadedWeights, load_weights
from icnet_cli.checkpoints.start import refuse_trunk_only
from icnet_cli.config import ExportConfig
from icnet_cli.errors import check_error, weights_error
from icnet_cli.inference.backends import SUFFIXES, Ports, files_of, open_exported, require
from icnet_cli.inference.backends.base import FRAMES, LABELS, LOGITS, RAW, metadata_of, smallest_side
from icnet_cli.outputs import refuse_unwritable
from icnet_cli.pixels.files import read_picture

from .agreement import MOST_PICTURES, Agreement, compare, frames_at, picture_files, spread
from .graph import trace
from .outputs import beside, publish
from .quantise import Calibration, miou_lost, open_calibration, quantise_onnx
from .writers import WRITERS, save_openvino, write_onnx

LEAST_AGREEMENT = {"fp32": 0.999, "fp16": 0.995, "int8": 0.0}


def export(config: ExportConfig) -> dict[str, Any]:
    """Write the file and report on it.

    Raises:
        IcnetError: exit 2 for an output that exists or an extra that is missing, 3 for pictures, 4 for weights, 5 for
            the disk, 7 where what was written does not say what the network says (then it is not kept).
    """
    started = time.perf_counter()
    require(config.to)
    if config.int8:
        require("onnx")
    source = find_weights(config.weights)
    if source.suffix.lower() in SUFFIXES:
        raise weights_error(f"{source} is an exported file itself; give the .safetensors that it came from")
    for path in files_of(config.output):
        refuse_unwritable(path, overwrite=config.overwrite, inputs=(source,))
    calibration = open_calibration(config.calibrate) if config.calibrate else None
    pictures = _pictures(config, calibration)
    for path in pictures:
        read_picture(path)  # one that cannot be read is told before the minute that the rest takes
    loaded = load_weights(source)
    refuse_trunk_only(loaded.meta, config.weights)
    ports = _ports(config, loaded)
    with beside(config.output) as folder:
        part = folder / config.output.name
        metadata = metadata_of(loaded.meta, ports)
        _write(config, part, loaded, ports, metadata, calibration)
        model = open_exported(part, own=True)
        found = compare(model, loaded.network, frames_at(pictures, _compared_at(ports, loaded)))
        least = LEAST_AGREEMENT[ports.precision] if config.min_agreement is None else config.min_agreement
        _check(config, found, least)
        lost = miou_lost(calibration, model, loaded.network, _base_size(ports, loaded)) if calibration else {}
        del model  # closes its files
        publish(files_of(part)[::-1], config.output.parent)
    return _report(config, loaded, ports, found, pictures) | lost | {"seconds": time.perf_counter() - started}


def _pictures(config: ExportConfig, calibration: Calibration | None) -> list[Path]:
    """What the file is compared on: --pictures, else the held-out ones of --calibrate; none means the drawn street."""
    if config.pictures is not None:
        return spread(picture_files(config.pictures), MOST_PICTURES)
    if calibration is None:
        return []
    held_out = [sample.image for sample in calibration.labelled]
    return spread(held_out or calibration.pictures, MOST_PICTURES)


def _ports(config: ExportConfig, loaded: LoadedWeights) -> Ports:
    size = None if config.dynamic else config.size or loaded.meta.train_size
    return Ports(
        input=RAW if config.raw else FRAMES,
        output=LABELS if config.with_argmax else LOGITS,
        size=size,
        precision="int8" if config.int8 else "fp16" if config.fp16 else "fp32",
    )


def _base_size(ports: Ports, loaded: LoadedWeights) -> tuple[int, int]:
    return ports.size or loaded.meta.train_size


def _compared_at(ports: Ports, loaded: LoadedWeights) -> list[tuple[int, int]]:
    """A file of one size at that; one of all sizes also at an odd size and at one of the opposite aspect."""
    height, width = _base_size(ports, loaded)
    if ports.size is not None:
        return [(height, width)]

    def odd(pixels: int, share: float) -> int:
        return max(smallest_side(loaded.meta.model, loaded.meta.config), int(pixels * share)) | 1

    return [(height, width), (odd(height, 0.6), odd(width, 0.45)), (odd(width, 0.5), odd(height, 0.3))]


def _write(
    config: ExportConfig,
    part: Path,
    loaded: LoadedWeights,
    ports: Ports,
    metadata: Mapping[str, str],
    calibration: Calibration | None,
) -> None:
    program = trace(loaded.network, loaded.meta.normalisation, ports)
    if calibration is None:
        WRITERS[config.to](part, program, ports, metadata)
        return
    whole, small = part.with_name("whole.onnx"), part.with_name("small.onnx")
    write_onnx(whole, program, replace(ports, precision="fp32"), metadata)
    frames = calibration.frames(_base_size(ports, loaded))
    quantise_onnx(whole, small, open_exported(whole), frames)
    if config.to == "onnx":
        small.replace(part)
    else:
        import openvino

        save_openvino(part, openvino.convert_model(str(small)), ports, metadata)


def _check(config: ExportConfig, found: Agreement, least: float) -> None:
    if found.share < least:
        raise check_error(
            f"{config.output} would agree with the network on {found.share:.4%} of pixels, under {least:.4%}; "
            "it was not kept (--min-agreement sets the bound)"
        )


def _report(
    config: ExportConfig, loaded: LoadedWeights, ports: Ports, found: Agreement, pictures: list[Path]
) -> dict[str, Any]:
    return {
        "output": str(config.output),
        "format": config.to,
        "model": loaded.meta.model,
        "size": None if ports.size is None else list(ports.size),
        "precision": ports.precision,
        "input": "float32 NCHW, normalised" if ports.input == RAW else "uint8 NHWC RGB",
        "output_kind": "labels uint8" if ports.output == LABELS else "logits float32",
        "agreement": found.share,
        "agreement_worst": found.worst,
        "agreement_pictures": found.pictures,
        "agreement_drawn": not pictures,
        "bytes": sum(path.stat().st_size for path in files_of(config.output)),
        # The int8 file quantises to unsigned bytes, which suit CPUs; TensorRT takes signed ones only.
        "trtexec": trtexec_line(config.output, ports, loaded)
        if config.to == "onnx" and not config.int8
        else None,
    }


def trtexec_line(output: Path, ports: Ports, loaded: LoadedWeights) -> str:
    """How to make a TensorRT engine of an ONNX file."""
    words = [
        f"trtexec --onnx={quote(str(output))}",
        f"--saveEngine={quote(str(output.with_suffix('.engine')))}",
    ]
    words.append("--fp16" if ports.precision == "fp16" else "--noTF32")
    if ports.size is None:
        # The whole multiple of 32 that every file of free sizes takes, and never above the best size.
        least = -(-smallest_side(loaded.meta.model, loaded.meta.config) // 32) * 32
        height, width = (max(least, side) for side in loaded.meta.train_size)

        def shape(rows: int, columns: int) -> str:
            raw = ports.input == RAW
            return f"{ports.input}:1x3x{rows}x{columns}" if raw else f"{ports.input}:1x{rows}x{columns}x3"

        words.append(f"--minShapes={shape(least, least)} --optShapes={shape(height, width)}")
        words.append(f"--maxShapes={shape(2 * height, 2 * width)}")
    return " ".join(words)
