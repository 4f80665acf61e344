"""The records that users write: a config, and the rules in it."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import Any

from fxq_core import files
from fxq_core.config import toml
from fxq_core.config.selectors import Selector, TypeName, as_selector, text
from fxq_core.errors import ConfigError, near_miss

FLOAT = "float"
WEIGHTS = (PER_CHANNEL, PER_TENSOR) = ("per-channel", "per-tensor")
NONFINITE = (ERROR, MASK) = ("error", "mask")
SETTINGS = ("observer", "weight", "weight_observer", "dtype")
SWITCHES = ("tune", "bias_correction", "equalize")


@dataclass(frozen=True, slots=True, repr=False)
class Rule:
    """Settings for what ``where`` selects.

    Each setting is settled by itself: where several rules give one for the same node, the most specific rule wins,
    whatever their order. From the most to the least specific:

    1. a function, which alone can look at each match and so decide anything;
    2. the exact path of the node's module;
    3. a path or glob that covers it, which is also a path above it: the one with more names, counted by dots, and
       of two with as many the one with more characters that are no wildcard;
    4. a module type;
    5. a pattern's name. A string that is both a path and a pattern's name counts as a path where it is one.

    Two that are equally specific and differ are an error. A match of several nodes stays float if any of its nodes
    does. The observer is that of the result, from rules for any of the nodes; values that share their qparams have
    one, settled among the rules for all of them. A weight's settings come from rules for the layer that holds it.

    A rule may select what is float for another reason, which is the plan's to tell and may differ between engines.
    One that selects int8 nodes of which none can heed a setting is an error.

    Args:
        where: a module path, which also selects everything below it; a glob over paths, in which ``*`` also stands for
            dots; a pattern's name; a module type, exactly; or a function of a ``Match`` that returns a bool.
        observer: the name of the observer that finds the range of the results.
        weight: "per-channel", one scale for each output channel, or "per-tensor", one in all. A transposed convolution
            always has one in all.
        weight_observer: the name of the observer that finds the ranges of the weight.
        dtype: "float" keeps it in float32; the engine's own dtype, "int8", undoes a less specific "float".

    Raises:
        ConfigError: the rule can't be meant, as far as it says without a model and an engine.
    """

    where: Selector
    _: KW_ONLY
    observer: str | None = None
    weight: str | None = None
    weight_observer: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", as_selector(self.where))
        given = self.settings()
        for name, value in given.items():
            if not isinstance(value, str):
                raise ConfigError(f"{self!r} has {value!r} for {name}, which takes a name as a string")
        if not given:
            raise ConfigError(f"{self!r} sets nothing; give it {', '.join(SETTINGS[:-1])} or {SETTINGS[-1]}")
        if self.weight is not None and self.weight not in WEIGHTS:
            raise ConfigError(
                f"{self!r} has an unknown weight scheme; the schemes are {' and '.join(map(repr, WEIGHTS))}"
            )
        if self.dtype == FLOAT and len(given) > 1:
            raise ConfigError(f"{self!r} keeps it in float, where nothing else can be set; drop one or the other")

    def settings(self) -> dict[str, str]:
        """The settings that are given, by name."""
        return {name: getattr(self, name) for name in SETTINGS if getattr(self, name) is not None}

    def __repr__(self) -> str:
        return f"Rule({', '.join((text(self.where), *(f'{n}={v!r}' for n, v in self.settings().items())))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings for one quantization.

    Args:
        skip: selectors of what stays float: each is short for ``Rule(selector, dtype="float")``.
        rules: settings for what they select.
        tune: whether ``quantize`` ends with ``tune`` on the example inputs, and stays float if that is faster still.
        nonfinite: what NaN and Inf among the values of a calibration batch are: "error", or "mask" to leave them out
            of the ranges and count them in the report. In a weight they are always an error.
        bias_correction: whether the bias of each int8 convolution and linear layer takes up what the rounding of its
            weight adds to its results on average, over the calibration batches; see ``fxq_core/correction.py``.
        equalize: whether the channels between two int8 layers, with nothing but ReLU or the like between them, are
            scaled so that the weights on either side have like sizes; it pays where layers have one weight scale in
            all. See ``fxq_core/equalization.py``.

    Raises:
        ConfigError: an entry can't be meant.
    """

    skip: tuple[Selector, ...] = ()
    rules: tuple[Rule, ...] = ()
    tune: bool = False
    nonfinite: str = ERROR
    bias_correction: bool = True
    equalize: bool = False

    def __post_init__(self) -> None:
        for name in SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(f"Config({name}={value!r}) is neither True nor False; write {name}=True")
        if self.nonfinite not in NONFINITE:
            raise ConfigError(
                f"Config(nonfinite={self.nonfinite!r}) is neither {ERROR!r} nor {MASK!r}; those are the choices"
            )
        for name, entry in (("skip", self.skip), ("rules", self.rules)):
            if not isinstance(entry, (tuple, list)):
                raise ConfigError(f"Config({name}=...) takes a tuple, not {entry!r}; write ({entry!r},)")
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ConfigError(
                    f"Config(rules=...) holds {rule!r}, which is no Rule; write Rule({rule!r}, observer=...)"
                )
        object.__setattr__(self, "skip", tuple(map(as_selector, self.skip)))
        object.__setattr__(self, "rules", tuple(self.rules))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        """Read a config from a TOML file; see ``from_toml``.

        Raises:
            ConfigError: the file can't be read or holds no config; the message names the file and the place.
        """
        return _from_toml(files.read(path, "config file"), f"config file {os.fspath(path)!r}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the config to a TOML file, which is replaced as a whole or not at all.

        Raises:
            ConfigError: a selector is a function, or the file can't be written.
        """
        files.write(path, self.to_toml(), "config file")

    @classmethod
    def from_toml(cls, source: str) -> Config:
        """Read a config from TOML: settings by their names, among them an array ``skip``, and a table ``[[rules]]``
        for each rule.

        In a rule, ``where`` is a path, a glob or a pattern's name, or ``type`` is the qualified name of a module type,
        which is compared with the types in the model and never imported; the settings are those of ``Rule``. In
        ``skip`` a type is written ``{type = "torch.nn.Conv2d"}``.

        Raises:
            ConfigError: it is no TOML, or no config; the message names the key.
        """
        return _from_toml(source, "the config's TOML")

    def to_toml(self) -> str:
        """The config as TOML, from which ``from_toml`` makes an equal one.

        Raises:
            ConfigError: a selector is a function.
        """
        skip = [_written(selector, f"skip's {text(selector)}") for selector in self.skip]
        rules = []
        for rule in self.rules:
            where = _written(rule.where, repr(rule))
            rules.append({**({"where": where} if isinstance(where, str) else where), **rule.settings()})
        settings: dict[str, str | bool] = {name: getattr(self, name) for name in (*SWITCHES, "nonfinite")}
        changed = {name: value for name, value in settings.items() if value != getattr(Config(), name)}
        return toml.dumps(changed, skip, rules)


def _written(selector: Selector, who: str) -> str | dict[str, str]:
    if isinstance(selector, str):
        return selector
    if isinstance(selector, TypeName):
        return {"type": selector.name}
    raise ConfigError(f"{who} can't be written to TOML, which holds no functions; select by path, type or pattern")


def _from_toml(source: str, who: str) -> Config:
    document = toml.loads(source, who)
    _check_keys(document, (*SWITCHES, "nonfinite", "skip", "rules"), who)
    switches = {name: document[name] for name in SWITCHES if name in document}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{who}: {name} is no boolean; write {name} = true")
    nonfinite = document.get("nonfinite", ERROR)
    if nonfinite not in NONFINITE:
        raise ConfigError(f'{who}: nonfinite is {nonfinite!r}; write "error" or "mask"')
    skip, rules = document.get("skip", []), document.get("rules", [])
    if not isinstance(skip, list):
        raise ConfigError(f"{who}: skip is no array; write skip = [...]")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ConfigError(f"{who}: rules is no array of tables; head each rule with [[rules]]")
    skipped = [_selector(entry, f"{who}: entry {number} of skip") for number, entry in enumerate(skip, 1)]
    made = [_rule(rule, f"{who}: rule {number}") for number, rule in enumerate(rules, 1)]
    return Config(skip=tuple(skipped), rules=tuple(made), nonfinite=nonfinite, **switches)


def _selector(entry: Any, who: str) -> Selector:
    if isinstance(entry, dict):
        _check_keys(entry, ("type",), who)
        entry = TypeName(entry["type"]) if isinstance(entry.get("type"), str) else None
    if not isinstance(entry, (str, TypeName)):
        raise ConfigError(f'{who} is neither a string nor a type; write "a.path" or {{type = "a.qualified.Name"}}')
    return entry


def _rule(table: dict[str, Any], who: str) -> Rule:
    _check_keys(table, ("where", "type", *SETTINGS), who)
    for key, value in table.items():
        if not isinstance(value, str):
            raise ConfigError(f'{who}: {key} is no string; write {key} = "..."')
    if ("where" in table) == ("type" in table):
        raise ConfigError(f"{who} needs either where or type, to say what it is for")
    where = table["where"] if "where" in table else TypeName(table["type"])
    try:
        return Rule(where, **{name: table[name] for name in SETTINGS if name in table})
    except ConfigError as error:
        raise ConfigError(f"{who}: {error}") from error


def _check_keys(table: dict[str, Any], known: tuple[str, ...], who: str) -> None:
    for key in table:
        if key not in known:
            hint = near_miss(key, known, f"the keys here are {', '.join(known)}")
            raise ConfigError(f"{who} has an unknown key {key!r}; {hint}")
