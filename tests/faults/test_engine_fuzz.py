"""E15: no argument kills the process; ``tox -e fuzz`` runs longer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.native.layers import QuantizedConv, QuantizedLinear
from fxq_core.native.transposed import QuantizedConvTranspose

from support.small import batches, small

sys.path.insert(0, str(Path(__file__).parent))
from fuzz import fuzz

SECONDS = float(os.environ.get("FXQ_FUZZ_SECONDS", "20"))


def test_E15_hostile_arguments_are_refused() -> None:
    ran, found = fuzz(SECONDS, seed=0)
    assert found == []
    assert ran > 0


def made(engine: str, **changed: Any) -> Any:
    """A convolution that is sound but for what is changed."""
    given = {
        "weight": torch.ones(4, 4, 3, 3, dtype=torch.int8),
        "scale": torch.ones(4),
        "bias": torch.zeros(4),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    return QuantizedConv(**{**given, **changed}, engine=engine)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "zero strides": ({"stride": (0, 0)}, "its stride is (0, 0), not 2 numbers of at least 1"),
    "a stride too few": ({"stride": (1,)}, "its stride is (1,), not 2 numbers of at least 1"),
    "negative paddings": ({"padding": (-1, 0)}, "its padding is (-1, 0), not 2 numbers of at least 0"),
    "no dilation": ({"dilation": (0, 1)}, "its dilation is (0, 1), not 2 numbers of at least 1"),
    "mismatched groups": ({"groups": 3}, "its 4 channels can't be divided into 3 groups"),
    "no groups": ({"groups": 0}, "its 4 channels can't be divided into 0 groups"),
    "empty channels": (
        {"weight": torch.ones(4, 0, 3, 3, dtype=torch.int8)},
        "its weight of shape (4, 0, 3, 3) is empty",
    ),
    "NaN scales": ({"scale": torch.full((4,), float("nan"))}, "its scales are not all positive and finite"),
    "a scale too few": ({"scale": torch.ones(3)}, "it has scales of shape (3,) for 4 channels"),
    "a bias too few": ({"bias": torch.ones(3)}, "its bias is not one of 4 finite numbers"),
    "a rank": ({"weight": torch.ones(4, 4, dtype=torch.int8)}, "its weight has 2 dimensions"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_E15_a_layer_refuses_what_no_kernel_can_take(case: str, engine: str) -> None:
    changed, problem = REFUSED[case]
    with pytest.raises(fxq.InputError) as caught:
        made(engine, **changed)
    assert str(caught.value) == f"QuantizedConv can't be packed: {problem}; give it what a layer in float takes"


def test_E15_other_layers_do_too(engine: str) -> None:
    weight = torch.ones(4, 4, dtype=torch.int8)
    with pytest.raises(fxq.InputError, match=r"^QuantizedLinear can't be packed: its bias is not one of 4 finite num"):
        QuantizedLinear(weight, torch.ones(4), torch.ones(5), engine)
    geometry = (1, 1), (0, 0), (0, 0), (1, 1), 1
    with pytest.raises(fxq.InputError, match=r"^QuantizedConvTranspose can't be packed: it has one scale for each ch"):
        QuantizedConvTranspose(weight.reshape(4, 4, 1, 1), torch.ones(4), None, *geometry, engine)


INPUTS: dict[str, tuple[Any, str]] = {
    "float64": (lambda x: x.double(), "argument 0 is torch.float64, which the model refused; convert it with .float()"),
    "half": (lambda x: x.half(), "argument 0 is torch.float16, which the model refused; convert it with .float()"),
    "another device": (lambda x: x.to("meta"), "argument 0 is on device meta; move it with .cpu()"),
    "complex": (
        lambda x: x.to(torch.complex64),
        "argument 0 is torch.complex64, which the model refused; int8 stands for real numbers only, so split it with "
        "torch.view_as_real",
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_E15_an_input_of_another_kind_is_named(case: str, engine: str, registry: fxq.Registry) -> None:
    convert, text = INPUTS[case]
    with pytest.raises(fxq.InputError) as caught:
        small(engine, registry)(convert(batches(1)[0]))
    assert str(caught.value) == text


def test_E15_a_converted_model_says_so(engine: str, registry: fxq.Registry) -> None:
    qmodel = small(engine, registry).half()
    with pytest.raises(fxq.InputError) as caught:
        qmodel(batches(1)[0].half())
    assert str(caught.value) == (
        "the quantized model was converted to torch.float16; convert the float model before it is quantized, not the "
        "quantized one"
    )


@pytest.mark.parametrize("name", ["fxq_scale", "fxq_zero_point", "stem.0.weight_scale"])
def test_E15_a_state_that_no_kernel_can_take_is_refused_whole(name: str, engine: str, registry: fxq.Registry) -> None:
    qmodel, x = small(engine, registry), batches(1)[0]
    expected, before = qmodel(x), {key: value.clone() for key, value in qmodel.state_dict().items()}
    state = {key: value.clone() for key, value in before.items()}
    state[name].fill_(300 if name == "fxq_zero_point" else float("nan"))
    with pytest.raises(fxq.InputError) as caught:
        qmodel.load_state_dict(state)
    assert str(caught.value) == (
        "QuantizedConv can't be packed: its scales are not all positive and finite; give it what a layer in float takes"
        if name.endswith("weight_scale")
        else "the state's qparams for 'the root' have scales that are not positive and finite or zero points that "
        "are no codes; load what state_dict() of a quantized model gave"
    )
    assert all(torch.equal(value, qmodel.state_dict()[key]) for key, value in before.items())
    assert torch.equal(qmodel(x), expected)
