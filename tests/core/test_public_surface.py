"""The public surface is what ``public_surface.txt`` says: plugins and users build on it, so it changes on purpose."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fxq_core as fxq

FILE = Path(__file__).with_name("public_surface.txt")
# the modules whose public names others may use: all that a module's __all__ names, or the names listed here
MODULES: dict[str, tuple[str, ...]] = {
    "fxq_core": (),
    "fxq_core.analysis.comparison": ("ComparisonRow",),
    "fxq_core.analysis.sensitivity": ("SensitivityRow",),
    "fxq_core.analysis.trail": ("Step",),
    "fxq_core.capture.values": ("Value", "value_of"),
    "fxq_core.hookspecs": ("fxq_engines", "fxq_lowerings", "fxq_observers", "fxq_patterns"),
    "fxq_core.discovery": ("Failure", "LeftOut", "Plugin"),
    "fxq_core.native": ("from_codes", "native_engine", "native_lowerings"),
    "fxq_core.observers": (),
    "fxq_core.plan": ("Verdict",),
    "fxq_core.reference": ("FAMILY", "REFERENCE", "emit_any", "emit_layer", "fake_quantize"),
    "fxq_core.report": ("Row",),
    "fxq_core.signatures": ("arguments", "clamp_bounds"),
    "fxq_core.types": ("Emit",),
    "fxq_core.testing": ("EngineSuite", "LoweringSuite", "Network", "ObserverSuite", "Sample"),
    "fxq_core.testing.strategies": ("ConvArguments", "conv_arguments", "numbers", "shapes", "tensors"),
}
HOW = f"""
The public surface is not what {FILE.name} says. If it is meant to change, write the file anew with

    python tests/core/test_public_surface.py

and raise API_VERSION in fxq_core/hookspecs.py: its minor part if names or optional arguments were added, its major part
if anything that a plugin may use was taken away, renamed or given another meaning."""


def signature(function: Any) -> str:
    """As it is written: the annotations are text, and defaults that have an address in their repr are not shown."""
    parts, star = [], False
    for parameter in inspect.signature(function).parameters.values():
        kind = parameter.kind
        if kind is kind.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        star = star or kind is kind.VAR_POSITIONAL
        text = {kind.VAR_POSITIONAL: "*", kind.VAR_KEYWORD: "**"}.get(kind, "") + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            default = repr(parameter.default)
            text += f" = {'...' if ' at 0x' in default else default}"
        parts.append(text)
    returned = inspect.signature(function).return_annotation
    return f"({', '.join(parts)})" + ("" if returned is inspect.Signature.empty else f" -> {annotation(returned)}")


def annotation(given: Any) -> str:
    text = given if isinstance(given, str) else getattr(given, "__forward_arg__", None)
    return text or inspect.formatannotation(given)


def lines_of_class(name: str, cls: type) -> Iterator[str]:
    bases = [base.__name__ for base in cls.__bases__ if base is not object]
    data = dataclasses.is_dataclass(cls)
    kind = ["frozen dataclass" if cls.__dataclass_params__.frozen else "dataclass"] if data else []
    yield f"class {name}({', '.join(bases + kind)})"
    if not issubclass(cls, BaseException):
        yield f"    {name}{signature(cls).partition(' -> ')[0]}"
    fields = {field.name for field in dataclasses.fields(cls)} if data else set(getattr(cls, "_fields", ()))
    for member in sorted(name for name in vars(cls) if not name.startswith("_") and name not in fields):
        value = inspect.getattr_static(cls, member)
        if isinstance(value, property):
            yield f"    property {member}"
        elif isinstance(value, (staticmethod, classmethod)):
            yield f"    {type(value).__name__} {member}{signature(getattr(cls, member))}"
        elif inspect.isfunction(value):
            yield f"    def {member}{signature(value)}"
        else:
            yield f"    {member}"


def surface() -> str:
    lines = [f"API_VERSION = {fxq.API_VERSION!r}"]
    for module_name, listed in MODULES.items():
        module = importlib.import_module(module_name)
        lines += ["", f"# {module_name}"]
        for name in sorted(listed or module.__all__):
            value = getattr(module, name)
            if inspect.isclass(value):
                lines += lines_of_class(name, value)
            elif inspect.isfunction(value):
                lines.append(f"def {name}{signature(value)}")
            else:
                lines.append(f"{name}: {type(value).__name__}")
    return "\n".join(lines) + "\n"


def test_the_public_surface_is_what_the_file_says() -> None:
    said, is_so = FILE.read_text().splitlines(), surface().splitlines()
    gone = [f"- {line}" for line in said if line not in is_so]
    new = [f"+ {line}" for line in is_so if line not in said]
    assert said == is_so, "\n".join([HOW, *gone, *new])


def test_every_public_name_is_there_and_listed_in_order() -> None:
    for module_name, listed in MODULES.items():
        module = importlib.import_module(module_name)
        names = list(listed or module.__all__)
        assert names == sorted(names, key=lambda name: (not name.isupper(), name[0].islower(), name))
        assert all(hasattr(module, name) for name in names)


if __name__ == "__main__":
    FILE.write_text(surface())
    print(f"wrote {FILE}", file=sys.stderr)
