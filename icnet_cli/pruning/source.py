"""What a pruning run starts from: the weights, the data and the recipe they were trained with. Refusals happen here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icnet_cli.checkpoints.bundled import OF_TRAINING, SUFFIX, find_weights
from icnet_cli.checkpoints.foreign import is_foreign
from icnet_cli.checkpoints.format import LoadedWeights, load_weights
from icnet_cli.config import PruneConfig, TrainConfig
from icnet_cli.data.layouts import recognise
from icnet_cli.documents import read_json
from icnet_cli.errors import IcnetError, usage_error, weights_error
from icnet_cli.evaluation.evaluate import check_classes_fit
from icnet_cli.inference.exported import is_exported
from icnet_cli.outputs import refuse_unwritable, try_folder
from icnet_cli.reports.train_page import RUN_FILE
from icnet_cli.training.prepare import assemble, default_recipe
from icnet_cli.training.recipe import Recipe, load_recipe, recipe_from_dict
from icnet_cli.training.resumed import RUNS
from icnet_cli.training.run import Run

_SHORTER = 10  # fine-tuning after a cut takes this part of the recipe's length
_MOST_EVALUATIONS = 5


@dataclass(frozen=True)
class Source:
    """Weights, and what is known of how they came about.

    Attributes:
        dataset: the folder to fine-tune and measure on; None where none is known.
        recipe: that of the run that trained them, as `run.json` has it.
    """

    weights: LoadedWeights
    dataset: Path | None
    recipe: dict[str, Any] | None

    @property
    def name(self) -> str:
        """What a run folder is called after: the file's name, or that of the training run it lies in."""
        path = self.weights.path
        is_of_a_run = path.suffix == SUFFIX and path.stem in OF_TRAINING
        return path.resolve().parent.name if is_of_a_run else path.stem


def find_source(config: PruneConfig) -> Source:
    """The weights that `config` names, or the newest run's, with their data.

    Raises:
        IcnetError: 2 without weights, without data where it is needed; 4 for weights that cannot be read.
    """
    path = find_weights(config.weights) if config.weights else newest_run(config)
    _check_kind(path)
    recorded = _recorded(path.resolve().parent)
    recipe = recorded.get("recipe")
    dataset = config.data or (None if config.no_tune else _recorded_dataset(recorded))
    if dataset is None and not config.no_tune:
        gone = (
            f"; {recorded['dataset']}, which they were trained on, is gone" if "dataset" in recorded else ""
        )
        raise usage_error(f"no data to tune {path} on{gone}; add --data DIR, or --no-tune to cut only")
    return Source(load_weights(path), dataset, recipe if isinstance(recipe, dict) else None)


def _check_kind(path: Path) -> None:
    if is_exported(path):
        raise weights_error(
            f"{path} is an exported file, which cannot be cut; prune the weights it was made from"
        )
    if is_foreign(path):
        raise weights_error(
            f"{path} is another program's; make weights of it with icnet weights import {path}, and prune those"
        )


def check_output(output: Path, overwrite: bool, parent: Path) -> None:
    """See before the first cut that `output` can be written when all is done.

    Raises:
        IcnetError: 2 for a name that is no weights file's, is `parent`'s or is taken; 5 where nothing can be written.
    """
    if output.suffix != SUFFIX:
        raise usage_error(
            f"-o {output} must end in {SUFFIX}; other kinds of file are what icnet export makes"
        )
    refuse_unwritable(output, overwrite=overwrite, inputs=(parent,))


def check_writable(output: Path) -> None:
    """Raise an output error unless a file can be made where `output` is to be; missing folders are made at the end."""
    try_folder(next(folder for folder in output.absolute().parents if folder.exists()), output)


def newest_run(config: PruneConfig) -> Path:
    """The weights of the run under runs/train that began last."""
    runs = sorted(RUNS.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    found = (run.parent / f"{name}{SUFFIX}" for run in runs for name in OF_TRAINING)
    weights = next((path for path in found if path.is_file()), None)
    if weights is not None:
        return weights
    goal = f"--target-ms {config.target_ms:g}" if config.target_ms else f"--keep {config.keep:g}"
    data = config.data or "camvid/"
    raise usage_error(
        f"no run with weights under {RUNS}; name the weights: icnet prune icnet-camvid --data {data} {goal}"
    )


def _recorded(folder: Path) -> dict[str, Any]:
    """The run.json beside the weights; empty where there is none of ours."""
    try:
        document = read_json(folder / RUN_FILE)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _recorded_dataset(recorded: dict[str, Any]) -> Path | None:
    dataset = recorded.get("dataset")
    return Path(dataset) if isinstance(dataset, str) and Path(dataset).is_dir() else None


def open_tuning(config: PruneConfig, source: Source, dataset: Path, recipe: Recipe | None = None) -> Run:
    """Data, device and recipe for fine-tuning; the folder and the network are each step's own.

    Args:
        recipe: of a resumed run; else it is made from the user's, the weights' or the layout's.

    Raises:
        IcnetError: 2 where the classes are not the weights', or --max-drop has nothing to be measured on; 3, 6.
    """
    meta = source.weights.meta
    layout = recognise(dataset)
    check_classes_fit(source.weights, layout.classes, dataset)
    options = TrainConfig(
        dataset=dataset,
        model=meta.model,
        keep=float(meta.config.get("keep", 1.0)),
        device=config.device,
        precision=config.precision,
        skip_damaged=config.skip_damaged,
        cache=config.cache,
        workers=config.workers,
        batch=config.batch,
        lr=config.lr,
        seed=config.seed,
    )
    made = recipe or tuning_recipe(config, source, layout.name)
    remarks: list[str] = []
    if not (recipe or config.recipe):
        made, remarks = _without_lost_teachers(made)
    run = assemble(options, source.weights.network, made)
    run = replace(run, remarks=(*run.remarks, *remarks))
    if run.val is None and config.max_drop is not None:
        raise usage_error(f"--max-drop needs a split {made.val_split} to measure on; {dataset} has none")
    made = replace(run.recipe, eval_size=meta.train_size)  # where `icnet eval` measures these weights
    return replace(run, recipe=made, measured_at=config.size)


def _without_lost_teachers(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe of the weights' own run, and what to say where teachers of it are gone: nobody asked for them here."""
    lost = [name for name in recipe.teachers if not _is_there(name)]
    if not lost:
        return recipe, []
    found = tuple(name for name in recipe.teachers if name not in lost)
    names, are = ", ".join(lost), "are" if len(lost) > 1 else "is"
    remark = (
        f"fine-tuning does without {names}, which taught the weights' run and {are} not there; "
        "--recipe FILE can name others"
    )
    return replace(recipe, teachers=found), [remark]


def _is_there(weights: str) -> bool:
    try:
        find_weights(weights)
    except IcnetError:
        return False
    return True


def tuning_recipe(config: PruneConfig, source: Source, layout: str) -> Recipe:
    """The recipe for fine-tuning after a cut: the weights' own normalisation, the last stage, a tenth of the length.

    The learning rate is the recipe's from the top: going back to it serves a pruned network better than creeping on
    at the last small one (Renda et al. 2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning").
    """
    if config.recipe or source.recipe is None:
        recipe = load_recipe(config.recipe or default_recipe(source.weights.meta.model, layout))
    else:
        recipe = recipe_from_dict(source.recipe, f"of {source.name}")
    epochs, steps = config.tune_epochs, config.tune_steps
    if not (epochs or steps):
        epochs, steps = (n and max(1, n // _SHORTER) for n in (recipe.epochs, recipe.steps))
    stages = tuple(replace(stage, until=1.0) for stage in recipe.stages[-1:])
    if config.crop:
        recipe = replace(recipe, crop_size=config.crop)
        stages = tuple(replace(stage, crop_size=config.crop, batch=None) for stage in stages)
    return replace(
        recipe,
        epochs=epochs,
        steps=steps,
        stages=stages,
        normalisation=source.weights.meta.normalisation,
        pretrained=None,
        evaluations=min(recipe.evaluations, _MOST_EVALUATIONS),
    )
