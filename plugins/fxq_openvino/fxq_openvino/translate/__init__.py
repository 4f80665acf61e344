"""From the nodes of a lowered graph to OpenVINO's ops; imports openvino, so it is imported only where that is used."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from fxq_core.capture.graphs import find
from fxq_core.reference import ReferenceLayer
from fxq_core.signatures import ALIASES
from fxq_openvino.translate.layers import layer
from fxq_openvino.translate.table import TABLE
from fxq_openvino.translate.values import UntranslatableError

__all__ = ["UntranslatableError", "translated"]


def translated(node: fx.Node, owner: nn.Module, values: Mapping[fx.Node, Any]) -> Any:
    """What a node becomes.

    Args:
        node: of a lowered graph.
        owner: the module whose graph it is.
        values: of the nodes before it: values of the OpenVINO graph, tensors that are constants, or plain data.

    Returns:
        The same for this node.

    Raises:
        UntranslatableError: there is no such op, or not with these arguments.
    """
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    kwargs = {ALIASES.get(name, name): value for name, value in kwargs.items() if not name.startswith("_")}
    target: Any = node.target
    if node.op in ("call_module", "get_attr"):
        held = find(owner, str(target))
        if node.op == "get_attr":
            if not isinstance(held, torch.Tensor):
                raise UntranslatableError("it reads what is no tensor")
            return held
        if type(held) is ReferenceLayer:
            return layer(args[0], held)
        return _called(type(held), args, {**_settings(held), **kwargs})
    return _called(target, args, kwargs)


def _called(spelling: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if spelling not in TABLE:
        raise UntranslatableError("OpenVINO has no op for it that fxq-openvino knows")
    translate = TABLE[spelling]
    given = inspect.signature(translate).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in given.values()):
        if extra := [name for name in kwargs if name not in given and kwargs[name] not in (None, False)]:
            raise UntranslatableError(f"it has the argument {extra[0]!r}")
        kwargs = {name: value for name, value in kwargs.items() if name in given}
    return translate(*args, **kwargs)


def _settings(module: nn.Module) -> dict[str, Any]:
    """What a module was made with, under the names that the function of the same op has for it."""
    translate = TABLE.get(type(module))
    if translate is None:
        return {}
    names = list(inspect.signature(translate).parameters)[1:]
    return {name: getattr(module, name) for name in names if hasattr(module, name)}
