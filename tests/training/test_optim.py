from __future__ import annotations

import pytest
import torch
from torch import nn

from icnet_cli.models import build
from icnet_cli.training.optim import Ema, build_optimizer, fill_momentum, parameter_groups, rate_at
from icnet_cli.training.recipe import OptimizerRecipe, ScheduleRecipe


def test_poly_is_the_papers_policy() -> None:
    poly = ScheduleRecipe("poly", power=0.9)
    assert rate_at(0.0, poly) == 1
    assert rate_at(0.5, poly) == pytest.approx(0.5**0.9)
    assert rate_at(1.0, poly) == 0


def test_warmup_rises_and_cosine_falls_to_zero() -> None:
    cosine = ScheduleRecipe("cosine", warmup=0.1)
    rising = [rate_at(p / 100, cosine) for p in range(11)]
    falling = [rate_at(p / 100, cosine) for p in range(10, 101)]
    assert rising[1:] == pytest.approx([p / 10 for p in range(1, 11)])
    assert 0 < rising[0] < 0.01
    assert max(rising + falling) == pytest.approx(1)
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(0)


def test_decay_spares_what_the_recipe_names() -> None:
    network = build("fast-scnn", {"keep": 0.25})
    depthwise = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    groups = parameter_groups(network, OptimizerRecipe(weight_decay=4e-5, no_decay=("depthwise",)))
    spared = next(g for g in groups if g["weight_decay"] == 0)
    assert {id(p) for p in spared["params"]} == depthwise
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters()))
    assert len(parameter_groups(network, OptimizerRecipe())) == 1  # nothing spared


def test_norms_and_biases_are_spared_by_the_name_norm() -> None:
    network = build("fast-scnn", {"keep": 0.25})
    decayed, spared = parameter_groups(network, OptimizerRecipe(weight_decay=4e-5, no_decay=("norm",)))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (4e-5, 0)
    assert {parameter.ndim for parameter in decayed["params"]} == {4}
    assert {parameter.ndim for parameter in spared["params"]} == {1}


@pytest.mark.parametrize("fused", [False, True])
def test_the_optimizer_is_the_recipes(fused: bool) -> None:
    network = nn.Conv2d(3, 4, 3)
    sgd = build_optimizer(network, OptimizerRecipe("sgd", momentum=0.7), 0.1, fused)
    assert (type(sgd), sgd.defaults["momentum"]) == (torch.optim.SGD, 0.7)
    adamw = build_optimizer(network, OptimizerRecipe("adamw"), 0.1, fused)
    assert type(adamw) is torch.optim.AdamW
    assert bool(sgd.defaults["fused"]) is bool(adamw.defaults["fused"]) is fused
    # A fused SGD has its momentum before its first step, and keeps what it has.
    assert len(sgd.state) == (2 if fused else 0)
    if fused:
        momentum = sgd.state[network.bias]["momentum_buffer"]
        assert not momentum.any()
        momentum.fill_(2.0)
        fill_momentum(sgd)
        assert sgd.state[network.bias]["momentum_buffer"].eq(2).all()


def test_both_optimizers_move_the_weights() -> None:
    for name in ("sgd", "adamw"):
        network = nn.Conv2d(3, 4, 3)
        before = network.weight.clone()
        optimizer = build_optimizer(network, OptimizerRecipe(name), 0.1)
        network(torch.ones(1, 3, 8, 8)).sum().backward()
        optimizer.step()
        assert not torch.equal(network.weight, before)


def test_the_average_follows_and_comes_back_from_its_state() -> None:
    network = nn.BatchNorm2d(4)
    ema = Ema(network, 0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(2.0)
    network.num_batches_tracked.fill_(7)
    first = 1.0
    for update in range(1, 4):  # early ones forget faster than the decay says
        ema.update(network)
        first *= min(0.5, (1 + update) / (10 + update))
        assert torch.allclose(ema.shadow["weight"], torch.full((4,), 3.0 - 2.0 * first))
    for _ in range(57):
        ema.update(network)
    assert ema.shadow["num_batches_tracked"] == 7  # a count has no average: it is the last one
    assert torch.allclose(ema.shadow["weight"], torch.full((4,), 3.0), atol=1e-3)
    assert torch.allclose(ema.shadow["running_mean"], torch.full((4,), 2.0), atol=1e-3)
    other = Ema(nn.BatchNorm2d(4), 0.5)
    other.load_state_dict(ema.state_dict())
    assert other.updates == 60
    assert torch.equal(other.shadow["weight"], ema.shadow["weight"])
