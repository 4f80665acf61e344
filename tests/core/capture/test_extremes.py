"""An extreme of which only the values are taken is a reduction; any other stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from support.operands import Form, ops, same

REDUCED: dict[str, tuple[Form, Any]] = {
    "max [0]": (lambda m, x: x.max(1)[0], torch.amax),
    "max values": (lambda m, x: x.max(1).values, torch.amax),
    "max keepdim": (lambda m, x: torch.max(x, 2, keepdim=True)[0], torch.amax),
    "max by name": (lambda m, x: torch.max(input=x, dim=-1).values, torch.amax),
    "max numpy": (lambda m, x: x.max(axis=1, keepdims=True)[0], torch.amax),
    "min [0]": (lambda m, x: x.min(0)[0], torch.amin),
    "min values": (lambda m, x: torch.min(x, dim=1).values, torch.amin),
}


@pytest.mark.parametrize("name", REDUCED)
def test_an_extreme_of_which_only_the_values_are_taken_is_a_reduction(name: str) -> None:
    form, reduction = REDUCED[name]
    found, wanted = same(form)
    assert torch.equal(found, wanted)
    assert ops(form) == [reduction]


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x: tuple(x.max(1)),
        lambda m, x: x.max(1)[1],
        lambda m, x: x.min(1).indices,
        lambda m, x: (x.max(1).values, x.max(1).indices),
        lambda m, x: x.max(),
        lambda m, x: x.max()[None],
        lambda m, x: torch.max(x, m.shift),
        lambda m, x: torch.max(x, m.shift)[0],
        lambda m, x: torch.min(x, other=m.shift)[0],
        lambda m, x: x.argmax(1).max(1)[0],
    ],
)
def test_the_other_extremes(form: Form) -> None:
    found, wanted = same(form)
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    assert all(torch.equal(one, other) for one, other in pairs)


def test_values_and_indices_of_one_extreme() -> None:
    def form(m: Any, x: torch.Tensor) -> Any:
        best = x.max(1)
        return F.relu(best[0]), best[1]

    (values, indices), (wanted, places) = same(form)
    assert torch.equal(values, wanted)
    assert torch.equal(indices, places)
