from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icnet_cli.cli import app
from icnet_cli.cli.console import LoopConsole
from icnet_cli.config import SegmentConfig
from icnet_cli.errors import IcnetError, usage_error
from icnet_cli.pipeline.opening import open_source
from icnet_cli.pipeline.sources import PictureSource, VideoSource
from icnet_cli.pixels.files import write_picture
from icnet_cli.video.containers import CODECS
from tests.cli.conftest import Icnet


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[SegmentConfig]:
    """The configs that `icnet segment` was given, instead of segmenting."""
    configs: list[SegmentConfig] = []

    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        """Stands in."""
        configs.append(config)

    monkeypatch.setitem(app.VERBS, "segment", segment)
    return configs


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "icnet.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_dataclasss_own(icnet: Icnet, seen: list[SegmentConfig]) -> None:
    assert icnet("segment", "a.mp4", "-o", "b.mp4").code == 0
    assert seen == [SegmentConfig("a.mp4", Path("b.mp4"))]


def test_options_reach_their_fields(icnet: Icnet, seen: list[SegmentConfig]) -> None:
    words = "segment a -o b.png -y --size 64x96 --start 1:00 --view color --no-audio --legend --weights w"
    assert icnet(*words.split()).code == 0
    expected = SegmentConfig(
        "a", Path("b.png"), overwrite=True, size=(64, 96), start_s=60.0, view="color", no_audio=True,
        legend=True, weights="w",
    )  # fmt: skip
    assert seen == [expected]


def test_flag_beats_environment_beats_file_beats_default(
    icnet: Icnet, seen: list[SegmentConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_config(tmp_path, "alpha: 0.1\nsegment:\n  every: 2\n  alpha: 0.2\n")
    line = ["segment", "a", "-o", "b", "-c", file]
    assert icnet("segment", "a", "-o", "b").code == 0
    assert icnet(*line).code == 0
    monkeypatch.setenv("ICNET_ALPHA", "0.3")
    assert icnet(*line).code == 0
    assert icnet(*line, "--alpha", "0.4").code == 0
    assert [config.alpha for config in seen] == [0.5, 0.2, 0.3, 0.4]
    assert [config.every for config in seen] == [1, 2, 2, 2]


def test_the_users_own_file_is_found(icnet: Icnet, seen: list[SegmentConfig], tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "icnet"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("legend: true\nno_audio: true\nsize: 64x64\n")
    icnet("segment", "a", "-o", "b")
    icnet("segment", "a", "-o", "b", "--no-legend")
    assert [config.legend for config in seen] == [True, False]
    assert seen[0].no_audio
    assert seen[0].size == (64, 64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: 3", "no such option: colour"),
        ("devise: cpu", "no such option: devise; is device meant?"),
        ("segment:\n  flip: true", "no such option: flip"),
        ("segment: 3", "must hold options"),
        ("- a\n- b", "option: value"),
        ("a: [", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("#" * (1 << 21), "larger than"),
        ("alpha: loud", "--alpha must be a number, not 'loud' (from "),
        ("alpha: 3", "--alpha must be at most 1, not 3.0 (from "),
    ],
)
def test_a_wrong_config_file_is_refused(refused, tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(2, "segment", "a", "-o", "b", "-c", write_config(tmp_path, text))


def test_a_config_file_that_is_none_is_refused(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the system's words, not in Python's."""
    line = ("segment", "a", "-o", "b")
    missing, binary = tmp_path / "no.yaml", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    gone = f"icnet: --config {missing} cannot be read: no such file or directory; name a file\n"
    assert refused(2, *line, "-c", missing) == gone
    assert "cannot be read: is a directory; name a file" in refused(2, *line, "-c", tmp_path)
    assert "is not text" in refused(2, *line, "-c", binary)
    monkeypatch.setenv("ICNET_CONFIG", str(missing))
    assert refused(2, *line) == gone


def test_a_wrong_environment_variable_is_named(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICNET_SIZE", "big")
    assert "(from ICNET_SIZE)" in refused(2, "segment", "a", "-o", "b")


def test_what_is_refused_late_is_named_with_its_place_too(
    refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That h264 takes no --crf 60 shows only when the output is looked at; it was not typed in this run."""

    def segment(config: SegmentConfig, console: LoopConsole) -> None:
        raise usage_error("--crf 60 is out of range for --codec h264")

    monkeypatch.setitem(app.VERBS, "segment", segment)
    line = ["segment", "a", "-o", "o.mp4", "--codec", "h264"]
    assert refused(2, *line, "--crf", "60").endswith("for --codec h264\n")
    monkeypatch.setenv("ICNET_CRF", "60")
    assert refused(2, *line).endswith("for --codec h264 (--crf is from ICNET_CRF)\n")
    monkeypatch.delenv("ICNET_CRF")
    file = write_config(tmp_path, "segment:\n  crf: 60\n")
    assert f"(--crf is from {file})" in refused(2, *line, "-c", file)


def test_an_output_is_not_taken_from_the_environment(icnet: Icnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICNET_OUTPUT", "b.mp4")
    outcome = icnet("segment", "a")
    note, refusal = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (2, "")
    assert note == "note: ICNET_OUTPUT is not read (--output is taken from the command line only)"
    assert "--output is missing" in refusal


@pytest.mark.parametrize("verb", ["segment a -o b", "weights path icnet-camvid"])
def test_variables_that_do_nothing_are_told_in_a_line(
    icnet: Icnet, seen: list[SegmentConfig], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    silent = {"ICNET_DEBUG": "1", "ICNET_CACHE_DIR": "c", "ICNET_KEEP": "0.5", "ICNET_EMPTY": "", "ICNE": "1"}
    for name, value in silent.items():
        monkeypatch.setenv(name, value)
    assert icnet(*verb.split()).err == ""
    for name in ("ICNET_SIEZ", "ICNET_OVERWRITE", "ICNET_XYZZY"):
        monkeypatch.setenv(name, "1")
    outcome = icnet(*verb.split(), "--json")
    assert outcome.code == 0
    assert "note" not in outcome.out
    assert outcome.err == (
        "note: ICNET_OVERWRITE is not read (--overwrite is taken from the command line only); "
        "ICNET_SIEZ is not read (is ICNET_SIZE meant?); ICNET_XYZZY is not read (no option is called so)\n"
    )


@pytest.mark.parametrize("words", ["--help", "--version", "segment --help"])
def test_help_notes_nothing(icnet: Icnet, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("ICNET_SIEZ", "1")
    outcome = icnet(*words.split())
    assert (outcome.code, outcome.err) == (0, "")


def test_one_process_of_many_notes_it(
    icnet: Icnet, seen: list[SegmentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICNET_SIEZ", "1")
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    said = []
    for rank in ("0", "1", "none"):
        monkeypatch.setenv("RANK", rank)
        said.append(icnet("segment", "a", "-o", "b").err.startswith("note: ICNET_SIEZ"))
    assert said == [True, False, True]


@pytest.mark.parametrize(
    "words",
    [
        "segment a -o b --weights net.onnx",
        "eval d --weights net.ONNX",
        "eval --temporal v.mp4 --weights net.xml",
        "compare icnet-camvid net.onnx v.mp4",
        "bench --weights net.xml",
    ],
)
def test_torch_does_not_run_what_was_exported(
    icnet: Icnet, refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    """Where it is asked for: by itself it is what `eval` and `compare` say, and means the file's own."""
    monkeypatch.chdir(tmp_path)
    line = words.split()
    name, own = ("net.xml", "openvino") if "net.xml" in line else ("net.onnx", "onnx")
    name = "net.ONNX" if "net.ONNX" in line else name
    said = f"icnet: --backend torch: {name} is run by {own}; leave it out"
    assert refused(2, *line, "--backend", "torch") == f"{said}\n"
    monkeypatch.setenv("ICNET_BACKEND", "torch")
    assert refused(2, *line) == f"{said} (from ICNET_BACKEND)\n"
    monkeypatch.delenv("ICNET_BACKEND")
    assert "--backend" not in icnet(*line).err


@pytest.mark.parametrize("device", [os.devnull, "/dev/full"])
def test_a_device_is_an_output_that_was_given(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device} here")
    monkeypatch.chdir(tmp_path)
    write_picture(Path("in.png"), np.zeros((32, 32, 3), np.uint8))
    said = f"icnet: {device} exists and is not a folder; name another output\n"
    assert refused(2, "segment", "in.png", "-o", device) == said
    assert "is missing" not in refused(3, "eval", device)


def test_what_is_only_shown_cannot_be_resumed_or_many(refused, tmp_path: Path) -> None:
    assert "--resume goes on with a file" in refused(2, "segment", "a", "--show", "--resume")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    assert "--show is for one source, and there are several" in refused(2, "segment", tmp_path, "--show")


def test_all_problems_are_said_at_once(refused) -> None:
    line = refused(2, "segment", "a", "--size", "12", "--alpha", "7", "--device", "gpu", "--every", "0")
    for name in ("--output", "--size", "--alpha", "--device", "--every"):
        assert name in line


@pytest.mark.parametrize(
    "words",
    [
        "segment a -o b --size 16x64",
        "segment a -o b --start 9 --end 3",
        "segment a -o b --view heat",
        "segment a -o b --precision fp64",
        "segment a -o b --device cuda:x",
        "train d --keep 0",
        "train d --keep 1.5",
        "train d --model unet",
        "train d --epochs 3 --steps 9",
        "train d --splits ,",
        "eval d --scales 0",
        "eval d --branches sub2",
        "eval d --progress loud",
    ],
)
def test_wrong_values_are_refused(refused, words: str) -> None:
    refused(2, *words.split())


def test_a_config_made_in_python_is_checked_alike() -> None:
    with pytest.raises(IcnetError, match="--alpha must be at most 1") as caught:
        SegmentConfig("a", Path("b"), alpha=2).check()
    assert caught.value.code == 2
    assert SegmentConfig("a", Path("b")).problems() == []


def test_a_config_can_be_written_down() -> None:
    document = SegmentConfig("a", Path("b"), size=(32, 64)).to_dict()
    assert document["output"] == "b"
    assert document["size"] == [32, 64]


@pytest.mark.parametrize(
    ("words", "variable", "said"),
    [
        ("eval none --ids dataset", "ICNET_IDS=dataset", "--ids is for the label PNGs of --predictions DIR"),
        ("eval --temporal none --scales 1,2", "ICNET_SCALES=1,2", "a video; leave out --scales"),
        ("prune none --keep 0.5 --no-tune --lr 0.1", "ICNET_LR=0.1", "--lr is for the fine-tuning"),
        ("prune none --keep 0.5 --no-tune --recipe r", "ICNET_RECIPE=r", "--recipe is for data"),
        ("bench --compare none none --batch 4", "ICNET_BATCH=4", "--batch is not for --compare"),
        ("segment none -o o.mp4 --view color --alpha 0.1", "ICNET_ALPHA=0.1", "--view color shows none"),
        ("segment none -o o.mp4 --view color --blur car", "ICNET_BLUR=car", "--view color shows no picture"),
        ("segment none -o o.mp4 --ids dataset", "ICNET_IDS=dataset", "--ids dataset is for --view labels"),
        ("segment none -o o --view color --ids dataset", "ICNET_IDS=dataset", "--ids dataset is for"),
        ("segment none -o o.labels.mkv --only car", "ICNET_ONLY=car", "--only: labels are numbers"),
        ("segment none -o o --view labels --blur car", "ICNET_BLUR=car", "--blur: labels are numbers"),
        # Only the source tells that these folders are of label PNGs, not of many videos.
        ("segment none -o o --crf 20", "ICNET_CRF=20", "--crf: for a video file, and o is none"),
        ("segment none -o o --codec hevc", "ICNET_CODEC=hevc", "--codec: for a video file, and o is none"),
        ("segment none -o o --preset fast", "ICNET_PRESET=fast", "--preset: for a video file"),
        ("segment none -o o --pix-fmt gray", "ICNET_PIX_FMT=gray", "--pix-fmt: labels are numbers"),
        ("segment a.mp4 b.mp4 -o o --view labels --crf 20", "ICNET_CRF=20", "--crf: for a video file"),
        ("segment none -o o.png --crf 20", "ICNET_CRF=20", "--crf: for a video file, and o.png is none"),
        ("segment none -o - --codec av1", "ICNET_CODEC=av1", "--codec: for a video file, and stdout is none"),
        ("segment none -o labels.mkv --codec av1", "ICNET_CODEC=av1", "--codec: a video of labels is ffv1"),
        ("segment none -o labels.mkv --crf 20", "ICNET_CRF=20", "--crf: ffv1 is lossless and takes none"),
        ("segment none -o o.mkv --codec ffv1 --crf 20", "ICNET_CRF=20", "--crf: ffv1 is lossless"),
        ("segment none -o labels.mkv --alpha 0.1", "ICNET_ALPHA=0.1", "--view labels shows none"),
        ("paint none none -o o.png --crf 20", "ICNET_CRF=20", "--crf: for a video file, and o.png is none"),
    ],
)
def test_what_nothing_reads_is_refused_where_it_was_typed(
    icnet: Icnet,
    refused,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: str,
    variable: str,
    said: str,
) -> None:
    """Set for all commands it is passed over by those that have no use for it."""
    monkeypatch.chdir(tmp_path)
    assert said in refused(2, *words.split())
    name, value = variable.split("=")
    monkeypatch.setenv(name, value)
    outcome = icnet(*words.split()[:-2])
    assert outcome.code in (3, 4)  # what it names is not there
    assert said not in outcome.err


def test_of_what_nothing_reads_only_what_was_typed_is_refused(
    refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder of labels reads neither: one was typed, the other is set for all commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICNET_LEGEND", "1")
    said = refused(2, "segment", "none", "-o", "o", "--crf", "20")
    assert said == "icnet: --crf: for a video file, and o is none\n"


def test_what_is_passed_over_is_so_before_a_pipe_is_read(
    icnet: Icnet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What has been read of a pipe is gone: a command that runs again without an option has all of it."""
    opened: list[str] = []
    write_picture(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))

    def open_instead(text: str, *rest: Any) -> PictureSource | VideoSource:
        opened.append(text)
        return open_source(str(tmp_path / "a.png"), *rest)

    def open_job(*rest: Any) -> None:
        raise usage_error("far enough")

    monkeypatch.setattr("icnet_cli.pipeline.segment.open_source", open_instead)
    monkeypatch.setattr("icnet_cli.pipeline.segment.open_job", open_job)
    monkeypatch.setenv("ICNET_CRF", "20")
    outcome = icnet("segment", "-", "-o", tmp_path / "o")
    assert (outcome.err, opened) == ("icnet: far enough\n", ["-"])


@pytest.mark.parametrize(
    ("output", "read"), [("o", True), ("labels.mkv", True), ("o.png", False), ("-", False)]
)
def test_what_nothing_reads_is_as_if_it_had_not_been_set(
    output: str, read: bool, icnet: Icnet, seen: list[SegmentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks at the output later has nothing to refuse then."""
    monkeypatch.setenv("ICNET_IDS", "dataset")
    icnet("segment", "a.mp4", "-o", output)
    assert seen[-1].ids == ("dataset" if read else "train")


def test_an_option_of_which_several_may_be_meant_is_told(icnet: Icnet, seen: list[SegmentConfig]) -> None:
    line = [
        "bench",
        "--resolution",
        "64x64",
        "--resolution",
        "64x96",
        "--device",
        "cpu",
        "--device",
        "cuda:99",
    ]
    said = icnet(*line).err.splitlines()
    assert said[0] == "note: --resolution: typed more than once, and only the last one counts"
    assert len(said) == 2
    assert (
        icnet(*["segment", "a", "-o", "b.mp4", "--size", "32x32", "--size", "64x96", "--weights", "w"]).err
        == ""
    )
    assert seen[0].size == (64, 96)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("eval --temporal", "--temporal"),
        ("bench --video", "--video"),
        ("paint -o o.mp4 --", "LABELS"),
    ],
)
@pytest.mark.parametrize("address", ["rtsp://me:secret@host/cam", "camera:0"])
def test_an_address_is_no_file_of_the_disk(refused, words: str, named: str, address: str) -> None:
    line = [*words.split(), address, *(["v.mp4"] if named == "LABELS" else [])]
    said = refused(2, *line)
    assert said.startswith(f"icnet: {named} must be a file on the disk, not a camera or an address")
    assert "secret" not in said


def test_weights_are_not_for_a_doctor_that_runs_no_network(refused) -> None:
    assert "--no-parity leaves out" in refused(2, "doctor", "--no-parity", "--weights", "w")


def test_the_presets_that_the_help_names_are_those_that_run() -> None:
    named = SegmentConfig.__dataclass_fields__["preset"].metadata["shows"]
    ours = {name: CODECS[name].preset for name in ("h264", "hevc", "av1", "vp9")}
    assert ours == {"h264": "veryfast", "hevc": "veryfast", "av1": "9", "vp9": "5"}
    assert named == f"{ours['h264']}; {ours['av1']} of av1, {ours['vp9']} of vp9"
