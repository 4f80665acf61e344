"""Few, large regions: what OpenVINO computes, what torch computes between, and what the report says of both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxq_core as fxq
from fxq_core.reference import fake_quantize
from fxq_openvino.region import CompiledRegion


class Net(nn.Module):
    """Two layers and what a test puts between them."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(x)))


def lowered(between: Any, registry: fxq.Registry, engine: str = "openvino", **config: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, batches = Net(between).eval(), [torch.randn(4, 3, 9, 9) for _ in range(3)]
        return fxq.quantize(net, batches, engine, fxq.Config(**config), registry)


def regions(model: nn.Module) -> list[CompiledRegion]:
    return [module for module in model.modules() if isinstance(module, CompiledRegion)]


def roundings(model: nn.Module) -> int:
    return sum(row[2] is fake_quantize for region in regions(model) for row in region.rows)


def agree(model: nn.Module, reference: nn.Module) -> None:
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.allclose(model(x), reference(x), atol=0.05)


FLOATS = {
    "silu": F.silu,
    "softmax": lambda x: x.softmax(1),
    "exp": lambda x: torch.exp(-x.abs()),
    "pow": lambda x: x.pow(2) + 1,
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "sizes": lambda x: x.reshape(x.shape[0], -1).reshape(x.size(0), 8, x.size(2), x.shape[-1] // 1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "dropout": lambda x: F.dropout(x, training=False),
    "batch norm after silu": nn.Sequential(nn.SiLU(), nn.BatchNorm2d(8)),
}


@pytest.mark.parametrize("name", FLOATS)
def test_float_ops_are_within_the_region(name: str, registry: fxq.Registry) -> None:
    model = lowered(FLOATS[name], registry)
    calls = [node.op for node in model.fxq_graph.nodes if node.op not in ("placeholder", "output")]
    assert calls == ["call_module"]
    agree(model, lowered(FLOATS[name], registry, "reference"))


def test_a_skipped_layer_is_within_the_region(registry: fxq.Registry) -> None:
    model = lowered(F.relu, registry, skip=("second",))
    assert len(regions(model)) == 1
    agree(model, lowered(F.relu, registry, "reference", skip=("second",)))


def test_what_openvino_lacks_is_between_two_regions_and_the_report_says_why(registry: fxq.Registry) -> None:
    model = lowered(lambda x: torch.cumsum(x.relu(), 1) + x, registry)
    assert (
        fxq.report(model).notes
        == (
            ("", "torch computes cumsum (OpenVINO has no op for it that fxq-openvino knows)"),
            ("fxq_region", "one call of OpenVINO computes relu to first"),
            ("fxq_region_1", "one call of OpenVINO computes add to second"),
        )
        or len(regions(model)) == 2
    )
    agree(model, lowered(lambda x: torch.cumsum(x.relu(), 1) + x, registry, "reference"))


def branches(x: torch.Tensor) -> torch.Tensor:
    """Torch is needed in two branches, but only once in a row."""
    left, right = torch.cumsum(x.relu(), 1), torch.cumsum(x.sigmoid(), 1)
    return left.tanh() + right.relu()


def test_branches_share_their_regions(registry: fxq.Registry) -> None:
    model = lowered(branches, registry)
    assert len(regions(model)) == 2
    agree(model, lowered(branches, registry, "reference"))


def written(x: torch.Tensor) -> torch.Tensor:
    """A write that a value before it and one after it must not see in the wrong order."""
    x = torch.cumsum(x, 1)
    before = x.relu()
    x[:, 0] = 3.0
    return before + x.relu()


def test_a_write_stays_between_what_was_before_and_after_it(registry: fxq.Registry) -> None:
    agree(lowered(written, registry), lowered(written, registry, "reference"))


class Unused(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, 0) if x.dim() == 2 else x.relu().exp()


def test_a_model_without_int8_is_left_to_torch(registry: fxq.Registry) -> None:
    with pytest.warns(fxq.NothingQuantizedWarning):
        model = fxq.quantize(Unused().eval(), [torch.randn(2, 3, 4)], "openvino", registry=registry)
    assert regions(model) == []


# roundings of the inputs of both layers; of the results none
@pytest.mark.parametrize(
    ("between", "wanted"),
    [
        (F.relu, 2),
        (F.silu, 2),
        (lambda x: F.max_pool2d(x, 2).flatten(2).unflatten(2, (3, 3)), 2),
        (lambda x: torch.cat([x, x.relu()], 1)[:, 4:12], 3),
        (lambda x: x + x.sigmoid(), 4),
    ],
)
def test_only_what_an_int8_op_takes_is_rounded(between: Any, wanted: int, registry: fxq.Registry) -> None:
    model = lowered(between, registry)
    assert roundings(model) == wanted
    agree(model, lowered(between, registry, "reference"))
