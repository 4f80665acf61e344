"""A config at work in one plan: which rule is for which node, which of several wins, and which is a mistake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from torch import fx, nn

from fxq_core import spellings
from fxq_core.config.claims import Claim, claims_on, claims_on_value, rank_of, winner
from fxq_core.config.records import FLOAT, PER_CHANNEL, PER_TENSOR, Config, Rule
from fxq_core.config.seen import Seen
from fxq_core.config.selectors import text
from fxq_core.errors import ConfigError, one_line
from fxq_core.registry import Registry
from fxq_core.types import Engine, Match, QSpec

TRANSPOSED = spellings.CONV_TRANSPOSE1D | spellings.CONV_TRANSPOSE2D | spellings.CONV_TRANSPOSE3D
IDLE = {
    "observer": "the int8 nodes that it selects keep the range of their inputs, or have a fixed one",
    "weight": "no int8 node that it selects has a weight that could have this scheme",
    "weight_observer": "no int8 node that it selects has a weight",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What a config sets in one part.

    ``observers`` holds the observer of a group of values that share their qparams, ``weights`` the spec of the weight
    of a match by the match's last node, and ``given`` the settings that a node got from rules, by name.
    """

    observers: dict[int, str] = field(default_factory=dict)
    weights: dict[fx.Node, QSpec] = field(default_factory=dict)
    given: dict[fx.Node, dict[str, str]] = field(default_factory=dict)

    def reason(self, node: fx.Node) -> str:
        """The settings that a node got, in words, or ""."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.given.get(node, {}).items())
        return given and f"the config sets {given}"


class ConfigUse:
    """Answers the plan's questions, and remembers which rules had something to select.

    Raises:
        ConfigError: a rule asks for what the engine or the registry does not have.
    """

    def __init__(self, config: Config, registry: Registry, engine: Engine) -> None:
        self.rules = (*(Rule(selector, dtype=FLOAT) for selector in config.skip), *config.rules)
        self.config, self.registry, self.engine = config, registry, engine
        self.seen = Seen()
        self.used: set[int] = set()
        self.asked: set[tuple[int, str]] = set()
        self.heeded: set[tuple[int, str]] = set()
        for rule in self.rules:
            self._check_rule(rule)

    def _check_rule(self, rule: Rule) -> None:
        for name in (rule.observer, rule.weight_observer):
            if name is not None and name not in self.registry.observers:
                installed = ", ".join(sorted(self.registry.observers))
                raise ConfigError(f"there is no observer {name!r}; installed: {installed}")
        engine = f"engine {self.engine.name!r} of {self.engine.provider}"
        dtype = str(self.engine.weight.dtype).removeprefix("torch.")
        if rule.dtype not in (None, FLOAT, dtype):
            raise ConfigError(f"{rule!r} asks for another dtype than {engine} takes: {dtype!r} or {FLOAT!r}")
        if rule.weight == PER_CHANNEL and self.engine.weight.axis is None:
            raise ConfigError(f"{rule!r} asks for another scheme than {engine} takes: {PER_TENSOR!r}")

    def see(self, path: str, module: nn.Module | None) -> None:
        """Note what stands in the model, quantized or not: to select what is float anyway is no mistake."""
        self.seen.paths[path] = None
        if module is not None:
            self.seen.types[type(module)] = None
        for number, rule in enumerate(self.rules):
            if rank_of(rule.where, path, module) is not None:
                self.used.add(number)

    def skips(self, part: str, match: Match) -> str | None:
        """Why the user wants this match in float, or None."""
        claims = self._claims(part, match)
        for node in match.nodes:
            rule = winner("dtype", [claim for claim in claims if claim.node is node])
            if rule is not None and rule.dtype == FLOAT:
                return f"the config skips {text(rule.where)}"
        return None

    def settle(self, part: str, chosen: Collection[Match], sources: Mapping[fx.Node, int]) -> Settled:
        """What the rules set for what is quantized.

        Args:
            part: the path of the part.
            chosen: the matches that are quantized.
            sources: the values that are observed, each with the group of values that share its qparams.
        """
        settled = Settled()
        by_group: dict[int, list[Claim]] = defaultdict(list)
        for match in chosen:
            claims = self._claims(part, match)
            observed = claims if match.output in sources else []
            self._note("observer", claims, observed)
            if observed:
                by_group[sources[match.output]] += (claim._replace(node=match.output) for claim in observed)
            self._settle_weight(match, claims, settled)
        outputs = {match.output for match in chosen}
        for node, group in sources.items():
            if node not in outputs:  # an input, a constant or what a float op gives
                claims = claims_on_value(self.rules, part, node)
                self._note("observer", claims, claims)
                by_group[group] += claims
        for group, claims in by_group.items():
            rule = winner("observer", claims)
            if rule is not None and rule.observer is not None:
                settled.observers[group] = rule.observer
        for node, group in sources.items():
            if group in settled.observers:
                settled.given.setdefault(node, {})["observer"] = settled.observers[group]
        return settled

    def check(self) -> None:
        """Refuse a rule that selected nothing, or that sets what nothing it selected can heed.

        Raises:
            ConfigError: naming the selector and what is spelled like it, or the rule and why it has no effect.
        """
        for number, rule in enumerate(self.rules):
            if number not in self.used:
                hint = self.seen.hint(rule.where)
                raise ConfigError(f"the config selects {text(rule.where)}, which matches nothing in this model; {hint}")
        for number, setting in sorted(self.asked - self.heeded):
            raise ConfigError(f"{self.rules[number]!r} sets {setting} without effect: {IDLE[setting]}; drop it")

    def _settle_weight(self, match: Match, claims: list[Claim], settled: Settled) -> None:
        layers = {n: m for n, m in zip(match.nodes, match.modules, strict=True) if m is not None and m.state_dict()}
        # kernels for transposed convolutions take one scale in all
        transposed = any(type(module) in TRANSPOSED for module in layers.values())
        on_layer = [claim for claim in claims if claim.node in layers]
        schemes = [c for c in on_layer if not (transposed and c.rule.weight == PER_CHANNEL)]
        self._note("weight", claims, schemes)
        self._note("weight_observer", claims, on_layer)
        scheme, observer = winner("weight", schemes), winner("weight_observer", on_layer)
        given = {}
        spec = self.engine.weight
        if scheme is not None and scheme.weight is not None:
            given["weight"] = scheme.weight
        if transposed or given.get("weight") == PER_TENSOR:
            spec = replace(spec, axis=None)
        if observer is not None and observer.weight_observer is not None:
            given["weight_observer"] = observer.weight_observer
            spec = replace(spec, observer=observer.weight_observer)
            self._check_observer(observer, spec, match)
        if layers:
            settled.weights[match.output] = spec
        if given:
            settled.given[match.output] = given

    def _check_observer(self, rule: Rule, spec: QSpec, match: Match) -> None:
        try:
            self.registry.observers[spec.observer].build(spec)
        except Exception as error:
            scheme = PER_TENSOR if spec.axis is None else PER_CHANNEL
            raise ConfigError(
                f"{rule!r} can't observe the weight of node {match.output.name!r}, which is {scheme} "
                f"({one_line(error)}); take another weight_observer or weight scheme"
            ) from error

    def _note(self, setting: str, claims: list[Claim], heeded: list[Claim]) -> None:
        for noted, some in ((self.asked, claims), (self.heeded, heeded)):
            noted.update((c.number, setting) for c in some if getattr(c.rule, setting) is not None)

    def _claims(self, part: str, match: Match) -> list[Claim]:
        self.seen.patterns[match.pattern.name] = None
        claims = claims_on(self.rules, part, match)
        self.used.update(claim.number for claim in claims)
        return claims
