"""Control: what is imported, what is left out and by what, what must be there; and which of these wins."""

from __future__ import annotations

import re
import types
from collections.abc import Callable

import pytest

import fxq_core as fxq

from support.distributions import load, pattern

Install = Callable[..., None]
BLOCKED = "block= names it"
DISABLED = "FXQ_DISABLE_PLUGINS is set"
NOT_ALLOWED = "FXQ_PLUGINS does not name it"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FXQ_DISABLE_PLUGINS", raising=False)
    monkeypatch.delenv("FXQ_PLUGINS", raising=False)


@pytest.fixture
def three(install: Install) -> None:
    """Two that work, and one whose import is always an error."""
    install("fxq-alpha", pattern("a"))
    install("fxq-beta", pattern("b"), entry_points="[fxq]\nb.ops = fxq_beta\n")
    install("fxq-crash", "raise RuntimeError('imported')")


def outcome(*block: str, **how: object) -> tuple[list[str], dict[str, str]]:
    """The plugins that were loaded, and why each of the others was not."""
    registry = load(*block, **how)
    assert registry.failures == ()
    loaded = [plugin.provider.dist for plugin in registry.plugins]
    return loaded[1:], {out.provider.dist: out.reason for out in registry.left_out}


def test_disabling_leaves_out_every_installed_plugin(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    assert outcome() == ([], {"fxq-alpha": DISABLED, "fxq-beta": DISABLED, "fxq-crash": DISABLED})


@pytest.mark.parametrize("value", ["", "0", " "])
def test_disabling_can_be_undone_without_unsetting_the_variable(
    value: str, three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", value)
    assert outcome("fxq-crash") == (["fxq-alpha", "fxq-beta"], {"fxq-crash": BLOCKED})


@pytest.mark.parametrize("value", ["yes", "false", "2"])
def test_a_value_that_could_mean_either_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", value)
    with pytest.raises(fxq.PluginError) as caught:
        load()
    assert str(caught.value) == (
        f"FXQ_DISABLE_PLUGINS is {value!r}; set it to 1 to import no installed plugin, or unset it"
    )


@pytest.mark.parametrize("value", ["fxq-alpha,fxq-beta", " FXQ_Alpha , b_ops,", "alpha,B.Ops", "fxq.beta,alpha,alpha"])
def test_the_allow_list_names_distributions_and_entry_points_however_they_are_spelled(
    value: str, three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", value)
    assert outcome() == (["fxq-alpha", "fxq-beta"], {"fxq-crash": NOT_ALLOWED})


@pytest.mark.parametrize("value", ["", " ", ",", " , "])
def test_an_allow_list_without_names_is_none(value: str, three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", value)
    assert outcome("crash") == (["fxq-alpha", "fxq-beta"], {"fxq-crash": BLOCKED})


@pytest.mark.parametrize(
    ("name", "hint"), [("fxq-alpa", "did you mean 'fxq-alpha'?"), ("Teapot", "pip install teapot")]
)
def test_an_allow_list_that_names_what_is_not_installed_is_warned_of(
    name: str, hint: str, three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", f"alpha,{name}")
    with pytest.warns(fxq.PluginWarning) as caught:
        assert outcome()[0] == ["fxq-alpha"]
    assert [str(warning.message) for warning in caught] == [
        f"FXQ_PLUGINS names {name!r}, which is not installed; {hint}"
    ]
    assert caught[0].filename.endswith("distributions.py"), "it points at the line that calls fxq"


def test_block_counts_most_then_disabling_then_the_allow_list(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXQ_PLUGINS", "fxq-alpha,fxq-beta")
    assert outcome("fxq-alpha") == (["fxq-beta"], {"fxq-alpha": BLOCKED, "fxq-crash": NOT_ALLOWED})
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    assert outcome("fxq-alpha") == ([], {"fxq-alpha": BLOCKED, "fxq-beta": DISABLED, "fxq-crash": DISABLED})


def test_what_the_caller_gives_is_loaded_whatever_is_set(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = types.ModuleType("mine")
    exec(pattern("m"), mine.__dict__)
    monkeypatch.setenv("FXQ_DISABLE_PLUGINS", "1")
    monkeypatch.setenv("FXQ_PLUGINS", "alpha")
    assert outcome("mine", plugins=(mine,))[0] == ["mine"]
    assert outcome(plugins=(mine,), required=("mine", "fxq-core", "core"))[0] == ["mine"]


def test_of_two_namesakes_the_one_that_is_left_out_is_in_nobodys_way(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fxq-alpha", pattern("a"), entry_points="[fxq]\nops = fxq_alpha\n")
    install("fxq-beta", pattern("b"), entry_points="[fxq]\nops = fxq_beta\n")
    monkeypatch.setenv("FXQ_PLUGINS", "fxq-beta")
    assert outcome() == (["fxq-beta"], {"fxq-alpha": NOT_ALLOWED})


@pytest.mark.parametrize("name", ["fxq-alpha", "FXQ_alpha", "alpha", "b-ops", "Fxq.Beta"])
def test_what_is_required_and_there_is_loaded(name: str, three: None) -> None:
    assert outcome("crash", required=(name,))[0] == ["fxq-alpha", "fxq-beta"]


def refusal(*block: str, **how: object) -> str:
    with pytest.raises(fxq.PluginError) as caught:
        load(*block, strict=False, **how)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"), [("fxq-alpa", "did you mean 'fxq-alpha'?"), ("Teapot", "pip install teapot")]
)
def test_what_is_required_and_not_installed(name: str, hint: str, three: None) -> None:
    assert refusal("crash", required=(name,)) == f"plugin {name!r} is required, but not installed; {hint}"


@pytest.mark.parametrize("name", ["fxq-crash", "CRASH"])
def test_what_is_required_and_failed(name: str, three: None) -> None:
    """Without a warning of the same besides: warnings are errors here."""
    assert refusal(required=(name,)) == (
        f"plugin {name!r} is required, but fxq-crash 1.0 failed to load: RuntimeError: imported; mend or reinstall "
        "fxq-crash"
    )


def test_what_is_required_and_blocked(three: None) -> None:
    assert refusal("alpha", "crash", required=("fxq-alpha",)) == (
        "plugin 'fxq-alpha' is required, but fxq-alpha 1.0 is left out: block= names it; take it out of block="
    )


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("FXQ_DISABLE_PLUGINS", "1", "FXQ_DISABLE_PLUGINS is set; unset FXQ_DISABLE_PLUGINS"),
        ("FXQ_PLUGINS", "b-ops", "FXQ_PLUGINS does not name it; add it to FXQ_PLUGINS, or unset that"),
    ],
)
def test_what_is_required_and_left_out_by_the_environment(
    variable: str, value: str, text: str, three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert refusal(required=("alpha",)) == f"plugin 'alpha' is required, but fxq-alpha 1.0 is left out: {text}"


def test_a_required_distribution_is_required_as_a_whole(install: Install) -> None:
    install("fxq-alpha", pattern("a"), entry_points="[fxq]\na = fxq_alpha\nz = fxq_not_here\n")
    assert refusal(required=("fxq-alpha",)) == (
        "plugin 'fxq-alpha' is required, but fxq-alpha 1.0 failed to load: ModuleNotFoundError: No module named "
        "'fxq_not_here'; mend or reinstall fxq-alpha"
    )
    with pytest.warns(fxq.PluginWarning):
        assert load(strict=False, required=("a",)).patterns["a"].provider.entry_point == "a"


@pytest.mark.parametrize("argument", ["block", "required"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fxq-alpha", "{0} takes a tuple of names, not 'fxq-alpha'; write {0}=('fxq-alpha',)"),
        ((3,), "{0} takes names of distributions or entry points, not 3"),
    ],
)
def test_what_is_no_tuple_of_names_is_refused(argument: str, value: object, text: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(text.format(argument))}$"):
        fxq.load_plugins(**{argument: value})


def test_strict_is_remembered(three: None) -> None:
    assert load("crash").strict is True
    assert load("crash", strict=False).strict is False
    assert fxq.load_plugins(block=("crash",)).strict is False


def test_a_registry_says_what_was_left_out_and_why(three: None) -> None:
    assert str(load("alpha", "crash")).splitlines()[-2:] == [
        f"left out: fxq-alpha 1.0: {BLOCKED}",
        f"left out: fxq-crash 1.0: {BLOCKED}",
    ]
