"""Every network of the gallery on every engine: quantizes, keeps its structure, is int8, close and exact op by op."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch.utils._pytree import tree_structure

import fxq_core as fxq
from fxq_core.analysis.noise import float_leaves, sqnr
from fxq_core.capture.calls import as_arguments
from fxq_core.quantized_module import QuantizedModule
from fxq_core.testing.agreement import Agreement

from gallery import GALLERY
from gallery.statistics import call
from support.coverage import LAYERS, Coverage, measure

# why a convolution or linear layer of a network may stay float, on any engine
FLOAT: dict[str, dict[str, str]] = {}
LEAST = {True: 30.0, False: 25.0}  # dB, of CNNs and of the rest


@pytest.fixture(scope="module", params=GALLERY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def measured(registry: fxq.Registry) -> Callable[[str, str], Coverage]:
    known: dict[tuple[str, str], Coverage] = {}

    def measure_once(name: str, engine: str) -> Coverage:
        if (name, engine) not in known:
            known[name, engine] = measure(name, engine, registry)
        return known[name, engine]

    return measure_once


def test_every_layer_is_int8(engine: str, name: str, measured: Callable[[str, str], Coverage]) -> None:
    found = measured(name, engine)
    assert found.floats == FLOAT.get(name, {})
    assert found.int8 >= sum(type(module) in LAYERS for module in found.model.modules())
    left = [path for path, module in found.qmodel.named_modules() if type(module) in LAYERS]
    assert left == list(FLOAT.get(name, {}))


def test_it_is_close_to_float(engine: str, name: str, measured: Callable[[str, str], Coverage]) -> None:
    assert measured(name, engine).sqnr >= LEAST[GALLERY[name].cnn]


def test_every_op_is_within_one_code_of_the_reference(
    engine: str, name: str, measured: Callable[[str, str], Coverage]
) -> None:
    found = measured(name, engine)
    torch.manual_seed(2)
    args, kwargs = as_arguments(GALLERY[name].inputs(3))
    differences = Agreement(found.quantizer).differences(*args, **kwargs)
    assert len(differences) >= found.int8
    assert {node: str(apart) for node, apart in differences.items() if apart.codes > 1} == {}


def test_its_outputs_keep_their_structure(engine: str, name: str, measured: Callable[[str, str], Coverage]) -> None:
    found = measured(name, engine)
    for batch in (1, 5):
        torch.manual_seed(batch)
        sample = GALLERY[name].inputs(batch)
        with torch.no_grad():
            expected, result = call(found.model, sample), call(copy.deepcopy(found.qmodel), sample)
        assert type(result) is type(expected)
        if name != "yolo":  # which keeps as many boxes as score high enough
            assert tree_structure(result) == tree_structure(expected)
        for one, other in zip(float_leaves(result), float_leaves(expected), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)


@pytest.mark.parametrize("size", [(48, 64), (80, 72)])
def test_it_takes_images_of_other_sizes(
    engine: str, name: str, size: tuple[int, int], measured: Callable[[str, str], Coverage]
) -> None:
    found = measured(name, engine)
    sample = GALLERY[name].inputs(4)
    if not isinstance(sample, tuple) or sample[0].dim() != 4:
        return  # not made for images
    x = F.interpolate(sample[0], size, mode="bilinear")
    with torch.no_grad():
        try:
            expected = found.model(x)
        except RuntimeError:
            return  # made for one size
        assert sqnr(expected, found.qmodel(x)) > 20  # the ranges are those of the other size


def test_no_conversion_undoes_or_repeats_another(
    engine: str, name: str, measured: Callable[[str, str], Coverage]
) -> None:
    parts = [part for part in measured(name, engine).qmodel.modules() if isinstance(part, QuantizedModule)]
    for part in parts:
        quantized = [node.args[0] for node in part.fxq_graph.nodes if node.target is torch.quantize_per_tensor]
        assert len(quantized) == len(set(quantized))
        assert [node for node in quantized if node.target == "dequantize"] == []
        dequantized = [node.args[0] for node in part.fxq_graph.nodes if node.target == "dequantize"]
        assert len(dequantized) == len(set(dequantized))
