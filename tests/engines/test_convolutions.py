"""Convolutions of every geometry that torch takes, from the float layer on: at most one code off, and no crash."""

from __future__ import annotations

import torch
from hypothesis import example, given, settings, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_core.testing.agreement import Agreement
from fxq_core.testing.strategies import ConvArguments, conv_arguments

# windows in the padding alone, where oneDNN's kernels read what is not there; in the last, one element on either side
IN_PADDING = (
    ConvArguments(
        in_channels=4, out_channels=6, kernel_size=(1,), stride=(2,), padding=(1,), dilation=(3,), groups=2,
        bias=True, size=(1,),
    ),
    ConvArguments(
        in_channels=12, out_channels=8, kernel_size=(4, 1), stride=(3, 3), padding=(3, 2), dilation=(2, 2), groups=4,
        bias=True, size=(12, 1),
    ),
    ConvArguments(
        in_channels=1, out_channels=1, kernel_size=(2, 1, 2), stride=(1, 1, 1), padding=(1, 0, 1), dilation=(1, 1, 2),
        groups=1, bias=False, size=(1, 1, 1),
    ),
)  # fmt: skip

# one input and several outputs for each group, where oneDNN is wrong for some geometries
MULTIPLIED = (
    ConvArguments(
        in_channels=3, out_channels=6, kernel_size=(2, 2, 3), stride=(1, 1, 1), padding=(1, 1, 2), dilation=(1, 1, 1),
        groups=3, bias=False, size=(1, 1, 1),
    ),
    ConvArguments(
        in_channels=4, out_channels=16, kernel_size=(3, 4), stride=(1, 2), padding=(0, 0), dilation=(3, 1),
        groups=4, bias=True, size=(10, 5),
    ),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(arguments=st.integers(1, 3).flatmap(lambda dims: conv_arguments(dims=dims)))
@example(arguments=IN_PADDING[0])
@example(arguments=IN_PADDING[1])
@example(arguments=IN_PADDING[2])
@example(arguments=MULTIPLIED[0])
@example(arguments=MULTIPLIED[1])
def test_a_convolution_is_within_one_code_of_the_reference(
    engine: str, registry: fxq.Registry, arguments: ConvArguments
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(arguments.module()).eval()
        x, unseen = torch.randn(arguments.shape(3)), torch.randn(arguments.shape(2))
    agreement = Agreement(fxq.Quantizer(model, x, engine, registry=registry).calibrate([x]))
    found = agreement.differences(unseen)
    assert list(found) == ["_0"]
    assert found["_0"].codes <= 1, str(found["_0"])
