"""Tables of int8 rows give the rows that their codes stand for, however they are looked up."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.context import QWeight
from fxq_core.weight_only import Int8Embedding, Int8EmbeddingBag

from support.quantizing import int8, patterns, quantized, run

ROWS, FEATURES = 11, 6
FLAT = torch.randint(0, ROWS, (13,), generator=torch.Generator().manual_seed(0))
SHAPED = FLAT[:12].reshape(4, 3)


def table_of(qmodel: Any, path: str = "table") -> torch.Tensor:
    """The floats that the codes of a lowered table stand for."""
    table = qmodel.get_submodule(path)
    assert (table.weight.dtype, table.weight_scale.dtype) == (torch.int8, torch.float32)
    return table.weight.float() * table.weight_scale.reshape(-1, 1)


class Look(nn.Module):
    """Calls its table as given, with numbers."""

    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table = table

    def forward(self, input: torch.Tensor, offsets: Any = None, per_sample_weights: Any = None) -> torch.Tensor:
        if offsets is None and per_sample_weights is None:
            return self.table(input)
        return self.table(input, offsets, per_sample_weights=per_sample_weights)


def embedding(**how: Any) -> nn.Module:
    torch.manual_seed(0)
    return Look(nn.Embedding(ROWS, FEATURES, **how))


@pytest.mark.parametrize(
    "indices",
    [FLAT, SHAPED, SHAPED.reshape(2, 1, 6), FLAT[0], FLAT[:0], SHAPED[:, :0], FLAT.int(), SHAPED.t()],
    ids=["flat", "shaped", "deep", "one", "empty", "empty rows", "int32", "transposed"],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_rows_are_looked_up(indices: torch.Tensor, by_name: bool) -> None:
    class Named(Look):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return self.table(input=input)

    model = embedding(padding_idx=2)
    model = Named(model.table) if by_name else model
    lowered = quantized(model, FLAT)
    assert patterns(lowered) == {"table": "embedding"}
    result = run(lowered, indices)
    assert torch.equal(result, table_of(lowered)[indices.long()])
    assert result.shape == (*indices.shape, FEATURES)


def test_a_row_is_off_by_half_a_step_at_most() -> None:
    model: Any = embedding()
    with torch.no_grad():
        model.table.weight *= torch.logspace(-4, 3, ROWS).unsqueeze(1)
        model.table.weight[5] = 0
    lowered: Any = quantized(model, FLAT)
    scale = lowered.table.weight_scale.unsqueeze(1)
    assert ((table_of(lowered) - model.table.weight).abs() <= scale * 0.5001).all()
    largest = model.table.weight.abs().amax(1)
    used = largest > 0
    torch.testing.assert_close(lowered.table.weight_scale[used] * 127, largest[used])
    assert torch.equal(table_of(lowered)[5], torch.zeros(FEATURES))


def test_an_index_out_of_range_is_an_error_as_in_float() -> None:
    lowered = quantized(embedding(), FLAT)
    for wrong in (ROWS, -1):
        with pytest.raises(IndexError, match="index out of range in self"):
            run(lowered, torch.tensor([0, wrong]))


OFFSETS = torch.tensor([0, 4, 4, 9])
WEIGHTS = torch.rand(13, generator=torch.Generator().manual_seed(1))
BAGS: dict[str, tuple[Any, ...]] = {
    "offsets": (FLAT, OFFSETS),
    "2-D": (SHAPED,),
    "no bags": (FLAT[:0], OFFSETS[:0]),
    "empty bags": (FLAT[:0], torch.zeros(3, dtype=torch.long)),
    "int32": (FLAT.int(), OFFSETS.int()),
}


@pytest.mark.parametrize("name", BAGS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
def test_bags(name: str, mode: str, last: bool) -> None:
    torch.manual_seed(0)
    args = BAGS[name]
    if last and len(args) == 2:
        args = args[0], torch.cat([args[1], torch.tensor([len(args[0])], dtype=args[1].dtype)])
    model = Look(nn.EmbeddingBag(ROWS, FEATURES, mode=mode, include_last_offset=last and len(args) == 2))
    lowered = quantized(model, args)
    assert patterns(lowered) == {"table": "embedding_bag"}
    model.table.weight = nn.Parameter(table_of(lowered))
    assert torch.equal(run(lowered, *args), run(model, *args))
    assert run(lowered, *args).dtype is torch.float32


@pytest.mark.parametrize("args", [(FLAT, OFFSETS, WEIGHTS), (SHAPED, None, WEIGHTS[:12].reshape(4, 3))])
def test_bags_of_weighted_rows(args: Any) -> None:
    torch.manual_seed(0)
    model = Look(nn.EmbeddingBag(ROWS, FEATURES, mode="sum"))
    lowered = quantized(model, args)
    assert patterns(lowered) == {"table": "embedding_bag"}
    model.table.weight = nn.Parameter(table_of(lowered))
    assert torch.equal(run(lowered, *args), run(model, *args))


def test_the_state_is_int8_and_a_quarter_of_the_size() -> None:
    def size(model: nn.Module) -> int:
        torch.save(model.state_dict(), buffer := io.BytesIO())
        return len(buffer.getvalue())

    model = Look(nn.Embedding(500, 256))
    lowered = quantized(model, FLAT)
    state = lowered.state_dict()
    assert {name: value.dtype for name, value in state.items() if name.startswith("table")} == {
        "table.weight": torch.int8, "table.weight_scale": torch.float32,
    }  # fmt: skip
    assert not any(value.numel() > 1000 and value.dtype.is_floating_point for value in state.values())
    assert 3.5 < size(model) / size(lowered) < 4.1


def test_one_scale_for_all_rows_is_served_too() -> None:
    weight = QWeight(torch.tensor([[1, -2], [3, 127], [0, 5]], dtype=torch.int8), torch.tensor(0.5), None)
    table, bag = Int8Embedding(weight), Int8EmbeddingBag(weight, "sum", False)
    assert table(torch.tensor([[1], [0]])).tolist() == [[[1.5, 63.5]], [[0.5, -1.0]]]
    assert bag(torch.tensor([[0, 1], [2, 2]])).tolist() == [[2.0, 62.5], [0.0, 5.0]]
    assert (str(table), str(bag)) == ("Int8Embedding(3, 2)", "Int8EmbeddingBag(3, 2)")


def test_a_tied_linear_layer_is_int8_of_its_own() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(ROWS, FEATURES), nn.Linear(FEATURES, ROWS, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(x))

    model = Tied()
    lowered: Any = quantized(model, FLAT)
    assert int8(lowered) == ["embedding", "linear"]
    assert torch.equal(lowered.table.weight, lowered.head.weight)
    assert torch.equal(lowered.table.weight_scale, lowered.head.weight_scale)
    assert model.table.weight is model.head.weight
    wanted = run(model, SHAPED)
    assert (run(lowered, SHAPED) - wanted).abs().max() < 0.02 * wanted.abs().max()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (nn.Embedding(ROWS, FEATURES, max_norm=1.0), "it renormalizes its weight whenever it is used"),
        (nn.EmbeddingBag(ROWS, FEATURES, max_norm=1.0), "it renormalizes its weight whenever it is used"),
        (nn.EmbeddingBag(ROWS, FEATURES, padding_idx=1), "it leaves one index out of its bags"),
    ],
)
@pytest.mark.filterwarnings("ignore::fxq_core.NothingQuantizedWarning")
def test_what_is_left_in_float(table: Any, reason: str) -> None:
    lowered = quantized(Look(table), SHAPED)
    (row,) = (row for row in fxq.report(lowered).rows if row.node == "table")
    assert (row.quantized, row.reason) == (False, reason)
    assert torch.equal(run(lowered, SHAPED), run(Look(table), SHAPED))
