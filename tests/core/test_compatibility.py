"""A plugin says for which core it is made: before any of its hooks runs, and when its import fails."""

from __future__ import annotations

import types
from collections.abc import Callable

import importlib_metadata
import pytest

import fxq_core as fxq

from support.distributions import hook, load

Install = Callable[..., None]
VERSION = importlib_metadata.version("fxq-core")
HOOK = hook("fxq_patterns", "raise RuntimeError('a hook ran')")
PATTERN = hook("fxq_patterns", "yield Pattern('celu', nn.CELU)")


def failure(**given: object) -> str:
    with pytest.warns(fxq.PluginWarning):
        (failed,) = load(strict=False, **given).failures
    return failed.error


def test_the_interface_has_a_version_of_its_own() -> None:
    assert fxq.API_VERSION == "1.0"


@pytest.mark.parametrize("api", [">=1,<2", "~=1.0", "==1.*", "==1.0", ">=1", "<2", "", "!=1.1"])
def test_a_plugin_for_this_core_api_is_loaded(api: str, install: Install) -> None:
    install("fxq-alpha", f"FXQ_API = {api!r}\n{PATTERN}")
    registry = load()
    assert registry.patterns["celu"].provider.dist == "fxq-alpha"
    assert registry.plugins[-1].api == api


@pytest.mark.parametrize(
    ("api", "older"),
    [
        (">=2,<3", "fxq-core"),
        (">1.0", "fxq-core"),
        ("~=1.1", "fxq-core"),
        ("==2.*", "fxq-core"),
        (">=1.0.1", "fxq-core"),
        ("<1", "fxq-alpha"),
        (">=0.3,<1", "fxq-alpha"),
        ("~=0.9", "fxq-alpha"),
        ("==0.*", "fxq-alpha"),
        ("!=1.0", "fxq-alpha"),
    ],
)
def test_a_plugin_for_another_core_api_is_disabled_before_any_hook_runs(api: str, older: str, install: Install) -> None:
    install("fxq-alpha", f"FXQ_API = {api!r}\n{HOOK}")
    assert failure() == (f"it is made for the core API {api}, but fxq-core has 1.0; pip install --upgrade {older}")


@pytest.mark.parametrize("api", ["1.x", "newest", 1, None, (">=1",)])
def test_a_range_that_is_none_is_a_failure(api: object, install: Install) -> None:
    install("fxq-alpha", f"FXQ_API = {api!r}\n{HOOK}")
    assert failure() == f"its FXQ_API is {api!r}, but must be a range of versions such as '>=1,<2'"


def test_a_plugin_that_is_an_object_states_it_in_its_module_or_itself(install: Install) -> None:
    source = "class Plugin:\n" + "".join(f"    {line}\n" for line in HOOK.replace("():", "(self):").splitlines())
    points = "[fxq]\nalpha = fxq_alpha:PLUGIN\n"
    install("fxq-alpha", f"FXQ_API = '>=2'\n{source}\nPLUGIN = Plugin()\n", entry_points=points)
    text = "it is made for the core API >=2, but fxq-core has 1.0; pip install --upgrade fxq-core"
    assert failure() == text
    mine = types.SimpleNamespace(__name__="mine", FXQ_API=">=2")
    assert load("fxq-alpha").failures == ()
    with pytest.warns(fxq.PluginWarning):
        (failed,) = load("fxq-alpha", plugins=(mine,), strict=False).failures
    assert failed.error == text


def test_one_that_is_given_and_older_has_no_distribution_to_upgrade() -> None:
    mine = types.SimpleNamespace(__name__="mine", FXQ_API="<1")
    assert failure(plugins=(mine,)) == (
        "it is made for the core API <1, but fxq-core has 1.0; give one that is made for it"
    )


@pytest.mark.parametrize(
    ("requires", "stated", "older"),
    [
        ("fxq-core>=99", ">=99", "fxq-core"),
        ("FXQ_Core >= 99", ">=99", "fxq-core"),
        ("fxq-core<0.0.1", "<0.0.1", "fxq-alpha"),
        ("fxq-core>=99; python_version > '3'", ">=99", "fxq-core"),
        ("fxq-core>=99; python_version < '3'", None, ""),
        ("fxq-core>=99; extra == 'more'", None, ""),
        (f"fxq-core>={VERSION}", None, ""),
        ("fxq-core", None, ""),
        ("torch>=99", None, ""),
        ("fxq-core>>>1", None, ""),
    ],
)
def test_an_import_that_fails_for_want_of_another_core_says_so(
    requires: str, stated: str | None, older: str, install: Install
) -> None:
    install("fxq-alpha", "from fxq_core import Teapot", requires=("pluggy", requires))
    hint = f"; it requires fxq-core{stated}, but {VERSION} is installed; pip install --upgrade {older}"
    error = failure()
    assert error.startswith("ImportError: cannot import name 'Teapot' from 'fxq_core' (")
    assert error.partition(")")[2] == (hint if stated else "")


def test_a_plugin_that_works_may_ask_for_another_core(install: Install) -> None:
    install("fxq-alpha", PATTERN, requires=("fxq-core>=99",))
    assert load().failures == ()
