"""Rules and configs: what is refused when they are made, and what goes to TOML and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from torch import nn

import fxq_core as fxq
from fxq_core.config import TypeName


def is_head(match: fxq.Match) -> bool:
    return match.output.name == "head"


NO_SELECTOR = "selects nothing: use a path, a glob, a module type, a pattern name or a callable"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fxq.Config(skip="head"), "Config(skip=...) takes a tuple, not 'head'; write ('head',)"),
        (
            lambda: fxq.Config(rules=fxq.Rule("head", observer="minmax")),
            "Config(rules=...) takes a tuple, not Rule('head', observer='minmax'); "
            "write (Rule('head', observer='minmax'),)",
        ),
        (lambda: fxq.Config(tune=1), "Config(tune=1) is neither True nor False; write tune=True"),
        (lambda: fxq.Config(equalize="yes"), "Config(equalize='yes') is neither True nor False; write equalize=True"),
        (
            lambda: fxq.Config(bias_correction=None),
            "Config(bias_correction=None) is neither True nor False; write bias_correction=True",
        ),
        (lambda: fxq.Config(skip=(3,)), f"3 {NO_SELECTOR}"),
        (lambda: fxq.Config(skip=(int,)), f"<class 'int'> {NO_SELECTOR}"),
        (lambda: fxq.Rule(None, observer="minmax"), f"None {NO_SELECTOR}"),
        (lambda: fxq.Config(skip=(nn.ReLU(),)), f"ReLU() {NO_SELECTOR}"),
        (
            lambda: fxq.Config(rules=("head",)),
            "Config(rules=...) holds 'head', which is no Rule; write Rule('head', observer=...)",
        ),
        (
            lambda: fxq.Rule("head"),
            "Rule('head') sets nothing; give it observer, weight, weight_observer or dtype",
        ),
        (
            lambda: fxq.Rule(nn.Linear, dtype=8),
            "Rule(Linear, dtype=8) has 8 for dtype, which takes a name as a string",
        ),
        (
            lambda: fxq.Rule(is_head, weight="per-chanel"),
            "Rule(is_head, weight='per-chanel') has an unknown weight scheme; "
            "the schemes are 'per-channel' and 'per-tensor'",
        ),
        (
            lambda: fxq.Rule("head", observer="minmax", dtype="float"),
            "Rule('head', observer='minmax', dtype='float') keeps it in float, where nothing else can be set; "
            "drop one or the other",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused_when_it_is_made(make: Any, text: str) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        make()
    assert str(caught.value) == text


def test_a_list_will_do() -> None:
    rule = fxq.Rule("a", observer="minmax")
    assert fxq.Config(skip=["b"], rules=[rule]) == fxq.Config(skip=("b",), rules=(rule,))  # type: ignore[arg-type]


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["*", 'a"b', "\\u0041", "\r\n", "\x7f\x00"])
SELECTORS = TEXTS | st.builds(TypeName, TEXTS) | st.sampled_from([nn.Conv2d, nn.Linear])
RULES = st.builds(fxq.Rule, SELECTORS, dtype=st.just("float")) | st.builds(
    fxq.Rule,
    SELECTORS,
    observer=TEXTS,
    weight=st.sampled_from(["per-channel", "per-tensor", None]),
    weight_observer=TEXTS | st.none(),
    dtype=st.sampled_from(["int8", None]),
)
CONFIGS = st.builds(
    fxq.Config,
    skip=st.lists(SELECTORS, max_size=4).map(tuple),
    rules=st.lists(RULES, max_size=4).map(tuple),
    tune=st.booleans(),
    nonfinite=st.sampled_from(["error", "mask"]),
    bias_correction=st.booleans(),
    equalize=st.booleans(),
)


@given(CONFIGS)
def test_toml_gives_back_an_equal_config(config: fxq.Config) -> None:
    read = fxq.Config.from_toml(config.to_toml())
    assert read == config
    assert hash(read) == hash(config)
    assert read.to_toml() == config.to_toml()


def test_a_file_gives_back_an_equal_config(tmp_path: Path) -> None:
    config = fxq.Config(skip=('é"\r\n\u2028',), rules=(fxq.Rule(nn.Linear, observer="minmax"),))
    config.save(tmp_path / "c.toml")
    assert fxq.Config.load(tmp_path / "c.toml") == config
    assert fxq.Config.load(str(tmp_path / "c.toml")) == config


def test_the_toml_is_plain() -> None:
    rules = (
        fxq.Rule("stem.*", observer="histogram"),
        fxq.Rule(nn.Linear, weight="per-tensor", weight_observer="minmax", dtype="int8"),
    )
    assert fxq.Config(skip=("head.*", nn.ConvTranspose2d), rules=rules).to_toml() == (
        "skip = [\n"
        '    "head.*",\n'
        '    {type = "torch.nn.modules.conv.ConvTranspose2d"},\n'
        "]\n"
        "\n"
        "[[rules]]\n"
        'where = "stem.*"\n'
        'observer = "histogram"\n'
        "\n"
        "[[rules]]\n"
        'type = "torch.nn.modules.linear.Linear"\n'
        'weight = "per-tensor"\n'
        'weight_observer = "minmax"\n'
        'dtype = "int8"\n'
    )
    assert fxq.Config().to_toml() == ""
    assert fxq.Config(skip=("a",), tune=True).to_toml() == 'tune = true\n\nskip = [\n    "a",\n]\n'
    assert fxq.Config(bias_correction=False).to_toml() == "bias_correction = false\n"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (fxq.Config(skip=(is_head,)), "skip's is_head"),
        (fxq.Config(rules=(fxq.Rule(is_head, observer="minmax"),)), "Rule(is_head, observer='minmax')"),
    ],
)
def test_a_function_can_not_be_written(config: fxq.Config, text: str, tmp_path: Path) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        config.save(tmp_path / "c.toml")
    assert str(caught.value) == (
        f"{text} can't be written to TOML, which holds no functions; select by path, type or pattern"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('skp = ["a"]', " has an unknown key 'skp'; did you mean 'skip'?"),
        (
            "engine = 1",
            " has an unknown key 'engine'; the keys here are tune, bias_correction, equalize, nonfinite, skip, rules",
        ),
        ("tune = 1", ": tune is no boolean; write tune = true"),
        ("bias_correction = 0", ": bias_correction is no boolean; write bias_correction = true"),
        ('skip = "a"', ": skip is no array; write skip = [...]"),
        (
            'skip = ["a", 3]',
            ': entry 2 of skip is neither a string nor a type; write "a.path" or {type = "a.qualified.Name"}',
        ),
        (
            "skip = [{type = 3}]",
            ': entry 1 of skip is neither a string nor a type; write "a.path" or {type = "a.qualified.Name"}',
        ),
        ('skip = [{typ = "A"}]', ": entry 1 of skip has an unknown key 'typ'; did you mean 'type'?"),
        ('[rules]\nwhere = "a"', ": rules is no array of tables; head each rule with [[rules]]"),
        ('rules = ["a"]', ": rules is no array of tables; head each rule with [[rules]]"),
        ('[[rules]]\nwhere = "a"\nobsever = "b"', ": rule 1 has an unknown key 'obsever'; did you mean 'observer'?"),
        ('[[rules]]\nwhere = "a"\nobserver = 3', ': rule 1: observer is no string; write observer = "..."'),
        ('[[rules]]\nobserver = "b"', ": rule 1 needs either where or type, to say what it is for"),
        (
            '[[rules]]\nwhere = "a"\ntype = "b"\nobserver = "c"',
            ": rule 1 needs either where or type, to say what it is for",
        ),
        (
            '[[rules]]\nwhere = "a"\ndtype = "int8"\n[[rules]]\nwhere = "a"',
            ": rule 2: Rule('a') sets nothing; give it observer, weight, weight_observer or dtype",
        ),
    ],
)
def test_toml_that_is_no_config_is_refused_with_the_file_and_the_key(source: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(source)
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.Config.load(path)
    assert str(caught.value) == f"config file {str(path)!r}{text}"
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.Config.from_toml(source)
    assert str(caught.value) == f"the config's TOML{text}"
