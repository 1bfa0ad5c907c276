"""Recipes: how a network is trained, as YAML. One frozen dataclass a concern; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from icnet_cli.checkpoints.format import Normalisation
from icnet_cli.data.augment import AugmentConfig
from icnet_cli.errors import input_error, usage_error
from icnet_cli.training.recipe_values import check_values

FOLDER = Path(__file__).parent / "recipes"
_MAX_BYTES = 1 << 20  # the longest of ours is 2 kB
T = TypeVar("T")


@dataclass(frozen=True)
class OptimizerRecipe:
    """`lr` is for the recipe's effective batch: another batch scales it in proportion."""

    name: str = "sgd"  # sgd | adamw
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    # Parameter kinds that decay spares: `norm` (BatchNorm and biases), `depthwise` (Fast-SCNN, section 4.1).
    no_decay: tuple[str, ...] = ()
    clip_norm: float | None = None


@dataclass(frozen=True)
class ScheduleRecipe:
    """`poly`: lr * (1 - progress)^power. `cosine`: half a cosine to zero. Both after a linear warm-up."""

    name: str = "poly"
    power: float = 0.9
    warmup: float = 0.0  # share of the run


@dataclass(frozen=True)
class LossRecipe:
    """Cross-entropy of every score map, labels shrunk to its size by nearest neighbour.

    Attributes:
        weights: of the main and the auxiliary losses (2017 paper, equation 1: 1, 0.4, 0.4).
        main_stride: the main scores go to the picture's size over this before their loss; 4 in ICNet's paper.
        class_weights: `none`, `log` (1 / ln(offset + share)) or `median` (median share / share).
        ohem: share of the hardest pixels that count, 1 for all.
        lovasz: weight of the Lovasz-softmax loss of the main scores, which is the mean IoU made continuous.
        distil: weight of what sets the main scores apart from the teachers', where there are any.
    """

    weights: tuple[float, ...] = (1.0, 0.4, 0.4)
    main_stride: int = 4
    class_weights: str = "none"
    class_weight_offset: float = 1.1
    ohem: float = 1.0
    lovasz: float = 0.0
    distil: float = 1.0


@dataclass(frozen=True)
class Stage:
    """A part of the run, up to progress `until` (0..1), at its own picture scale: small pictures first is cheaper."""

    until: float
    crop_size: tuple[int, int]
    scale_range: tuple[float, float]
    batch: int | None = None


@dataclass(frozen=True)
class Recipe:
    """See the files in `recipes/`; each says which figures are a paper's and which are ours."""

    name: str
    about: str = ""
    splits: tuple[str, ...] = ("train",)
    val_split: str = "val"
    pretrained: str | None = None
    teachers: tuple[str, ...] = ()  # weights to learn from beside the labels, files or names
    model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # options a network, by its name
    normalisation: Normalisation = field(default_factory=Normalisation)
    batch: int = 16
    epochs: int | None = None
    steps: int | None = None
    crop_size: tuple[int, int] = (768, 768)
    eval_size: tuple[int, int] | None = None  # (height, width), the scale of use; None: of the pictures
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    stages: tuple[Stage, ...] = ()
    ema: float | None = None
    evaluations: int = 50  # spread evenly over the run

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give epochs or steps, one of the two")
        choices = {
            "optimizer": (self.optimizer.name, ("sgd", "adamw")),
            "schedule": (self.schedule.name, ("poly", "cosine")),
            "loss class_weights": (self.loss.class_weights, ("none", "log", "median")),
        }
        for what, (given, allowed) in choices.items():
            if given not in allowed:
                raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {given!r}")
        if self.stages and (
            self.stages[-1].until != 1 or sorted(self.stages, key=lambda s: s.until) != [*self.stages]
        ):
            raise ValueError("stages must rise and the last must end at 1")

    def stage_at(self, progress: float) -> Stage:
        """The stage that a run is in after `progress` (0..1) of it."""
        for stage in self.stages:
            if progress < stage.until:
                return stage
        return self.stages[-1] if self.stages else Stage(1.0, self.crop_size, self.augment.scale_range)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_PARTS: dict[str, type] = {
    "optimizer": OptimizerRecipe,
    "schedule": ScheduleRecipe,
    "loss": LossRecipe,
    "augment": AugmentConfig,
    "normalisation": Normalisation,
}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _part(kind: type[T], document: Any, where: str) -> T:
    if not isinstance(document, Mapping):
        raise ValueError(f"{where} must be a mapping")
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(document) - known)
    if unknown:
        raise ValueError(f"{where} has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
    needed = [item.name for item in fields(kind) if item.default is item.default_factory is MISSING]  # type: ignore[arg-type]
    missing = [name for name in needed if name not in document]
    if missing:
        raise ValueError(f"{where} needs {', '.join(missing)}")
    check_values(document, "" if kind is Recipe else where)
    # A key with nothing behind it is one that is left out.
    return kind(**{key: _tuples(value) for key, value in document.items() if value is not None})


def recipe_from_dict(document: Mapping[str, Any], where: str) -> Recipe:
    """Build and check a recipe.

    Raises:
        IcnetError: exit 2, naming the file and the key.
    """
    try:
        values = dict(document)
        for key, kind in _PARTS.items():
            if key in values:
                values[key] = _part(kind, values[key], key)
        stages = values.get("stages", ())
        if not isinstance(stages, list | tuple):
            raise ValueError("stages must be a list")
        values["stages"] = tuple(_part(Stage, stage, "stages") for stage in stages)
        return _part(Recipe, values, "the recipe")
    except (TypeError, ValueError) as error:
        raise usage_error(f"recipe {where}: {error}") from error


def recipe_names() -> list[str]:
    """The recipes that come with the tool."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(name_or_file: str) -> Recipe:
    """A recipe that comes with the tool, by name, or a YAML file."""
    bundled = FOLDER / f"{name_or_file}.yaml"
    path = bundled if bundled.is_file() else Path(name_or_file)
    if not path.is_file():
        raise usage_error(
            f"no recipe {name_or_file!r}: neither a file nor one of {', '.join(recipe_names())}"
        )
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise input_error(f"recipe {path} is larger than {_MAX_BYTES} bytes, which no recipe is")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise input_error(f"recipe {path} cannot be read: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(document, Mapping):
        raise usage_error(f"recipe {path} must be a YAML mapping")
    return recipe_from_dict({"name": path.stem, **document}, str(path.name))
