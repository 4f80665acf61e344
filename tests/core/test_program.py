"""Bound calls give what calls by path give, and give way to them when somebody looks in or changes something."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn.modules import module as torch_module

from fxq_core.program import Program

X = torch.linspace(-2, 2, 6)


class Scaled(nn.Module):
    """Multiplies; trusts its own kind, which always gives what it takes."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.size, self.log = factor, 6, list[str]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.log.append("checked")
        return x * self.factor

    def fxq_trusts(self, other: nn.Module) -> bool:
        self.log.append("asked")
        return isinstance(other, Scaled) and other.size == self.size

    def fxq_unchecked(self, x: torch.Tensor) -> torch.Tensor:
        self.log.append("unchecked")
        return x * self.factor


class Called(nn.Module):
    """Has its own way of being called."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x) + 100

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -x


def made() -> tuple[nn.Module, fx.Graph]:
    root = nn.Module()
    root.blocks = nn.Sequential(nn.Sequential(Scaled(2.0)), Scaled(3.0))
    root.act = nn.Hardtanh(-9.0, 9.0)
    root.own = Called()
    root.register_buffer("offset", torch.arange(6.0))
    graph = fx.Graph()
    x = graph.placeholder("x")
    value = graph.call_module("blocks.1", (graph.call_module("blocks.0.0", (x,)),))
    value = graph.call_module("own", (graph.call_module("act", (value,)),))
    value = graph.call_function(torch.ops.aten.add.Tensor, (value, graph.get_attr("offset")), {"alpha": 2})
    graph.output(value)
    return root, graph


EXPECTED = -(6 * X).clamp(-9, 9) + 100 + 2 * torch.arange(6.0)


class Run:
    def __init__(self) -> None:
        self.root, self.graph = made()
        self.program = Program(self.graph, self.root)

    def __call__(self) -> torch.Tensor:
        function, self_ = self.program.choose(self.root)
        result: torch.Tensor = function(self_, X)
        return result

    @property
    def bound(self) -> bool:
        return self.program.choose(self.root)[1] is not self.root


@pytest.fixture
def run() -> Run:
    return Run()


def test_both_functions_give_what_the_graph_gives(run: Run) -> None:
    assert torch.equal(fx.GraphModule(run.root, run.graph)(X), EXPECTED)
    assert run.bound
    assert torch.equal(run(), EXPECTED)
    run.root.act.register_forward_hook(lambda *_: None)
    assert not run.bound
    assert torch.equal(run(), EXPECTED)
    assert run.program.code == run.graph.python_code("self").src


def count_calls(into: list[nn.Module]) -> Callable[..., None]:
    return lambda module, *_: into.append(module)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_hooks_see_their_modules_and_what_they_return_counts(run: Run, kind: str) -> None:
    assert run.bound
    seen: list[nn.Module] = []
    handle = getattr(run.root.blocks[0][0], f"register_{kind}")(count_calls(seen))
    assert torch.equal(run(), EXPECTED)
    assert seen == [run.root.blocks[0][0]]
    handle.remove()
    assert run.bound
    assert torch.equal(run(), EXPECTED)
    assert len(seen) == 1
    run.root.act.register_forward_hook(lambda module, args, result: result * 0)
    assert torch.equal(run(), EXPECTED - EXPECTED + 100 + 2 * torch.arange(6.0))


@pytest.mark.parametrize("kind", ["full_backward_hook", "full_backward_pre_hook"])
def test_backward_hooks_count_as_hooks(run: Run, kind: str) -> None:
    assert run.bound
    handle = getattr(run.root.act, f"register_{kind}")(lambda *_: None)
    assert not run.bound
    handle.remove()
    assert run.bound


def test_hooks_on_all_modules_fire(run: Run) -> None:
    assert run.bound
    seen: list[nn.Module] = []
    handle = torch_module.register_module_forward_hook(count_calls(seen))
    try:
        assert torch.equal(run(), EXPECTED)
    finally:
        handle.remove()
    assert seen == [run.root.blocks[0][0], run.root.blocks[1], run.root.act]
    assert run.bound


def test_a_hook_elsewhere_changes_nothing(run: Run) -> None:
    assert run.bound
    nn.Identity().register_forward_hook(lambda *_: None)
    assert run.bound


def test_a_module_that_had_hooks_before_is_called_and_the_others_are_bound(run: Run) -> None:
    seen: list[nn.Module] = []
    handle = run.root.act.register_forward_hook(count_calls(seen))
    run.program = Program(run.graph, run.root)
    assert run.bound
    assert torch.equal(run(), EXPECTED)
    assert seen == [run.root.act]
    handle.remove()
    assert torch.equal(run(), EXPECTED)
    assert len(seen) == 1


def replace_leaf(root: Any) -> None:
    root.act = nn.Hardtanh(-1.0, 1.0)


def replace_in_container(root: Any) -> None:
    root.blocks[0][0] = nn.Hardtanh(-1.0, 1.0)


def replace_container(root: Any) -> None:
    root.blocks = nn.Sequential(nn.Sequential(nn.Identity()), nn.Identity())


def replace_in_the_dict(root: Any) -> None:
    root.blocks._modules["1"] = nn.Identity()


def add_module(root: Any) -> None:
    root.blocks.add_module("1", nn.Identity())


@pytest.mark.parametrize(
    "change", [replace_leaf, replace_in_container, replace_container, replace_in_the_dict, add_module]
)
def test_another_module_in_the_place_of_one_is_called(run: Run, change: Callable[[nn.Module], None]) -> None:
    assert run.bound
    change(run.root)
    assert not run.bound
    assert torch.equal(run(), fx.GraphModule(run.root, run.graph)(X))
    assert not torch.equal(run(), EXPECTED)


def test_a_module_that_is_put_back_is_bound_again(run: Run) -> None:
    kept = run.root.act
    del run.root.act
    with pytest.raises(AttributeError, match="act"):
        run()
    run.root.act = kept
    assert run.bound
    assert torch.equal(run(), EXPECTED)


def test_a_further_module_is_in_nobodys_way(run: Run) -> None:
    run.root.blocks.append(nn.Identity())
    run.root.further = nn.Identity()
    assert run.bound


def test_a_forward_of_its_own_is_called(run: Run) -> None:
    assert run.bound
    run.root.act.forward = lambda x: x * 0
    assert torch.equal(run(), 100 + 2 * torch.arange(6.0))


def test_a_check_is_left_out_where_a_trusted_module_feeds(run: Run) -> None:
    first, second = run.root.blocks[0][0], run.root.blocks[1]
    run()
    first.log.clear(), second.log.clear()
    for _ in range(3):
        run()
    assert (first.log, second.log) == (["checked"] * 3, ["unchecked"] * 3)
    first.size = 7
    run.root.further = nn.Identity()  # so that it looks again
    assert not run.bound
    second.log.clear()
    run()
    assert second.log == ["asked", "checked"]


@pytest.mark.parametrize("position", [0, 1])
def test_a_forward_of_its_own_is_called_also_where_it_was_left_out(run: Run, position: int) -> None:
    assert run.bound
    (run.root.blocks[0][0], run.root.blocks[1])[position].forward = lambda x: x * 0
    run.root.further = nn.Identity()  # so that it looks again
    assert torch.equal(run(), 100 + 2 * torch.arange(6.0))


def test_the_line_that_failed_is_told(run: Run) -> None:
    function, self_ = run.program.choose(run.root)
    with pytest.raises(TypeError) as caught:
        function(self_, "text")
    lines = [frame.line for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert any("self.blocks_0_0.forward(x)" in line for line in lines if line)


def test_a_scripted_module_is_called() -> None:
    root = nn.Module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        root.part = torch.jit.trace(nn.Hardtanh(), X)
    graph = fx.Graph()
    graph.output(graph.call_module("part", (graph.placeholder("x"),)))
    function, self_ = Program(graph, root).choose(root)
    assert torch.equal(function(self_, X), X.clamp(-1, 1))
