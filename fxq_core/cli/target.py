"""MODULE:FACTORY: the user's model, from an import path."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click
from torch import nn

from fxq_core.errors import one_line

FORM = "write MODULE:FACTORY, such as mypackage.nets:Net"
LISTED = 5


def build(target: str) -> nn.Module:
    """The model that an import path leads to, in eval mode.

    Args:
        target: a module's dotted name, a colon, and a dotted name in it: of a class or function to call without
            arguments, or of a model.

    Raises:
        click.UsageError: it has another form.
        click.ClickException: the module can't be imported, has no such name, or what it gives is no model.
    """
    module, _, factory = target.partition(":")
    named = all(part.isidentifier() for part in (*module.split("."), *factory.split(".")))
    if not named or module.endswith(".py"):
        raise click.UsageError(f"{target!r} is no import path; {_form(module, factory)}")
    found = _attribute(_imported(module), module, factory)
    model = found if isinstance(found, nn.Module) else _called(target, found)
    if not isinstance(model, nn.Module):
        raise click.ClickException(f"{target!r} gives a {type(model).__name__}, which is no torch.nn.Module")
    return model.eval()


@contextlib.contextmanager
def current_directory_importable() -> Iterator[None]:
    """Look for modules in the current directory first, as ``python -m`` does."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _form(module: str, factory: str) -> str:
    """How to write it; for the path of a file, as it would be."""
    stem = os.path.normpath(module.removesuffix(".py"))
    dotted = stem.replace(os.sep, ".")
    if module.endswith(".py") and all(part.isidentifier() for part in dotted.split(".")):
        return f"write {dotted}:{factory or 'FACTORY'}, in the directory that {stem.split(os.sep)[0]!r} is in"
    return FORM


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise click.ClickException(
                f"there is no module {error.name!r}, neither installed nor in the current directory"
            ) from error
        _failed(f"importing {name!r}", error)
    except (Exception, SystemExit) as error:
        _failed(f"importing {name!r}", error)


def _attribute(module: Any, name: str, path: str) -> Any:
    found, where = module, f"module {name!r}"
    for step in path.split("."):
        try:
            found = getattr(found, step)
        except AttributeError as error:
            raise click.ClickException(f"{where} has no {step!r}; {_near(found, step)}") from error
        where = f"{step!r} of {where}"
    return found


def _near(found: Any, step: str) -> str:
    names = [name for name in dir(found) if not name.startswith("_")]
    if near := difflib.get_close_matches(step, names, n=1):
        return f"did you mean {near[0]!r}?"
    models = [name for name in names if isinstance(getattr(found, name, None), (type, nn.Module))]
    own = [name for name in models if getattr(getattr(found, name), "__module__", "") == getattr(found, "__name__", "")]
    return f"it has {', '.join(own[:LISTED])}" if own else "give the name of a model, or of what makes one"


def _called(target: str, factory: Any) -> Any:
    if not callable(factory):
        raise click.ClickException(f"{target!r} is a {type(factory).__name__}, neither a model nor what makes one")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise click.ClickException(
            f"{target!r} can't be called without arguments ({error}); give a function that takes none"
        ) from error
    except ValueError:
        pass  # what is written in C need not have a signature
    try:
        return factory()
    except (Exception, SystemExit) as error:
        _failed(f"calling {target!r}", error)


def _failed(what: str, error: BaseException) -> NoReturn:
    raise click.ClickException(f"{what} failed with {one_line(error)}") from error
