"""Which of several rules wins: the documented order by brute force, and ties."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_core.config import Rule
from fxq_core.config.claims import claims_on, winner
from fxq_core.types import Match, Pattern

from support.blocks import plan_with, refusal


def always(match: Match) -> bool:
    return True


def never(match: Match) -> bool:
    return False


GRAPH = torch.fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU()))
NODES = {str(node.target): node for node in GRAPH.graph.nodes if node.op == "call_module"}
SELECTORS = [
    "0.0", "0", "*", "0.*", "?.?", "*.0", "[0].[0]", "[!1].0", "1", "0.0.0", "linear", "relu", "linear_relu", "",
    nn.Linear, nn.ReLU, nn.Conv2d, always, never,
]  # fmt: skip


def order(where: Any, path: str, module: nn.Module, pattern: str) -> tuple[int, ...] | None:
    """The order that Rule documents, spelled out."""
    if where in (always, never):
        return (4,) if where is always else None
    if isinstance(where, type):
        return (1,) if type(module) is where else None
    if where == path:
        return (3,)
    for end in range(1, path.count(".") + 2):
        if fnmatch.fnmatchcase(".".join(path.split(".")[:end]), where):
            literal = where.replace("[0]", "").replace("[!1]", "").replace("*", "").replace("?", "")
            return (2, len(where.split(".")), len(literal))
    return (0,) if where == pattern else None


@given(
    st.sampled_from(["0.0", "0.1", "1"]),
    st.sampled_from(["linear", "relu", "linear_relu"]),
    st.lists(st.tuples(st.sampled_from(SELECTORS), st.sampled_from(["a", "b"]), st.booleans()), max_size=6),
)
@settings(max_examples=1000)
def test_the_most_specific_rule_wins_each_setting(
    path: str, pattern: str, given_rules: list[tuple[Any, str, bool]]
) -> None:
    module, node = GRAPH.get_submodule(path), NODES[path]
    match = Match(Pattern(pattern, nn.ReLU), (node,), (), (module,))
    rules = [
        Rule(where, **{"observer" if is_observer else "weight_observer": v}) for where, v, is_observer in given_rules
    ]
    for setting in ("observer", "weight_observer"):
        values: dict[tuple[int, ...], set[str]] = {}
        for where, value, is_observer in given_rules:
            rank = order(where, path, module, pattern)
            if rank is not None and is_observer == (setting == "observer"):
                values.setdefault(rank, set()).add(value)
        wanted = values[max(values)] if values else {None}
        if len(wanted) > 1:
            with pytest.raises(fxq.ConfigError, match=f"are equally specific but differ in {setting} for node "):
                winner(setting, claims_on(rules, "", match))
        else:
            found = winner(setting, claims_on(rules, "", match))
            assert {None if found is None else getattr(found, setting)} == wanted


MORE = "drop one of them, or decide with a more specific rule"


def nothing_else(match: Match) -> bool:
    return True


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (
            (Rule(nn.Linear, observer="minmax"), Rule(nn.Linear, observer="histogram")),
            "Rule(Linear, observer='minmax') and Rule(Linear, observer='histogram') are equally specific but differ in "
            f"observer for node 'head' of module 'head'; {MORE}",
        ),
        (
            (Rule("blocks.0.conv", observer="minmax"), Rule("blocks.0.act", observer="histogram")),
            "Rule('blocks.0.conv', observer='minmax') and Rule('blocks.0.act', observer='histogram') are equally "
            f"specific but differ in observer for node 'blocks_0_act' of module 'blocks.0.act'; {MORE}",
        ),
        (
            (Rule("hea?", dtype="int8"), Rule("?ead", dtype="float")),
            "Rule('hea?', dtype='int8') and Rule('?ead', dtype='float') are equally specific but differ in dtype for "
            f"node 'head' of module 'head'; {MORE}",
        ),
        (
            (Rule(always, observer="minmax"), Rule(nothing_else, observer="histogram")),
            "Rule(always, observer='minmax') and Rule(nothing_else, observer='histogram') are equally specific but "
            "differ in observer for node 'blocks_0_act' of module 'blocks.0.act'; drop one of them",
        ),
    ],
)
def test_a_tie_names_both_rules_and_the_way_out(rules: Any, text: str, core: fxq.Registry) -> None:
    assert refusal(core, *rules) == text


def test_equal_values_and_other_settings_are_no_tie(core: fxq.Registry) -> None:
    rules = (
        Rule(nn.Linear, observer="minmax"),
        Rule("linear", observer="histogram"),
        Rule(nn.Linear, observer="minmax", dtype="int8"),
        Rule(nn.Linear, weight="per-tensor"),
    )
    head = next(v for v in plan_with(core, *rules).verdicts if v.node == "head")
    assert head.reason == "the config sets weight='per-tensor', observer='minmax'"


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.a(x), self.b(x)))


def test_values_that_share_their_qparams_have_one_observer(core: fxq.Registry) -> None:
    how: Any = {"net": Joined().eval(), "batch": torch.ones(2, 3)}
    first, second = Rule("a", observer="minmax"), Rule("b", observer="histogram")
    assert refusal(core, first, second, **how) == (
        "Rule('a', observer='minmax') and Rule('b', observer='histogram') are equally specific but differ in observer "
        f"for node 'a' of module 'a' and node 'b' of module 'b', which share their qparams; {MORE}"
    )
    part = plan_with(core, first, Rule("*", observer="histogram"), **how).parts[0]
    assert {part.observers[group].name for node, group in part.groups.sources.items() if node.name in "ab"} == {
        "minmax"
    }
