"""Samples: what they are made of, and the model that each is put in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.families import BORDERS
from fxq_core.testing import Sample
from fxq_core.testing.networks import NETWORKS
from fxq_core.testing.samples import SAMPLES

from support.quantizing import CORE


@pytest.mark.parametrize(
    ("shape", "kind"), [((8,), nn.Linear), ((8, 6), nn.Conv1d), ((8, 6, 7), nn.Conv2d), ((4, 3, 3, 3), nn.Conv3d)]
)
def test_the_op_stands_between_two_layers(shape: tuple[int, ...], kind: Any) -> None:
    sample = Sample("sigmoid", torch.sigmoid, shape)
    model, x = sample.model(), sample.batch(3)
    assert x.shape == (3, 5, *shape[1:])
    assert type(model.first) is kind
    with torch.no_grad():
        assert model.first(x).shape == (3, *shape)
        assert model(x).shape == (3, *shape[:-1], 3)
        assert torch.equal(model(x), model.last(torch.sigmoid(model.first(x))))
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("subject", [SAMPLES["batch_norm2d"], NETWORKS["residual"]])
def test_models_and_batches_depend_on_the_seed_alone(subject: Any) -> None:
    before = torch.get_rng_state()
    for draw in (lambda seed: subject.model(seed).state_dict(), lambda seed: {"x": subject.batch(2, seed)}):
        one, same, other = draw(1), draw(1), draw(2)
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_op_itself_is_neither_used_nor_changed() -> None:
    op = nn.Sequential(nn.BatchNorm2d(8), nn.SiLU(inplace=True)).train()
    model: Any = Sample("silu", op).model()
    assert op.training
    assert op[0].num_batches_tracked == 0
    assert model.op is not op
    assert model.op[0].running_mean is not op[0].running_mean


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4, 5), [8, 6, 7], 8])
def test_a_shape_that_is_none(shape: Any) -> None:
    with pytest.raises(ValueError, match="shape") as caught:
        Sample("sigmoid", torch.sigmoid, shape)
    assert str(caught.value) == (
        f"the shape of a sample of 'sigmoid' is {shape!r}; give a tuple of one to four sizes, without the batch: "
        "(features,), (channels, length), ..."
    )


def test_an_op_that_is_none() -> None:
    wrong: Any = "sigmoid"
    with pytest.raises(TypeError) as caught:
        Sample("sigmoid", wrong)
    assert str(caught.value) == "a sample is a pattern's name and an op, not 'sigmoid' and 'sigmoid'"


def test_there_is_a_sample_of_every_built_in_pattern() -> None:
    assert {sample.pattern for sample in SAMPLES.values()} == set(CORE.patterns) - set(BORDERS)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", SAMPLES)
def test_a_built_in_sample_is_int8_where_everything_can_be(name: str) -> None:
    sample = SAMPLES[name]
    plan = fxq.Quantizer(sample.model(), sample.batch(2), "reference", registry=CORE).plan
    assert sample.pattern in {verdict.pattern for verdict in plan.verdicts if verdict.quantized}
