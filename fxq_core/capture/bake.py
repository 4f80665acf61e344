"""Weights that are computed from others by torch's own machinery become constants."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def bake(root: nn.Module) -> None:
    """Replace parametrizations, weight norms and spectral norms by the constant weights they make."""
    for module in root.modules():
        if parametrize.is_parametrized(module):
            _own_class(module)
            parametrizations: Any = module.parametrizations
            for name in list(parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
                constant = module._buffers.pop(name, None)
                if constant is not None:
                    module.register_parameter(name, nn.Parameter(constant.detach().clone(), requires_grad=False))
        hooks: list[Any] = list(module._forward_pre_hooks.values())
        for hook in hooks:
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)


def _own_class(module: nn.Module) -> None:
    """Give a parametrized copy a class of its own: torch changes it, and it is the caller's module's too."""
    shared = type(module)
    members = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, members)
