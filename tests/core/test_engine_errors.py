"""Where no engine can be chosen, it is said why, and what to install, mend or name instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import fxq_core as fxq
from fxq_core.engines import choose_engine, distribution_for

from support.choosing import FIRST, GLOBALS, plugin, registry
from support.distributions import ENTRY_POINTS, load

pytestmark = pytest.mark.usefixtures("torch_is_set_to_the_first")


NEWER = "[fxq]\nnewer = fxq_broken_kernels\n"


def broken() -> None:
    raise OSError("no device")


def refusal(found: fxq.Registry, name: str | None = None) -> str:
    with pytest.raises(fxq.EngineError) as caught:
        choose_engine(found, name)
    return str(caught.value)


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


@pytest.mark.parametrize("extra", ["cli", "testing"])
def test_an_extra_that_is_no_engines_is_nothing_to_install(extra: str, core: fxq.Registry) -> None:
    with pytest.raises(fxq.EngineError) as caught:
        choose_engine(core, extra)
    assert str(caught.value) == (
        f"engine {extra!r} is claimed by no installed plugin; known engines: 'reference'; "
        "others come with the plugin that brings them"
    )
