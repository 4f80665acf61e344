"""A channel shuffle is one op, however it is spelled; what is none stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from support.quantizing import captured

Spelling = Callable[[torch.Tensor], torch.Tensor]


def as_published(x: torch.Tensor) -> torch.Tensor:
    batchsize, channels, height, width = x.size()
    x = x.view(batchsize, 2, channels // 2, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batchsize, -1, height, width)


def as_published_with_a_copy(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(x.shape[0], 3, -1, x.shape[2], x.shape[3]).permute(0, 2, 1, 3, 4).clone().flatten(1, 2)


def as_flattened(x: torch.Tensor) -> torch.Tensor:
    return torch.flatten(x.reshape((-1, 3, 2, x.shape[2], x.shape[3])).transpose(2, 1), 1, 2)


SHUFFLES: dict[Spelling, int] = {as_published: 2, as_published_with_a_copy: 3, as_flattened: 3}
OTHERS: dict[str, Spelling] = {
    "another order": lambda x: x.reshape(2, 2, 3, 4, 5).transpose(1, 3).reshape(2, 6, 4, 5),
    "another shape": lambda x: x.reshape(2, 2, 3, 4, 5).transpose(1, 2).reshape(2, 6, 5, 4),
    "other sizes": lambda x: x.reshape(2, 2, 3, 5, 4).transpose(1, 2).reshape(2, 6, 4, 5),
    "no swap": lambda x: x.reshape(2, 2, 3, 4, 5).contiguous().reshape(2, 6, 4, 5),
    "computed groups": lambda x: x.reshape(2, x.shape[1] // 3, 3, 4, 5).transpose(1, 2).reshape(2, 6, 4, 5),
    "a layout": lambda x: (
        x.reshape(2, 2, 3, 4, 5).transpose(1, 2).contiguous(memory_format=torch.channels_last_3d).reshape(2, 6, 4, 5)
    ),
}


class Net(nn.Module):
    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.spelling = spelling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.spelling(self.first(x)))


def nodes(spelling: Spelling) -> list[fx.Node]:
    (part,) = captured(Net(spelling).eval(), torch.randn(2, 3, 4, 5)).parts.values()
    return list(part.graph.nodes)


@pytest.mark.parametrize("spelling", SHUFFLES)
def test_every_spelling_is_one_op(spelling: Spelling) -> None:
    _, first, shuffle, second, _ = nodes(spelling)
    assert (shuffle.target, shuffle.args) == (F.channel_shuffle, (first, SHUFFLES[spelling]))
    assert second.args == (shuffle,)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_shuffle_stays(name: str) -> None:
    assert F.channel_shuffle not in [node.target for node in nodes(OTHERS[name])]


def test_a_value_that_others_take_stays() -> None:
    def both(x: torch.Tensor) -> torch.Tensor:
        swapped = x.reshape(2, 2, 3, 4, 5).transpose(1, 2)
        return swapped.reshape(2, 6, 4, 5) + swapped.sum()

    assert F.channel_shuffle not in [node.target for node in nodes(both)]
