"""A sample: one op, and the small model that it is tested in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

# the channels or features that the model of a sample takes
INPUTS = 5
OUTPUTS = 3
CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class Sample:
    """An op to test a lowering with.

    Args:
        pattern: the name of the pattern that must claim the op.
        op: a module, or a function, of one float32 tensor that gives one; it may hold several ops.
        shape: of the tensor it takes, without the batch: ``(features,)``, ``(channels, length)``,
            ``(channels, height, width)`` or ``(channels, depth, height, width)``.
    """

    pattern: str
    op: Callable[[torch.Tensor], torch.Tensor]
    shape: tuple[int, ...] = (8, 6, 7)

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, str) or not callable(self.op):
            raise TypeError(f"a sample is a pattern's name and an op, not {self.pattern!r} and {self.op!r}")
        if not isinstance(self.shape, tuple) or not 1 <= len(self.shape) <= 4:
            raise ValueError(
                f"the shape of a sample of {self.pattern!r} is {self.shape!r}; give a tuple of one to four sizes, "
                "without the batch: (features,), (channels, length), ..."
            )

    def model(self, seed: int = 0) -> nn.Module:
        """The op between two layers, in eval mode, with weights of its own; leaves the random state as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Between(self).eval()

    def batch(self, size: int, seed: int = 0) -> torch.Tensor:
        """Normal numbers that ``model`` takes, of shape ``(size, 5, ...)``; leaves the random state as it is."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(size, INPUTS, *self.shape[1:], generator=generator)


class Calling(nn.Module):
    """A function as a module, so that it is no attribute of the model: those the result keeps, and pickle refuses."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Between(nn.Module):
    """A layer that gives the sample's shape, its op, and a linear layer over the last dimension.

    Between layers int8 is worth it: elsewhere an op may cost less in float.
    """

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        channels, *sizes = sample.shape
        self.first = CONVOLUTIONS[len(sizes) - 1](INPUTS, channels, 1) if sizes else nn.Linear(INPUTS, channels)
        self.op = copy.deepcopy(sample.op) if isinstance(sample.op, nn.Module) else Calling(sample.op)
        self.op.eval()
        with torch.no_grad():
            features = self.op(torch.rand(2, *sample.shape)).shape[-1]
        self.last = nn.Linear(features, OUTPUTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.op(self.first(x)))
        return result
