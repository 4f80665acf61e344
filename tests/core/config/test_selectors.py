"""What a selector selects, and which of two is the more specific."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.config import TypeName
from fxq_core.config.selectors import FUNCTION, PATH, PATTERN, TYPE, path_rank

from support.blocks import plan_with


@pytest.mark.parametrize(
    ("selector", "path", "rank"),
    [
        ("a.b", "a.b", PATH),
        ("a[0]", "a[0]", PATH),
        ("a", "a.b", (2, 1, 1)),
        ("a[0]", "a[0].b", (2, 1, 4)),
        ("a.*", "a.b", (2, 2, 2)),
        ("*", "a.b", (2, 1, 0)),
        ("*.b", "a.c.b", (2, 2, 2)),
        ("lay?r[!0-9].[]]x", "layerx.]x.y", (2, 2, 6)),
        ("layer[", "layer[.x", (2, 1, 6)),
        ("a", "ab", None),
        ("A", "a", None),
        ("a.b.c", "a.b", None),
        ("b", "a.b", None),
    ],
)
def test_a_path_is_selected_as_itself_or_by_what_covers_it(selector: str, path: str, rank: object) -> None:
    assert path_rank(selector, path) == rank


def test_the_kinds_of_selectors_are_ordered() -> None:
    assert FUNCTION > PATH > (2, 99, 99) > (2, 2, 0) > (2, 1, 99) > TYPE > PATTERN


def skipped(core: fxq.Registry, name: str) -> set[str]:
    plan = plan_with(core, skip=(TypeName(name),))
    return {v.node for v in plan.verdicts if v.provider == "the config"}


@pytest.mark.parametrize("name", ["torch.nn.modules.linear.Linear", "torch.nn.Linear"])
def test_a_name_from_a_file_selects_the_type_where_it_is_defined_or_imported(core: fxq.Registry, name: str) -> None:
    assert skipped(core, name) == {"head"}


def test_a_name_from_a_file_never_imports(core: fxq.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = types.ModuleType("lazy_layers")
    lazy.__getattr__ = lambda name: pytest.fail("imported")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_layers", lazy)
    before = set(sys.modules)
    for name in ("lazy_layers.Linear", "antigravity.Linear", "Linear", ""):
        with pytest.raises(fxq.ConfigError):
            skipped(core, name)
    assert set(sys.modules) == before


def test_a_type_selects_itself_and_no_namesake(core: fxq.Registry) -> None:
    def layer() -> type[nn.Module]:
        class Layer(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x

        return Layer

    first, second = layer(), layer()
    name = f"{__name__}.test_a_type_selects_itself_and_no_namesake.<locals>.layer.<locals>.Layer"
    selector = fxq.Rule(first, dtype="float").where
    assert isinstance(selector, TypeName)
    assert selector == TypeName(name)
    assert selector.selects(first)
    assert not selector.selects(second)
    assert TypeName(name).selects(second)
