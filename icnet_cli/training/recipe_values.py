"""What each value of a recipe may be. A recipe is written by hand, and is checked before anything is read or built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from icnet_cli.data.augment import LARGEST_BLUR, LARGEST_NOISE


class Number(NamedTuple):
    """A number's kind and bounds; `below` and `above` are not reached themselves."""

    whole: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: Any) -> str | None:
        """What it must be, where `value` is not that."""
        kinds: tuple[type, ...] = (int,) if self.whole else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool)
        if right and (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        ):
            return None
        return f"must be {self}, not {value!r}{_written(value)}"

    def __str__(self) -> str:
        bounds = {
            "at least": self.least, "at most": self.most, "above": self.above, "below": self.below,
        }  # fmt: skip
        said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        return " ".join(["a whole number" if self.whole else "a number", said]).strip()


def _written(value: Any) -> str:
    """YAML takes 1e-3 for a word: it wants the point."""
    try:
        return f" (write {float(value)})" if isinstance(value, str) else ""
    except ValueError:
        return ""


COUNT = Number(whole=True, least=1)
POSITIVE = Number(above=0)
SHARE = Number(least=0, below=1)
SIDE = Number(whole=True, least=32, most=16384)
SCALE = Number(above=0, most=16)
ANGLE = Number(least=0, most=180)

NUMBERS: dict[str, dict[str, Number]] = {
    "": {"batch": COUNT, "epochs": COUNT, "steps": COUNT, "evaluations": COUNT, "ema": SHARE},
    "optimizer": {
        "lr": POSITIVE, "momentum": SHARE, "weight_decay": Number(least=0), "clip_norm": POSITIVE,
    },
    "schedule": {"power": POSITIVE, "warmup": SHARE},
    "loss": {
        "main_stride": COUNT, "class_weight_offset": Number(least=1), "ohem": Number(above=0, most=1),
        "lovasz": Number(least=0), "distil": Number(least=0),
    },
    "augment": {
        "brightness": SHARE, "contrast": SHARE, "saturation": SHARE, "channel_noise": SHARE,
        "rotation_deg": ANGLE, "hue_deg": ANGLE, "blur": Number(least=0, most=LARGEST_BLUR),
        "noise": Number(least=0, most=LARGEST_NOISE),
    },
    "stages": {"until": Number(above=0, most=1), "batch": COUNT},
}  # fmt: skip
ROWS: dict[str, dict[str, tuple[Number, int | None]]] = {
    "": {"crop_size": (SIDE, 2), "eval_size": (SIDE, 2)},
    "loss": {"weights": (Number(least=0), None)},
    "augment": {"scale_range": (SCALE, 2)},
    "stages": {"crop_size": (SIDE, 2), "scale_range": (SCALE, 2)},
}
WORDS = {"": ("name", "about", "val_split", "pretrained"), "optimizer": ("name",), "schedule": ("name",)}


def check_values(values: Mapping[str, Any], part: str = "") -> None:
    """Raise a ValueError that names the first value of a part ("" for the recipe itself) that cannot be.

    None stands for what is left out.
    """
    for key, value in values.items():
        problem = None
        if value is None:
            continue
        if key in NUMBERS.get(part, ()):
            problem = NUMBERS[part][key].problem(value)
        elif key in ROWS.get(part, ()):
            problem = _row_problem(*ROWS[part][key], value)
            if key == "scale_range" and not problem and value[0] > value[1]:
                problem = f"must be the smallest scale and the largest, not {list(value)!r}"
        elif (part, key) == ("augment", "flip") and not isinstance(value, bool):
            problem = f"must be true or false, not {value!r}"
        elif key in WORDS.get(part, ()) and not isinstance(value, str):
            problem = f"must be a word, not {value!r}"
        elif (part, key) in (("", "splits"), ("", "teachers")) and not _names(value, empty=key == "teachers"):
            problem = f"must be a list of names, not {value!r}"
        elif (part, key) == ("", "model") and not _options(value):
            problem = "must be options by network: {icnet: {head: fused}}"
        if problem:
            raise ValueError(f"{part} {key} {problem}".strip())


def _row_problem(number: Number, length: int | None, value: Any) -> str | None:
    if not isinstance(value, list | tuple) or not value or length not in (None, len(value)):
        return f"must be a list of {length or 'some'} numbers, not {value!r}"
    return next((f"{problem}" for problem in map(number.problem, value) if problem), None)


def _names(value: Any, empty: bool) -> bool:
    """Whether it is a list of words, which may be empty only where that is allowed."""
    listed = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return listed and (empty or bool(value))


def _options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, Mapping) for one in value.values())
