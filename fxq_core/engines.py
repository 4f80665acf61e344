"""Which engine: the one asked for, else the one torch names, else the only one that works."""

from __future__ import annotations

import importlib_metadata
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fxq_core.control import REMEDIES
from fxq_core.errors import EngineError, EngineWarning, one_line, shown, warn
from fxq_core.reference import REFERENCE
from fxq_core.registry import Registry
from fxq_core.types import Engine


def choose_engine(registry: Registry, name: str | None) -> Engine:
    """Choose an engine that can run here.

    Args:
        name: an engine's name, or None for the one that ``torch.backends.quantized.engine`` names if a plugin claims
            it and it works, otherwise the only one of torch's own engines that is installed and works. An engine
            that torch does not know, such as the reference, is only taken when it is named.

    Raises:
        EngineError: unknown, not installed, unable to run here, or more than one to choose from.
    """
    if name is not None:
        return _named(registry, name)
    current = torch.backends.quantized.engine
    if current in registry.engines and _refusal(registry.engines[current]) is None:
        return registry.engines[current]
    usable = _usable(registry)
    torchs = [name for name in usable if name in advertised()]
    if len(torchs) == 1:
        engine = registry.engines[torchs[0]]
        text = f"torch's engine is {current!r}, which {_state(registry, current)}; "
        text += f"using {engine.name!r} of {engine.provider}"
        warn(EngineWarning(text))
        return engine
    named = f"choose one of {', '.join(map(repr, usable))} with engine=..." if usable else ""
    ways = (named,) if torchs else (_remedy(registry, current), named)
    raise EngineError(
        f"torch's engine is {current!r}, which {_state(registry, current)}; {', or '.join(filter(None, ways))}"
    )


def advertised() -> set[str]:
    """The engines that this build of torch says it has; that is no proof that they work."""
    return set(torch.backends.quantized.supported_engines) - {"none"}


def why_unusable(registry: Registry, name: str) -> str | None:
    """Why an engine, installed or not, can't be used here, and what to do about it; None if it can."""
    if name in registry.engines:
        return _refusal(registry.engines[name])
    return f"{_state(registry, name)}; {_remedy(registry, name)}"


def _named(registry: Registry, name: str) -> Engine:
    engine = registry.engines.get(name)
    if engine is None:
        raise EngineError(f"engine {name!r} {why_unusable(registry, name)}")
    if reason := _refusal(engine):
        others = ", ".join(map(repr, _usable(registry))) or "none"
        raise EngineError(f"engine {name!r} of {engine.provider} can't run here: {reason}; usable engines: {others}")
    return engine


def _usable(registry: Registry) -> list[str]:
    """The engines that plugins bring and that can run here; the reference engine is never chosen by itself."""
    return sorted(n for n, e in registry.engines.items() if n != REFERENCE.name and _refusal(e) is None)


def _refusal(engine: Engine) -> str | None:
    """Why an engine can't run here; a check that fails is a reason too, and costs only its own engine."""
    try:
        reason = engine.reject()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also one that calls sys.exit()
        return f"its check failed with {one_line(error)}"
    if reason is None:
        return None
    if isinstance(reason, str) and reason.strip():
        return " ".join(reason.split())
    return f"its check returned {shown(reason)}, which is neither a sentence nor None"


def _state(registry: Registry, name: str) -> str:
    if name in registry.engines:
        return f"can't run here: {_refusal(registry.engines[name])}"
    dist = distribution_for(name)
    for failure in registry.failures:
        if canonicalize_name(failure.provider.dist) == dist:
            return f"comes from {failure.provider}, which failed to load: {failure.error}"
    for out in registry.left_out:
        if canonicalize_name(out.provider.dist) == dist:
            return f"comes from {out.provider}, which is left out: {out.reason}"
    return "is claimed by no installed plugin"


def _remedy(registry: Registry, name: str) -> str:
    dist = distribution_for(name)
    if any(canonicalize_name(failure.provider.dist) == dist for failure in registry.failures):
        return f"mend or reinstall {dist}"
    for out in registry.left_out:
        if canonicalize_name(out.provider.dist) == dist:
            return REMEDIES[out.reason]
    if dist:
        return f"pip install {dist}"
    known = ", ".join(map(repr, sorted(registry.engines)))
    missed = [f"{failure.provider} failed to load: {failure.error}" for failure in registry.failures]
    missed += [f"{out.provider} is left out: {out.reason}" for out in registry.left_out]
    return f"known engines: {known}; others come with the plugin that brings them" + "".join(
        f", and {m}" for m in missed
    )


def distribution_for(engine: str) -> str | None:
    """The distribution to install for an engine: what the extra of that name in fxq-core's own metadata requires."""
    for requirement in _requirements():
        if requirement.marker is not None and requirement.marker.evaluate({"extra": str(engine)}):
            return requirement.name
    return None


def torchs_distributions() -> list[str]:
    """The distributions for the engines that torch has a name for, in this build of it or another."""
    try:
        extras = importlib_metadata.metadata("fxq-core").get_all("Provides-Extra") or []
    except importlib_metadata.PackageNotFoundError:
        return []
    return sorted({dist for extra in extras if _is_torchs(extra) and (dist := distribution_for(extra))})


def _is_torchs(engine: str) -> bool:
    try:
        torch.backends.quantized._get_qengine_id(engine)
    except RuntimeError:
        return False
    return True


def _requirements() -> list[Requirement]:
    """What the extras of fxq-core's own metadata require of engines: extras that are no engine's need no plugin."""
    try:
        requirements = map(Requirement, importlib_metadata.requires("fxq-core") or [])
    except importlib_metadata.PackageNotFoundError:
        return []
    optional = (r for r in requirements if r.marker is not None and not r.marker.evaluate({"extra": ""}))
    return [requirement for requirement in optional if requirement.name.startswith("fxq-")]
