"""Which engine is chosen, and what is said where none can be; torch's own choice is never changed."""

from __future__ import annotations

import dataclasses
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.engines import choose_engine, distribution_for, why_unusable
from fxq_core.reference import REFERENCE

from support.distributions import ENTRY_POINTS, load

# any two engines that torch may be switched to here
GLOBALS = sorted(set(torch.backends.quantized.supported_engines) - {"none"})
FIRST, SECOND = GLOBALS[0], GLOBALS[-1]
two_engines = pytest.mark.skipif(len(GLOBALS) < 2, reason="this build of torch has fewer than two engines")


NEWER = "[fxq]\nnewer = fxq_broken_kernels\n"


def broken() -> None:
    raise OSError("no device")


def plugin(*names: str, reject: Callable[[], Any] = REFERENCE.reject) -> Any:
    """A plugin with engines that compute like the reference; named like its engines."""
    engines = [dataclasses.replace(REFERENCE, name=name, reject=reject) for name in names]
    return types.SimpleNamespace(
        __name__="-".join(names), fxq_engines=fxq.hookimpl(lambda: iter(engines), specname="fxq_engines")
    )


def registry(*plugins: Any) -> fxq.Registry:
    return load(plugins=plugins)


@pytest.fixture(autouse=True)
def first() -> Iterator[None]:
    """torch is set to ``FIRST``, and still is afterwards, whatever was chosen or refused."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = FIRST
    yield
    after = torch.backends.quantized.engine
    torch.backends.quantized.engine = before
    assert after == FIRST


def refusal(found: fxq.Registry, name: str | None = None) -> str:
    with pytest.raises(fxq.EngineError) as caught:
        choose_engine(found, name)
    return str(caught.value)


def test_an_engine_is_chosen_by_name() -> None:
    assert choose_engine(registry(plugin("abacus"), plugin(FIRST)), "abacus").name == "abacus"
    assert choose_engine(registry(), "reference").name == "reference"


def test_without_a_name_it_is_torchs_own() -> None:
    assert choose_engine(registry(plugin("abacus"), plugin(FIRST)), None).name == FIRST


@two_engines
def test_it_is_what_torch_names_at_that_moment() -> None:
    found = registry(plugin(FIRST, SECOND))
    torch.backends.quantized.engine = SECOND
    assert choose_engine(found, None).name == SECOND
    torch.backends.quantized.engine = FIRST
    assert choose_engine(found, None).name == FIRST


@two_engines
def test_the_only_other_engine_of_torchs_serves_with_a_warning() -> None:
    with pytest.warns(fxq.EngineWarning) as caught:
        assert choose_engine(registry(plugin(SECOND), plugin("abacus")), None).name == SECOND
    assert [str(w.message) for w in caught] == [
        f"torch's engine is {FIRST!r}, which is claimed by no installed plugin; using {SECOND!r} of {SECOND}"
    ]


@two_engines
def test_the_warning_says_why_torchs_own_does_not_serve() -> None:
    found = registry(plugin(FIRST, reject=lambda: "the sun is too low"), plugin(SECOND))
    with pytest.warns(fxq.EngineWarning) as caught:
        assert choose_engine(found, None).name == SECOND
    assert str(caught[0].message) == (
        f"torch's engine is {FIRST!r}, which can't run here: the sun is too low; using {SECOND!r} of {SECOND}"
    )


@two_engines
@pytest.mark.parametrize("stage", [fxq.quantize, fxq.Quantizer])
def test_the_warning_points_at_the_line_that_chose(stage: Callable[..., Any]) -> None:
    found = registry(plugin(SECOND))
    with pytest.warns(fxq.EngineWarning) as caught:
        stage(nn.Linear(3, 2).eval(), [torch.rand(2, 3)], registry=found)
    assert caught[0].filename == __file__


@pytest.mark.skipif(len(GLOBALS) < 3, reason="this build of torch has fewer than three engines")
def test_of_several_others_none_is_chosen() -> None:
    one, other = GLOBALS[1:3]
    assert refusal(registry(plugin(one, other, "abacus"), plugin("dead", reject=lambda: "no"))) == (
        f"torch's engine is {FIRST!r}, which is claimed by no installed plugin; "
        f"choose one of {', '.join(map(repr, sorted((one, other, 'abacus'))))} with engine=..."
    )


@pytest.mark.skipif("x86" not in GLOBALS, reason="this build of torch has no engine x86")
def test_an_engine_that_torch_does_not_know_is_only_used_when_named() -> None:
    torch.backends.quantized.engine = "x86"
    text = refusal(registry(plugin("abacus")))
    torch.backends.quantized.engine = FIRST
    assert text == (
        "torch's engine is 'x86', which is claimed by no installed plugin; pip install fxq-fbgemm, or choose one of "
        "'abacus' with engine=..."
    )


@pytest.mark.skipif("x86" not in GLOBALS, reason="this build of torch has no engine x86")
def test_without_any_it_says_what_to_install() -> None:
    torch.backends.quantized.engine = "x86"
    text = refusal(registry())
    torch.backends.quantized.engine = FIRST
    assert text == "torch's engine is 'x86', which is claimed by no installed plugin; pip install fxq-fbgemm"


def test_the_reference_engine_is_only_used_when_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(registry()).startswith(f"torch's engine is {FIRST!r}, which is claimed by no installed plugin;")


@pytest.mark.parametrize(
    ("name", "dist"),
    [
        ("fbgemm", "fxq-fbgemm"),
        ("x86", "fxq-fbgemm"),
        ("onednn", "fxq-fbgemm"),
        ("qnnpack", "fxq-qnnpack"),
        ("openvino", "fxq-openvino"),
    ],
)
def test_what_to_install_for_an_engine_is_in_the_cores_own_metadata(name: str, dist: str) -> None:
    assert distribution_for(name) == dist
    assert refusal(registry(), name) == f"engine {name!r} is claimed by no installed plugin; pip install {dist}"


def test_an_unknown_engine_is_told_from_those_that_are_known() -> None:
    assert distribution_for("tpu") is None
    assert refusal(registry(plugin("abacus")), "tpu") == (
        "engine 'tpu' is claimed by no installed plugin; known engines: 'abacus', 'reference'; "
        "others come with the plugin that brings them"
    )


def test_a_name_that_is_no_text_is_unknown_too() -> None:
    assert refusal(registry(), 3) == (
        "engine 3 is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them"
    )


@pytest.mark.parametrize("dist", ["fxq-fbgemm", "fxq_fbgemm"])
def test_an_engine_whose_plugin_failed_says_so(dist: str, install: Callable[..., None]) -> None:
    install(dist, "raise ImportError('no kernel')", version="9.9", entry_points=NEWER, module="fxq_broken_kernels")
    with pytest.warns(fxq.PluginWarning):
        # a block by distribution would hide this one, too
        found = fxq.load_plugins(block=[entry_point.name for entry_point in ENTRY_POINTS])
    assert refusal(found, "fbgemm") == (
        f"engine 'fbgemm' comes from {dist} 9.9, which failed to load: ImportError: no kernel; "
        "mend or reinstall fxq-fbgemm"
    )


def test_an_unknown_engine_may_be_one_of_a_plugin_that_failed(install: Callable[..., None]) -> None:
    install("fxq-tpu", "raise ImportError('no kernel')")
    with pytest.warns(fxq.PluginWarning):
        found = load(strict=False)
    assert refusal(found, "tpu") == (
        "engine 'tpu' is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them, and fxq-tpu 1.0 failed to load: ImportError: no kernel"
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("FXQ_DISABLE_PLUGINS", "FXQ_DISABLE_PLUGINS is set; unset FXQ_DISABLE_PLUGINS"),
        ("FXQ_PLUGINS", "FXQ_PLUGINS does not name it; add it to FXQ_PLUGINS, or unset that"),
        (None, "block= names it; take it out of block="),
    ],
)
def test_an_engine_whose_plugin_was_left_out_says_by_what(
    variable: str | None, text: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        "fxq-fbgemm", "raise ImportError('no kernel')", version="9.9", entry_points=NEWER, module="fxq_broken_kernels"
    )
    install("other", "from fxq_core import hookimpl\n@hookimpl\ndef fxq_patterns():\n    return ()")
    if variable:
        monkeypatch.setenv(variable, {"FXQ_PLUGINS": "other"}.get(variable, "1"))
    found = fxq.load_plugins(block=() if variable else ("newer", *(entry_point.name for entry_point in ENTRY_POINTS)))
    assert refusal(found, "fbgemm") == f"engine 'fbgemm' comes from fxq-fbgemm 9.9, which is left out: {text}"


def test_an_unknown_engine_may_be_one_of_a_plugin_that_was_left_out(install: Callable[..., None]) -> None:
    install("fxq-tpu", "raise ImportError('no kernel')")
    assert refusal(load("tpu"), "tpu") == (
        "engine 'tpu' is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them, and fxq-tpu 1.0 is left out: block= names it"
    )


def test_an_engine_that_cannot_run_here_says_why() -> None:
    found = registry(plugin("tpu", reject=lambda: "there is no TPU"), plugin("abacus"))
    assert refusal(found, "tpu") == "engine 'tpu' of tpu can't run here: there is no TPU; usable engines: 'abacus'"
    found = registry(plugin("tpu", reject=lambda: "there is no TPU"))
    assert refusal(found, "tpu") == "engine 'tpu' of tpu can't run here: there is no TPU; usable engines: none"


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (broken, "its check failed with OSError: no device"),
        (leave, "its check failed with SystemExit: 3"),
        (lambda: True, "its check returned True, which is neither a sentence nor None"),
        (lambda: False, "its check returned False, which is neither a sentence nor None"),
        (lambda: " ", "its check returned ' ', which is neither a sentence nor None"),
        (lambda: "first\n  second", "first second"),
        (lambda: "", "its check returned '', which is neither a sentence nor None"),
    ],
)
def test_an_engine_whose_own_check_fails_cannot_run_here(check: Callable[[], Any], text: str) -> None:
    found = registry(plugin("tpu", reject=check), plugin("abacus"))
    assert refusal(found, "tpu") == f"engine 'tpu' of tpu can't run here: {text}; usable engines: 'abacus'"


def test_a_fake_engine_quantizes() -> None:
    lowered = fxq.quantize(nn.Linear(3, 2).eval(), [torch.rand(2, 3)], "abacus", registry=registry(plugin("abacus")))
    assert str(fxq.report(lowered)).splitlines()[0] == "engine abacus (abacus): 1 of 3 nodes in int8"


@pytest.mark.parametrize("extra", ["cli", "testing"])
def test_an_extra_that_is_no_engines_is_nothing_to_install(extra: str, core: fxq.Registry) -> None:
    with pytest.raises(fxq.EngineError) as caught:
        choose_engine(core, extra)
    assert str(caught.value) == (
        f"engine {extra!r} is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them"
    )


def test_why_an_engine_is_unusable_is_told_without_choosing_one(core: fxq.Registry) -> None:
    assert why_unusable(core, "reference") is None
    assert why_unusable(core, "tiny") == (
        "is claimed by no installed plugin; known engines: 'reference'; others come with the plugin that brings them"
    )
