"""`icnet export`."""

from __future__ import annotations

from typing import Any

from icnet_cli.cli.console import Console, emit_json, say
from icnet_cli.config import ExportConfig


def export(config: ExportConfig, console: Console) -> None:
    """Write a network as ONNX, torch.export's pt2 or OpenVINO, run the file and compare it with the network.

    \b
    Examples:
      icnet export icnet-camvid --to onnx --with-argmax -o icnet.onnx
      icnet export icnet-camvid --to openvino --dynamic --fp16 -o icnet.xml
      icnet export mine.safetensors --to pt2 --size 512x1024 -o mine.pt2
      icnet export icnet-camvid --to onnx --int8 --calibrate camvid/ -o icnet.onnx
    """
    from icnet_cli.export.export import export as run

    report = run(config)
    for line in lines(report):
        say(line)
    if console.json:
        emit_json(report)


def lines(report: dict[str, Any]) -> list[str]:
    """The file, its agreement with the network, what int8 lost, and how TensorRT takes it."""
    size = "any size" if report["size"] is None else "x".join(map(str, report["size"]))
    what = f"{report['precision']}, {size}, {report['input']} in, {report['output_kind']} out"
    count = report["agreement_pictures"]
    pictures = f"{count} {'drawn ' if report['agreement_drawn'] else ''}picture{'s' * (count != 1)}"
    if report["agreement_drawn"]:
        pictures += "; --pictures takes yours"
    found = [
        f"{report['output']}: {what}; {report['bytes'] / 1e6:.1f} MB",
        f"it agrees with the network on {report['agreement']:.3%} of pixels ({pictures}; "
        f"{report['agreement_worst']:.3%} on the worst)",
    ]
    if "miou_lost" in report:
        found.append(
            f"mIoU {report['miou']:.4f} where the network has {report['miou_before']:.4f}: "
            f"{report['miou_lost']:.4f} lost ({report['miou_images']} images)"
        )
    if report["trtexec"]:
        found.append(f"for TensorRT: {report['trtexec']}")
    return found
