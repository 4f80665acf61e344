"""What quantizing must leave as it was: a model, and the state that a process has only once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """How things were: ``str`` of a thing's name to what it was."""

    things: dict[str, Any]

    def changes(self, later: Photo) -> list[str]:
        """The names of what is not as it was, sorted."""
        names = sorted({*self.things, *later.things})
        return [name for name in names if not _same(self.things.get(name), later.things.get(name))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype is other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def photo_of_process() -> Photo:
    """The state that all models of a process share."""
    return Photo(
        things={
            "torch's engine": torch.backends.quantized.engine,
            "the random state": torch.get_rng_state(),
            "the default dtype": torch.get_default_dtype(),
            "grad mode": torch.is_grad_enabled(),
            "the number of threads": torch.get_num_threads(),
            "deterministic mode": torch.are_deterministic_algorithms_enabled(),
        }
    )


def photo_of_model(model: nn.Module) -> Photo:
    """A model's modules with their attributes, training flags and hooks, and a copy of each tensor."""
    things: dict[str, Any] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        where = f"module {path!r}" if path else "the root"
        things[f"the type of {where}"] = id(module), type(module)
        things[f"the training flag of {where}"] = module.training
        things[f"the attributes of {where}"] = (
            sorted(vars(module)),
            module.extra_repr(),
            getattr(module, "inplace", None),
        )
        things[f"the hooks of {where}"] = list(module._forward_hooks), list(module._forward_pre_hooks)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        things[f"tensor {name!r}"] = tensor.detach().clone()
        things[f"the identity of tensor {name!r}"] = id(tensor), tensor.requires_grad
    return Photo(things=things)
