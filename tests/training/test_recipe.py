from __future__ import annotations

from pathlib import Path

import pytest

from icnet_cli.data.layouts import Layout
from icnet_cli.errors import ExitCode, IcnetError
from icnet_cli.training.prepare import default_recipe
from icnet_cli.training.recipe import load_recipe, recipe_from_dict, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_with_the_tool_loads(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe_from_dict(recipe.to_dict(), name) == recipe  # what a run stores builds it again


def test_every_layout_has_a_recipe_for_every_network() -> None:
    for layout in ("cityscapes", "camvid", "camvid-original", "coco-stuff", "folder"):
        for model in ("icnet", "fast-scnn", "pspnet50", "deeplabv3"):
            assert default_recipe(model, layout) in recipe_names()
    assert Layout.__name__ == "Layout"


def test_the_icnet_papers_figures() -> None:
    recipe = load_recipe("cityscapes-icnet")
    o = recipe.optimizer
    assert (o.name, o.momentum, o.weight_decay, o.lr) == ("sgd", 0.9, 1e-4, 0.01)
    assert (recipe.schedule.name, recipe.schedule.power, recipe.batch, recipe.steps) == (
        "poly",
        0.9,
        16,
        30000,
    )
    assert recipe.loss.weights == (1.0, 0.4, 0.4)
    assert recipe.loss.main_stride == 4
    assert recipe.augment.scale_range == (0.5, 2.0)
    assert recipe.augment.flip
    longer = load_recipe("cityscapes-icnet-trainval")
    assert (longer.steps, longer.splits) == (90000, ("train", "val"))


def test_the_fast_scnn_papers_figures() -> None:
    recipe = load_recipe("cityscapes-fast-scnn")
    o = recipe.optimizer
    assert (o.name, o.momentum, o.weight_decay, o.lr, o.no_decay) == ("sgd", 0.9, 4e-5, 0.045, ("depthwise",))
    assert (recipe.batch, recipe.epochs, recipe.schedule.power) == (12, 1000, 0.9)
    assert recipe.loss.weights == (1.0, 0.4, 0.4)
    assert recipe.augment.channel_noise > 0
    assert recipe.augment.brightness > 0
    assert load_recipe("cityscapes-fast-scnn-coarse").splits == ("train", "train_extra")


def test_stages_rise_and_the_last_one_is_the_scale_of_use() -> None:
    recipe = load_recipe("camvid-icnet")
    areas = [recipe.stage_at(p).crop_size[0] for p in (0.0, 0.59, 0.61, 0.86, 1.0)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_a_key_with_nothing_behind_it_is_left_out() -> None:
    bare = {"name": "x", "steps": 10}
    empty = {
        "batch": None,
        "crop_size": None,
        "val_split": None,
        "optimizer": {"lr": None},
        "loss": {"ohem": None},
    }
    assert recipe_from_dict(bare | empty, "x.yaml") == recipe_from_dict(bare, "x.yaml")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"no_such": 1}, "no_such"),
        ({"optimizer": {"name": "adagrad"}}, "adagrad"),
        ({"optimizer": {"rate": 1}}, "rate"),
        ({"epochs": 3}, "epochs or steps"),
        ({"loss": {"ohem": 0}}, "ohem"),
        ({"loss": 3}, "mapping"),
        ({"batch": "many"}, "batch must be a whole number at least 1, not 'many'"),
        ({"batch": 0}, "batch must be a whole number at least 1"),
        ({"batch": True}, "batch"),
        ({"crop_size": [-64, 64]}, "crop_size must be a whole number at least 32"),
        ({"crop_size": [64]}, "list of 2"),
        ({"eval_size": 64}, "list of 2"),
        ({"optimizer": {"lr": "1e-3"}}, r"lr must be a number above 0, not '1e-3' \(write 0.001\)"),
        ({"optimizer": {"lr": float("nan")}}, "lr"),
        ({"steps": "4"}, r"steps must be a whole number at least 1, not '4' \(write 4\)$"),
        ({"steps": "1e3"}, r"\(write 1000\)$"),
        ({"steps": 4.0}, r"not 4\.0 \(write 4\)$"),
        # What it is told to write must not be refused in its turn.
        ({"steps": "4.5"}, "not '4.5'$"),
        ({"steps": "-4"}, "not '-4'$"),
        ({"optimizer": {"lr": "1e-7"}}, r"\(write 1\.0e-07\)$"),
        ({"optimizer": {"lr": "inf"}}, "not 'inf'$"),
        ({"evaluations": 0}, "evaluations"),
        ({"ema": 2}, "ema must be a number at least 0 and below 1"),
        ({"loss": {"main_stride": 0}}, "loss main_stride"),
        ({"loss": {"weights": ["a"]}}, "loss weights"),
        ({"schedule": {"warmup": 1}}, "warmup"),
        ({"splits": "train"}, "splits must be a list of names"),
        ({"model": {"icnet": 3}}, "options by network"),
        (
            {"model": {"fastscnn": {}}},
            "model has no fastscnn; it knows icnet, fast-scnn, pspnet50, deeplabv3",
        ),
        ({"model": {1: {}}}, "model has no 1; it knows icnet"),
        (
            {"model": {"fast-scnn": {"dropot": 0.1}}},
            "model fast-scnn has no option dropot; it knows depthwise_relu",
        ),
        ({"model": {"icnet": {"num_classes": 5}}}, "model icnet num_classes is the dataset's; leave it out"),
        ({"model": {"icnet": {"keep": 0.5}}}, "model icnet keep is what --keep says"),
        ({"model": {"icnet": {"channels": {}}}}, "model icnet channels follow from --keep or --pretrained"),
        (
            {"model": {"fast-scnn": {"align_corners": 1}}},
            "fast-scnn align_corners must be true or false, not 1",
        ),
        (
            {"model": {"fast-scnn": {"skip": "nope"}}},
            "model fast-scnn skip must be true or false, not 'nope'",
        ),
        ({"model": {"fast-scnn": {"dropout": "lots"}}}, "dropout must be a number at least 0 and below 1"),
        ({"model": {"fast-scnn": {"dropout": float("nan")}}}, "dropout must be a number"),
        ({"model": {"icnet": {"output_stride": "8"}}}, r"output_stride must be a whole number.*\(write 8\)"),
        ({"model": {"pspnet50": {"output_stride": True}}}, "output_stride must be a whole number, not True"),
        ({"model": {"icnet": {"head": 3}}}, "model icnet head must be a word, not 3"),
        ({"pretrained": 3}, "pretrained must be a word"),
        ({"teachers": "wide.safetensors"}, "teachers must be a list of names"),
        ({"loss": {"distil": -1}}, "loss distil must be a number at least 0"),
        ({"augment": {"scale_range": 3}}, "augment scale_range must be a list of 2"),
        ({"augment": {"scale_range": [2.0, 0.5]}}, "the smallest scale and the largest"),
        ({"augment": {"rotation_deg": "x"}}, "augment rotation_deg must be a number"),
        ({"augment": {"flip": "yes"}}, "augment flip must be true or false"),
        # Seen when the run comes to the stage, it would cost all of the run before.
        ({"stages": [{"until": 1, "crop_size": [64, 64], "scale_range": [2, 1]}]}, "the smallest scale"),
        ({"stages": [{"until": 1, "crop_size": [64, 64], "scale_range": [1, 17]}]}, "at most 16"),
        ({"stages": [{"until": 1}]}, "stages needs crop_size, scale_range"),
        ({"stages": 3}, "stages must be a list"),
        ({"stages": [{"until": 2, "crop_size": [64, 64], "scale_range": [1, 1]}]}, "until"),
        ({"stages": [{"until": 0.5, "crop_size": [64, 64], "scale_range": [1, 1]}]}, "stages"),
    ],
)
def test_a_wrong_recipe_is_refused_by_key(change: dict, word: str) -> None:
    with pytest.raises(IcnetError, match=word) as caught:
        recipe_from_dict({"name": "x", "steps": 10} | change, "x.yaml")
    assert caught.value.code is ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_options_of_the_kinds_that_networks_have_are_taken() -> None:
    options = {
        "icnet": {"head": "published", "aux": True, "output_stride": 16},
        "fast-scnn": {"dropout": 0, "skip": False, "stem_padding": 0},  # a whole number is one, too
    }
    assert recipe_from_dict({"name": "x", "steps": 10, "model": options}, "x.yaml").model == options


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(IcnetError, match="camvid-icnet"):
        load_recipe("camvid-resnet")


@pytest.mark.parametrize("text", ["a: [1", "[" * 5000, "#" * (1 << 21)], ids=["unclosed", "nested", "large"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(text)
    with pytest.raises(IcnetError) as caught:
        load_recipe(str(broken))
    assert caught.value.code is ExitCode.INPUT
