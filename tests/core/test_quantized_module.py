"""A lowered model is an ordinary module: it copies, pickles, saves, loads, and runs from any thread."""

from __future__ import annotations

import copy
import inspect
import io
import operator
import pickle
import threading
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxq_core as fxq
from fxq_core.quantized_module import SOURCE, QuantizedModule, Scale, ZeroPoint, dump, restore

from support.quantizing import patterns, quantized, run

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))


class Pair(NamedTuple):
    scores: torch.Tensor
    features: torch.Tensor


class Net(nn.Module):
    """Layers, a residual, a constant, slices, a tuple with a name, and things of the user's own."""

    classes = 5

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.block = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.register_buffer("offset", torch.linspace(-1, 1, 8).reshape(1, 8, 1, 1))
        self.head = nn.Linear(8, 5)
        self.labels, self.graph, self.engine = ["a", "b"], "mine", {"v": 8}

    def forward(self, x: torch.Tensor, gain: float = 1.0, *, flip: bool = False) -> Pair:
        x = self.stem(x)
        x = torch.relu(self.block(x) + x) + self.offset
        scores = self.head(F.avg_pool2d(x, 6).flatten(1)) * gain
        return Pair(scores, x[..., 1:3, ::2])


def made(seed: int = 0, scale: float = 1.0) -> Any:
    torch.manual_seed(seed)
    return quantized(Net(), scale * X, scale * X.flip(0))


def hook(module: nn.Module, args: Any, result: Pair) -> Pair:
    return Pair(result.scores + 100, result.features)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(run(one, X), run(other, X), strict=True))


def through_a_file(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=not isinstance(value, nn.Module))


def test_copies_and_pickles_give_the_same() -> None:
    lowered = made()
    for twin in (copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered)), through_a_file(lowered)):
        assert same(twin, lowered)
        assert str(fxq.report(twin)) == str(fxq.report(lowered))
        assert same(copy.deepcopy(twin), lowered)
        assert type(run(twin, X)) is Pair
    assert copy.deepcopy(lowered).head is not lowered.head


def test_a_copy_is_on_its_own() -> None:
    lowered = made()
    twin, expected = copy.deepcopy(lowered), run(lowered, X)
    twin.load_state_dict(made(1, 9.0).state_dict())
    assert not same(twin, lowered)
    assert torch.equal(run(lowered, X).scores, expected.scores)


def test_the_state_of_another_calibration_is_adopted() -> None:
    lowered, other = made(), made(1, 10.0)
    assert not same(other, lowered)
    state = through_a_file(lowered.state_dict())
    assert all(type(value) is torch.Tensor for value in state.values())
    assert {value.dtype for value in state.values()} == {torch.int8, torch.float32, torch.int32}
    assert other.load_state_dict(state, strict=True).missing_keys == []
    assert same(other, lowered)
    for twin in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert same(twin, lowered)
    assert torch.equal(other.fxq_scale, lowered.fxq_scale)
    wrapped = nn.Sequential(made(1, 10.0))
    wrapped.load_state_dict({f"0.{name}": value for name, value in state.items()})
    assert torch.equal(run(wrapped, X).scores, run(lowered, X).scores)


def test_every_literal_is_a_row_of_the_table() -> None:
    lowered = made()
    literals = [v for n in lowered.fxq_graph.nodes for v in (*n.args, *n.kwargs.values())]
    for scale in (v for v in literals if isinstance(v, Scale)):
        assert scale == lowered.fxq_scale[scale.group]
    for zero_point in (v for v in literals if isinstance(v, ZeroPoint)):
        assert zero_point == lowered.fxq_zero_point[zero_point.group]
    assert any(isinstance(v, Scale) for v in literals)


def test_numbers_that_know_their_row_are_numbers() -> None:
    scale, zero_point = Scale(0.1, 3), ZeroPoint(7, 4)
    assert (repr(scale), repr(zero_point), scale * 2, zero_point + 1) == ("0.1", "7", 0.2, 8)
    for twin in (copy.deepcopy((scale, zero_point)), pickle.loads(pickle.dumps((scale, zero_point)))):
        assert (twin[0], twin[0].group, type(twin[0])) == (0.1, 3, Scale)
        assert (twin[1], twin[1].group, type(twin[1])) == (7, 4, ZeroPoint)


def test_threads_may_share_it() -> None:
    lowered = made()
    expected, found, barrier = run(lowered, X).scores, [], threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        with torch.no_grad():
            found.extend(torch.equal(lowered(X).scores, expected) for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 100


def test_paths_signature_and_attributes_are_kept() -> None:
    lowered = made()
    assert {"stem.0.weight", "block.weight", "head.weight"} <= set(lowered.state_dict())
    parameters = inspect.signature(lowered.forward).parameters
    assert {n: p.default for n, p in parameters.items()} == {"x": inspect.Parameter.empty, "gain": 1.0, "flip": False}
    assert (lowered.labels, lowered.graph, lowered.engine) == (["a", "b"], "mine", {"v": 8})
    assert lowered.fxq_engine == "reference"
    assert not lowered.training
    run(lowered, x=X)
    for batch in (1, 5):
        assert run(lowered, X[:1].expand(batch, 3, 6, 6)).scores.shape == (batch, 5)


def test_hooks_of_the_root_are_kept_and_copied() -> None:
    torch.manual_seed(0)
    model = Net()
    plain = run(quantized(model, X), X).scores
    model.register_forward_hook(hook)
    lowered = quantized(model, X)
    for twin in (lowered, copy.deepcopy(lowered), pickle.loads(pickle.dumps(lowered))):
        assert torch.equal(run(twin, X).scores, plain + 100)


def test_names_of_nodes_are_unique_and_the_report_is_about_them() -> None:
    lowered = made()
    names = [node.name for node in lowered.fxq_graph.nodes]
    assert len(set(names)) == len(names)
    sources = [node.meta[SOURCE] for node in lowered.fxq_graph.nodes if SOURCE in node.meta]
    assert set(patterns(lowered)) - set(sources) == {"stem_0"}  # part of the clamp after it


def test_a_graph_survives_as_plain_data() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y", default_value=(1, None))
    x.meta[SOURCE] = "input"
    a = graph.call_function(operator.getitem, (x, (slice(None, None, 2), Ellipsis, None)))
    b = graph.call_function(torch.ops.aten.add.Tensor, (a, a), {"alpha": 2})
    c = graph.call_function(torch.ops.aten.relu, (b,))
    d = graph.call_method("clamp", (c,), {"min": Scale(0.5, 0), "max": float("inf")})
    pair = graph.call_function(Pair, (c, d))
    graph.output({"all": [d, pair], "dtype": torch.float32, "y": y})
    rows = dump(graph)
    for twin in (restore(rows), restore(pickle.loads(pickle.dumps(rows))), restore(copy.deepcopy(rows))):
        assert [str(n.format_node()) for n in twin.nodes] == [str(n.format_node()) for n in graph.nodes]
        assert next(iter(twin.nodes)).meta == {SOURCE: "input"}
        assert dump(twin) == rows
        value = torch.linspace(-1, 1, 12).reshape(4, 3)
        both = [fx.GraphModule({}, g)(value) for g in (graph, twin)]
        assert torch.equal(both[0]["all"][0], both[1]["all"][0])
        assert type(both[1]["all"][1]) is Pair


def test_an_error_shows_the_generated_line() -> None:
    lowered = made()
    with pytest.raises(fxq.InputError, match=r"^the quantized model refused its input \(RuntimeError: ") as caught:
        run(lowered, X[:, :2])
    assert caught.value.__cause__ is not None
    last = caught.value.__cause__.__traceback__
    lines = []
    while last:
        lines.append(inspect.getframeinfo(last).code_context)
        last = last.tb_next
    assert any("self.stem" in line for context in lines if context for line in context)
    assert isinstance(lowered, QuantizedModule)
