"""The plan: what is quantized, how and by whom; what stays float, and why. Decided before any data is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace

from torch import fx, nn

from fxq_core import tables
from fxq_core.capture import Captured
from fxq_core.capture.graphs import find, module_path
from fxq_core.capture.location import located, location_of
from fxq_core.capture.values import REASON, value_of
from fxq_core.config import Config, ConfigUse, Settled
from fxq_core.correction import correctable, told
from fxq_core.discovery import CORE
from fxq_core.equalization import Pair, equalizable, equalized_notes, lone_modules
from fxq_core.errors import ConfigError, EngineError
from fxq_core.families import BORDERS
from fxq_core.groups import Groups, group_values
from fxq_core.matching import Candidate, Matches, Refusal, find_matches
from fxq_core.placement import worthwhile
from fxq_core.registry import Registry
from fxq_core.types import Engine, ObserverSpec, QSpec

ONLY_CONVERSIONS = "int8 would only add conversions here"
HEADER = ("node", "module", "op", "verdict", "pattern", "by", "reason")
STRUCTURE = {
    "placeholder": "an input stays as the caller gives it",
    "get_attr": "a constant",
    "output": "outputs are returned in float",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one node.

    ``module`` is the path of the module that the node calls or stands in, ``op`` what it computes. A quantized
    node has the ``pattern`` it is part of, a ``provider``, who lowers it, and a ``reason`` if the config set something
    for it; a float one has a ``reason``, the provider who gave it, and ``where`` it stands in the user's code.
    ``output`` is what the engine wants of the result, for the last node of a match.
    """

    part: str
    node: str
    module: str
    op: str
    quantized: bool
    pattern: str
    provider: str
    reason: str
    output: QSpec | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The decisions for one captured graph.

    ``observers`` holds one spec for each group without fixed qparams, ``weights`` what is wanted of the weight of a
    match that has one, ``corrected`` the path in the graph module of a layer whose bias is corrected, both by the
    match's last node. ``equalized`` are pairs of calls, of layers whose weights are equalized with each other.
    """

    path: str
    graph_module: fx.GraphModule
    chosen: dict[fx.Node, Candidate]
    groups: Groups
    observers: dict[int, ObserverSpec]
    weights: dict[fx.Node, QSpec]
    corrected: dict[fx.Node, str]
    equalized: tuple[Pair, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every decision for a model; ``print(plan)`` answers "why was this not quantized?".

    ``notes`` says, by module path, what became of modules that are no node of a graph, and of layers that were
    equalized; ``nonfinite`` is the config's.
    """

    engine: Engine
    registry: Registry
    captured: Captured
    parts: tuple[PartPlan, ...]
    notes: dict[str, str]
    nonfinite: str

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per node, in graph order."""
        return tuple(verdict for part in self.parts for verdict in part.verdicts)

    @property
    def corrected(self) -> tuple[str, ...]:
        """The paths of the layers whose bias is corrected, in graph order."""
        calls = ((part.path, part.chosen[node].match.nodes[0]) for part in self.parts for node in part.corrected)
        return tuple(dict.fromkeys(module_path(path, node) for path, node in calls))

    def __str__(self) -> str:
        quantized = sum(verdict.quantized for verdict in self.verdicts)
        title = f"engine {self.engine.name} ({self.engine.provider}): {quantized} of {len(self.verdicts)} nodes in int8"
        notes = (f"{path or 'the root'}: {note}" for path, note in self.notes.items())
        return "\n".join([title, tables.table(HEADER, map(cells, self.verdicts)), *notes, *told(self.corrected)])


def cells(v: Verdict) -> tuple[object, ...]:
    """A verdict as a row of a table under ``HEADER``."""
    verdict = "int8" if v.quantized else "float"
    return v.node, v.module, v.op, verdict, v.pattern, v.provider, located(v.reason, v.where)


def make_plan(captured: Captured, registry: Registry, engine: Engine, config: Config) -> Plan:
    """Decide everything.

    Raises:
        ConfigError: a rule of the config matches nothing, has no effect, ties with another, or asks for what there is
            not.
        EngineError: the engine can't convert between float and int8.
        PluginConflictError: two patterns claim the same nodes.
        PluginError: a plugin's ``reject`` failed, and the registry is strict; otherwise the match stays float.
    """
    for border in BORDERS:
        if registry.lowering(engine, border) is None:
            raise EngineError(
                f"engine {engine.name!r} of {engine.provider} has no lowering for {border!r}; "
                "its plugin must yield one to convert between float and int8"
            )
    for spec in (engine.activation, engine.weight):
        if spec.observer not in registry.observers:
            raise EngineError(
                f"engine {engine.name!r} of {engine.provider} wants observer {spec.observer!r}, which no plugin "
                f"provides; installed: {', '.join(sorted(registry.observers))}"
            )
    if not isinstance(config, Config):
        raise ConfigError(f"config is a {type(config).__name__}; pass fxq_core.Config(skip=..., rules=...)")
    use = ConfigUse(config, registry, engine)
    for path in (*captured.folded, *captured.left):
        use.see(path, find(captured.root, path))
    lone = lone_modules(captured.root) if config.equalize else set()
    parts = tuple(_plan_part(path, part, use, lone) for path, part in captured.parts.items())
    use.check()
    notes = {**captured.folded, **captured.left, **equalized_notes({part.path: part.equalized for part in parts})}
    return Plan(engine, registry, captured, parts, notes, config.nonfinite)


def _plan_part(path: str, part: fx.GraphModule, use: ConfigUse, lone: Set[nn.Module]) -> PartPlan:
    registry, engine = use.registry, use.engine
    modules = dict(part.named_modules(remove_duplicate=False))
    for node in part.graph.nodes:
        use.see(module_path(path, node), modules.get(str(node.target)) if node.op == "call_module" else None)
    matches = find_matches(path, part, registry, engine, lambda match: use.skips(path, match))
    chosen = worthwhile(matches.chosen)
    for candidate in matches.chosen.values():
        if candidate.match.output not in chosen:
            matches.refused.update(dict.fromkeys(candidate.match.nodes, Refusal(ONLY_CONVERSIONS, CORE)))
    groups = group_values(chosen)
    settled = use.settle(path, [candidate.match for candidate in chosen.values()], groups.sources)
    names = {group: settled.observers.get(group, engine.activation.observer) for group in groups.sources.values()}
    observers = {group: registry.observers[name] for group, name in names.items()}
    corrected = correctable(chosen) if use.config.bias_correction else {}
    verdicts = tuple(_verdicts(path, part, chosen, matches, engine, settled))
    equalized = equalizable(part, chosen, lone)
    return PartPlan(path, part, chosen, groups, observers, settled.weights, corrected, equalized, verdicts)


def _verdicts(
    path: str,
    part: fx.GraphModule,
    chosen: dict[fx.Node, Candidate],
    matches: Matches,
    engine: Engine,
    settled: Settled,
) -> Iterator[Verdict]:
    inner = {node: candidate for candidate in chosen.values() for node in candidate.match.nodes}
    for node in part.graph.nodes:
        about = (path, node.name, module_path(path, node), op_text(part, node))
        if node in inner:
            match, lowering = inner[node].match, inner[node].lowering
            last = node is match.output
            reason = settled.reason(node) if last else f"part of {match.output.name}"
            spec = engine.activation if last and not match.pattern.weight_only else None
            yield Verdict(*about, True, match.pattern.name, str(lowering.provider), reason, spec)
        else:
            refusal = _why_float(node, matches)
            where = "" if node.op in STRUCTURE else location_of(node)
            yield Verdict(*about, False, "", refusal.provider, refusal.reason, where=where)


def _why_float(node: fx.Node, matches: Matches) -> Refusal:
    if node in matches.refused:
        return matches.refused[node]
    if reason := STRUCTURE.get(node.op) or node.meta.get(REASON):
        return Refusal(reason, CORE)
    value = value_of(node)
    if not value.is_float:
        return Refusal(f"its result is not a float32 tensor: {value}", CORE)
    return Refusal("no installed pattern matches it", CORE)


def in_float(part: PartPlan, refused: Mapping[fx.Node, Refusal]) -> PartPlan:
    """The decisions for a part without some of its matches, given by their last nodes, and why.

    What was decided for all other nodes stays: a value that only float ops take now keeps its observer, but has no
    qparams.
    """
    dropped = {node: output for output in refused for node in part.chosen[output].match.nodes}
    nodes = {node.name: node for node in dropped}
    verdicts = []
    for verdict in part.verdicts:
        if node := nodes.get(verdict.node):
            refusal = refused[dropped[node]]
            verdict = replace(
                verdict,
                quantized=False,
                pattern="",
                provider=refusal.provider,
                reason=refusal.reason,
                output=None,
                where=location_of(node),
            )
        verdicts.append(verdict)
    kept = {output: candidate for output, candidate in part.chosen.items() if output not in refused}
    held = {value for output, candidate in kept.items() for value in (*candidate.match.inputs, output)}
    groups = replace(part.groups, of={value: group for value, group in part.groups.of.items() if value in held})
    corrected = {output: path for output, path in part.corrected.items() if output in kept}
    return replace(part, chosen=kept, groups=groups, corrected=corrected, verdicts=tuple(verdicts))


def without(plan: Plan, refused: Callable[[PartPlan], Mapping[fx.Node, Refusal]]) -> Plan:
    """The same plan with ``in_float`` applied to each part; ``refused`` says which matches of a part stay, and why."""
    return replace(plan, parts=tuple(in_float(part, refused(part)) for part in plan.parts))


def all_float(plan: Plan, refusal: Refusal) -> Plan:
    """The same plan with nothing in int8."""
    return without(plan, lambda part: dict.fromkeys(part.chosen, refusal))


def op_text(part: fx.GraphModule, node: fx.Node) -> str:
    """The op as a user would write it: ``Conv2d``, ``relu``, ``.view``."""
    if node.op == "call_module":
        return type(part.get_submodule(str(node.target))).__name__
    if node.op == "call_method":
        return f".{node.target}"
    return getattr(node.target, "__name__", None) or (node.op if node.op != "call_function" else str(node.target))
