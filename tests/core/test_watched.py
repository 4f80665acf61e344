"""Submodules that tell when they are changed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

from torch import nn

from fxq_core.watched import CHANGES, Watched


def telling(change: Callable[[Watched], object]) -> int:
    watched = Watched(a=nn.Identity(), b=None)
    before = CHANGES.count
    change(watched)
    return CHANGES.count - before


def test_watched_submodules_tell_of_every_change() -> None:
    module = nn.Identity()
    assert telling(lambda watched: watched.__setitem__("a", module)) == 1
    assert telling(lambda watched: watched.__delitem__("a")) == 1
    assert telling(lambda watched: watched.__ior__({"a": module})) == 1
    assert telling(lambda watched: watched.pop("a")) == 1
    assert telling(Watched.popitem) == 1
    assert telling(Watched.clear) == 1
    assert telling(lambda watched: watched.setdefault("c", module)) == 1
    assert telling(lambda watched: watched.update(a=module)) == 1
    assert telling(lambda watched: (list(watched.items()), watched.get("a"), watched.copy())) == 0


def test_watched_submodules_copy_and_pickle() -> None:
    model = nn.Sequential(nn.Sequential(nn.Identity()), nn.Identity())
    model._modules = Watched(model._modules)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin._modules) is Watched
        assert [name for name, _ in twin.named_modules()] == ["", "0", "0.0", "1"]
        assert twin[0][0] is not model[0][0]
