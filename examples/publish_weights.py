"""Turn a finished training run into a weights file for keeping: fp16 on disk, with a model card in it and beside it.

    python examples/publish_weights.py runs/train/icnet-1 camvid/ -o weights/icnet-camvid.safetensors \
        --command "icnet train camvid/ --keep 0.5" --hardware "two CPU cores, 100 minutes"

The figure on the card is measured here, on the very file that is written, by what `icnet eval` runs. Where training
saw the val frames too, `--train-only FILE` names the weights that the recipe was settled with: their figure and their
command stand on the card beside it. `--weights FILE` takes what `average_weights.py` and `adjust_logits.py` made. What
the data is and under which licence is known here of CamVid alone; of other classes `--data` and `--licence` say it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from icnet_cli.checkpoints.card import card_markdown
from icnet_cli.checkpoints.format import WeightsMeta, load_weights, save_weights
from icnet_cli.classes import load_table
from icnet_cli.config import EvalConfig
from icnet_cli.evaluation.evaluate import evaluate
from icnet_cli.evaluation.report import EvalReport

CAMVID = {
    "data": "CamVid, 367 train frames at 360x480, 11 classes",
    "licence": "CamVid is for research use (CC BY-NC); so are these weights",
}


def measure(weights: Path, dataset: Path) -> EvalReport:
    """What `icnet eval DATASET --split val` reports of a weights file."""
    steps = evaluate(EvalConfig(dataset=dataset, weights=str(weights), device="cpu"))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def facts(run: Path, args: argparse.Namespace) -> dict[str, object]:
    """The card, the figures apart: from the run's own record and from what only a person knows."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {
        "data": args.data,
        "licence": args.licence,
        "recipe": record["recipe"]["name"],
        "command": args.command,
        "seed": record["config"]["seed"],
        "hardware": args.hardware,
    }


def settled_figure(weights: Path) -> dict[str, object]:
    """The val figure on the card of weights that training made without the val frames, with the command it took."""
    card = load_weights(weights).meta.card
    figure: dict[str, object] = card["metrics"]["val_of_train_only_run"]
    return figure | {"command": card["command"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--from", dest="source", default="best", choices=("best", "last"))
    parser.add_argument("--weights", type=Path, help="what was made of the run's weights, instead of them")
    parser.add_argument("--command", required=True)
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--data", help="what was learnt from; needed of all but CamVid's classes")
    parser.add_argument(
        "--licence", help="of the data, and so of the weights; needed of all but CamVid's classes"
    )
    parser.add_argument("--train-only", type=Path, help="weights of the run that did not see the val frames")
    args = parser.parse_args()
    metrics = {"val_of_train_only_run": settled_figure(args.train_only)} if args.train_only else {}

    loaded = load_weights(args.weights or args.run / f"{args.source}.safetensors")
    for name, of_camvid in CAMVID.items():
        if getattr(args, name) is None and loaded.meta.classes != load_table("camvid"):
            parser.error(f"--{name} is needed: {loaded.meta.classes.name} are not CamVid's classes")
        setattr(args, name, getattr(args, name) or of_camvid)
    meta: WeightsMeta = replace(loaded.meta, card=loaded.meta.card | facts(args.run, args))
    save_weights(args.output, loaded.network, meta, half=True)
    report = measure(args.output, args.dataset)
    seen = "val" in meta.card["splits"]
    field = "val_seen_in_training" if seen else "val_of_train_only_run"
    meta = replace(meta, card=meta.card | {"metrics": metrics | {field: report.card_figure()}})
    save_weights(args.output, loaded.network, meta, half=True)
    card = card_markdown(args.output.stem, meta)
    args.output.with_suffix(".md").write_text(card, encoding="utf-8")
    print(f"{args.output}: {field} {report.confusion.miou:.4f}")


if __name__ == "__main__":
    main()
