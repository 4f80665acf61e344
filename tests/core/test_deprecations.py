"""A hook that a later core deprecates warns of each function that implements it, or fails the plugin where it must."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pluggy

from fxq_core import discovery, hookspecs, loading

from support.distributions import Dists, hook, pattern

Install = Callable[..., None]


def deprecate(hook: str, text: str) -> types.SimpleNamespace:
    """The specs of a later core, in which one hook is deprecated."""
    specs = types.SimpleNamespace(**{name: spec for name, spec in vars(hookspecs).items() if name.startswith("fxq_")})
    mark = pluggy.HookspecMarker(hookspecs.PROJECT)
    old = types.FunctionType(getattr(specs, hook).__code__, {})
    setattr(specs, hook, mark(old, warn_on_impl=DeprecationWarning(text)))
    return specs


def test_a_deprecated_hook_warns_of_each_function_that_implements_it(dists: Dists, install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    install("fxq-beta", hook("fxq_observers", "yield ObserverSpec('o', MinMaxObserver)"))
    text = "fxq_patterns is deprecated since core API 1.3; write fxq_shapes instead"
    found = [one for one in discovery.find() if one.provider.dist in ("fxq-alpha", "fxq-beta")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        alpha, beta = (loading.load(one, deprecate("fxq_patterns", text)) for one in found)
    (warning,) = caught
    assert (warning.category, str(warning.message)) == (DeprecationWarning, text)
    assert warning.filename == str(dists.file("fxq_alpha"))
    assert "def fxq_patterns" in Path(warning.filename).read_text().splitlines()[warning.lineno]
    assert [record.name for record in alpha.records["fxq_patterns"]] == ["a"]
    assert [record.name for record in beta.records["fxq_observers"]] == ["o"]


def test_where_deprecations_are_errors_a_deprecated_hook_fails_its_plugin(install: Install) -> None:
    install("fxq-alpha", pattern("a"))
    (found,) = (one for one in discovery.find() if one.provider.dist == "fxq-alpha")
    failure = loading.load(found, deprecate("fxq_patterns", "it goes"))
    assert failure.error == "DeprecationWarning: it goes"
