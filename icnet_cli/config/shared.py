"""The options that several commands have, each written once, and the words they share."""

from __future__ import annotations

from typing import Any

from icnet_cli.config.fields import option, required

DEFAULT_WEIGHTS = "icnet-camvid"
MODELS = ("icnet", "fast-scnn", "pspnet50", "deeplabv3")
BRANCHES = ("sub4", "sub24", "sub124")
VIEWS = ("overlay", "color", "side-by-side", "labels")
STREAM_FORMATS = ("y4m", "raw")
STDOUT = "-"  # -o -: the frames go to standard output
MAX_PIXELS = 8192 * 4320
IDS = ("train", "dataset")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
CODECS = ("h264", "hevc", "av1", "vp9", "ffv1")
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
PRESET = "veryfast; 9 of av1, 5 of vp9"  # by codec, as `video.containers` has it
BACKENDS = ("auto", "torch", "compile", "openvino", "onnx")

WHERE = "Where to write: a video (.mp4 .mkv .mov .webm), one picture (.png .jpg), a folder, or - for y4m on stdout."

WHAT = "What to read and write"
NETWORK = "The network"
PICTURE = "The picture"
ENCODING = "The video file"
SCHEDULE = "How long and how fast"
CUTS = "How much to cut"


def device_option() -> Any:
    help = "Where the network runs: auto, cpu, cuda or cuda:N. auto takes a GPU where there is one."
    return option("auto", help, metavar="DEVICE", panel=NETWORK, completes=("auto", "cpu", "cuda"))


def precision_option() -> Any:
    help = (
        "Arithmetic of the network. auto: fp32 on a CPU, half precision on a GPU. bf16 is faster on a CPU that has it. "
        "With fp32 TF32 is off."
    )
    return option("auto", help, choices=PRECISIONS, panel=NETWORK)


def backend_option(default: str = "auto") -> Any:
    help = "What runs the network. auto: on a CPU the fastest one here that is worth its start-up for this many frames."
    return option(default, help, choices=BACKENDS, panel=NETWORK)


def weights_option() -> Any:
    help = (
        "Weights: a bundled name (`icnet weights list`), a .safetensors file, or an exported .onnx or .xml."
    )
    return option(DEFAULT_WEIGHTS, help, metavar="NAME|FILE", panel=NETWORK, completes="weights")


def size_option(help: str, **metadata: Any) -> Any:
    """Of the network's input; the bounds are those of every size that a network may be given."""
    return option(
        None, f"{help} Best in multiples of 32.", minimum=32, maximum=16384, panel=NETWORK, **metadata
    )


def ids_option() -> Any:
    help = "Values of the label PNGs: train ids, or the dataset's own ids."
    return option("train", help, choices=IDS, panel=WHAT)


def overwrite_option() -> Any:
    help = "Replace an output that exists."
    return option(False, help, flags=("--overwrite", "-y"), panel=WHAT, env=False)


def resume_option() -> Any:
    help = "Go on with a run that was stopped: the same command again, with this added."
    return option(False, help, panel=WHAT, env=False)


def alpha_option() -> Any:
    help = "Strength of the classes' colours over the picture."
    return option(0.5, help, minimum=0, maximum=1, panel=PICTURE)


def legend_option() -> Any:
    return option(False, "Draw the class names and colours into the picture.", panel=PICTURE)


def palette_option() -> Any:
    help = "Other colours: the name of a class table (cityscapes, camvid, coco-stuff) or a YAML file."
    tables = ("cityscapes", "camvid", "coco-stuff")
    return option(None, help, metavar="NAME|FILE", panel=PICTURE, shows="the classes' own", completes=tables)


def only_option() -> Any:
    help = "Show only these classes, with commas: person,car."
    return option(None, help, metavar="NAME,...", panel=PICTURE, shows="all")


def blur_option() -> Any:
    help = "Hide these classes in the picture, with commas: person,car."
    return option(None, help, metavar="NAME,...", panel=PICTURE, shows="none")


def codec_option() -> Any:
    help = "Video codec: h264, hevc, av1, vp9, ffv1, or the name of a hardware encoder."
    return option(None, help, metavar="NAME", panel=ENCODING, shows="h264; vp9 in .webm", completes=CODECS)


def crf_option() -> Any:
    help = "Quality of the video, lower is better."
    return option(None, help, minimum=0, maximum=63, panel=ENCODING, shows="the codec's own balance")


def preset_option() -> Any:
    help = "Speed of the encoder, in its own words: ultrafast ... veryslow; numbers of av1 and vp9."
    return option(None, help, metavar="NAME", panel=ENCODING, shows=PRESET, completes=PRESETS)


def pix_fmt_option() -> Any:
    help = "Pixel format of the video, in FFmpeg's words: yuv444p, yuv420p10le, ..."
    return option(None, help, metavar="NAME", panel=ENCODING, shows="yuv420p")


def no_audio_option() -> Any:
    return option(False, "Leave the sound out.", panel=ENCODING)


def format_option() -> Any:
    help = "With -o -: y4m, or the bare samples of each frame."
    return option(None, help, choices=STREAM_FORMATS, env=False, panel=ENCODING, shows="y4m")


def fps_option() -> Any:
    help = (
        "Frames a second, 25 or 30000/1001: with -o - frames are repeated or left out to keep time; "
        "of a video made from pictures."
    )
    shows = "the source's; 25 of pictures"
    return option(None, help, metavar="RATE", above=0, maximum=1000, env=False, panel=ENCODING, shows=shows)


def stream_option() -> Any:
    help = "Which video stream, by its index in the file."
    return option(None, help, minimum=0, panel=WHAT, shows="the best one")


def max_pixels_option() -> Any:
    help = "Refuse pictures of more pixels than this, before they are decoded."
    shows = f"{MAX_PIXELS}, which is 8192 x 4320"
    return option(MAX_PIXELS, help, minimum=1, maximum=2**30, panel=WHAT, shows=shows)


def skip_damaged_option() -> Any:
    return option(False, "Leave out damaged or missing pairs, and count them, instead of ending.", panel=WHAT)


def cache_option() -> Any:
    help = "Keep the decoded pictures: in memory, or on the training device, which then augments them too."
    return option("none", help, choices=("none", "memory", "device"), panel=WHAT)


def workers_option() -> Any:
    help = "Processes that read and augment; 0 does it in this one."
    shows = "one a core on a GPU, at most 8; 0 on a CPU"
    return option(None, help, minimum=0, maximum=256, panel=WHAT, shows=shows)


def recipe_option(shows: str) -> Any:
    help = "Recipe: a name that comes with the tool, or a YAML file."
    return option(None, help, metavar="NAME|FILE", panel=SCHEDULE, shows=shows, completes="recipes")


def time_budget_option(what: str) -> Any:
    help = f"Fit {what} into this much time: 90m, 2h30m, or seconds."
    return option(None, help, flags=("--time-budget",), kind="time", above=0, panel=SCHEDULE)


def train_batch_option() -> Any:
    return option(None, "Pictures in memory at once.", minimum=1, panel=SCHEDULE, shows="the recipe's")


def lr_option() -> Any:
    return option(None, "Base learning rate.", above=0, panel=SCHEDULE, shows="the recipe's")


def crop_option() -> Any:
    help = "Size of the training crops, height x width."
    return option(None, help, minimum=32, maximum=16384, panel=SCHEDULE, shows="the recipe's")


def seed_option() -> Any:
    return option(0, "Seed of everything random.", minimum=0, maximum=2**32 - 1, panel=SCHEDULE)


def view_option(choices: tuple[str, ...], default: str | None, shows: str | None = None) -> Any:
    ends = {
        True: "classes alone, both side by side, or class numbers.",
        False: "classes alone, or both side by side.",
    }
    help = f"What to show: classes over the picture, {ends['labels' in choices]}"
    return option(default, help, choices=choices, panel=PICTURE, **({"shows": shows} if shows else {}))


def frames_option() -> Any:
    return option(None, "Write at most this many frames.", minimum=1, panel=WHAT)


def video_output() -> Any:
    return required(WHERE, flags=("--output", "-o"), metavar="OUT", env=False, panel=WHAT)
