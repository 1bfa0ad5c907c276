"""What each value of a recipe may be. A recipe is written by hand, and is checked before anything is read or built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from icnet_cli.data.augment import LARGEST_BLUR, LARGEST_NOISE
from icnet_cli.models import NETWORKS


class Number(NamedTuple):
    """A number's kind and bounds; `below` and `above` are not reached themselves."""

    whole: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: Any) -> str | None:
        """What it must be, where `value` is not that."""
        return None if self._takes(value) else f"must be {self}, not {value!r}{self._hint(value)}"

    def _takes(self, value: Any) -> bool:
        kinds: tuple[type, ...] = (int,) if self.whole else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool)
        return right and (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def _hint(self, value: Any) -> str:
        """How to write a number that YAML took for a word, or a whole one for another; never one refused here too."""
        try:
            number = float(value) if isinstance(value, str | float) else math.nan
        except ValueError:
            return ""
        meant = int(number) if self.whole and number.is_integer() else number
        return f" (write {_as_yaml(meant)})" if math.isfinite(number) and self._takes(meant) else ""

    def __str__(self) -> str:
        bounds = {
            "at least": self.least, "at most": self.most, "above": self.above, "below": self.below,
        }  # fmt: skip
        said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        return " ".join(["a whole number" if self.whole else "a number", said]).strip()


def _as_yaml(number: float) -> str:
    """YAML takes 1e-7 for a word: it wants the point."""
    text = f"{number!r}"
    return text if "." in text else text.replace("e", ".0e")


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
# Options that a network is built with, but that are not a recipe's: what it said there would not be heeded.
NOT_OURS = {
    "num_classes": "is the dataset's; leave it out",
    "keep": "is what --keep says; leave it out",
    "channels": "follow from --keep or --pretrained; leave them out",
}
# Bounds of an option that its network does not check itself.
OPTIONS = {"dropout": SHARE}


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
        elif (part, key) == ("augment", "flip"):
            problem = _kind_problem(bool, value)
        elif key in WORDS.get(part, ()):
            problem = _kind_problem(str, value)
        elif (part, key) in (("", "splits"), ("", "teachers")) and not _names(value, empty=key == "teachers"):
            problem = f"must be a list of names, not {value!r}"
        elif (part, key) == ("", "model"):
            problem = _model_problem(value)
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


def _kind_problem(kind: type, value: Any) -> str | None:
    """What a value must be that is of a kind and no more: a number's bounds are a `Number`'s."""
    if kind in (int, float):
        return Number(whole=kind is int).problem(value)
    said = {bool: "true or false", str: "a word"}[kind]
    return None if isinstance(value, kind) else f"must be {said}, not {value!r}"


def _model_problem(value: Any) -> str | None:
    """Of the options by network, those of networks that are not trained now too: they are one recipe."""
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        return "must be options by network: {icnet: {head: fused}}"
    unknown = [str(name) for name in value if name not in NETWORKS]
    if unknown:
        return f"has no {', '.join(unknown)}; it knows {', '.join(NETWORKS)}"
    problems = ((name, _options_problem(name, options)) for name, options in value.items())
    return next((f"{name} {problem}" for name, problem in problems if problem), None)


def _options_problem(network: str, options: Mapping[Any, Any]) -> str | None:
    kinds = get_type_hints(NETWORKS[network].config_type)
    known = [name for name in kinds if name not in NOT_OURS]
    for name, value in options.items():
        if name in NOT_OURS:
            return f"{name} {NOT_OURS[name]}"
        if name not in known:
            return f"has no option {name}; it knows {', '.join(known)}"
        if value is not None:
            problem = OPTIONS[name].problem(value) if name in OPTIONS else _kind_problem(kinds[name], value)
            if problem:
                return f"{name} {problem}"
    return None
