"""What there is to select in a model, for the user whose selector matches none of it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fxq_core.config.selectors import Selector, TypeName, qualified_name

LISTED = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """Module paths, module types and patterns, in the order of the model; dicts, since sets have none."""

    paths: dict[str, None] = field(default_factory=dict)
    types: dict[type, None] = field(default_factory=dict)
    patterns: dict[str, None] = field(default_factory=dict)

    def hint(self, selector: Selector) -> str:
        """What the user may have meant by a selector that matches nothing; else what there is."""
        paths, patterns = list(filter(None, self.paths)), list(self.patterns)
        if isinstance(selector, str):
            near = difflib.get_close_matches(selector, sorted({*paths, *patterns}), n=LISTED)
        elif isinstance(selector, TypeName):
            near = self._near_types(selector.name)
        else:
            near = []
        if near:
            return f"did you mean {' or '.join(map(repr, near))}?"
        if isinstance(selector, TypeName):
            return f"it has {_some('type', [kind.__name__ for kind in self.types])}"
        has = f"it has {_some('pattern', patterns)}"
        return f"{has} and {_some('module', paths)}" if isinstance(selector, str) else has

    def _near_types(self, name: str) -> list[str]:
        names = {kind.__name__: qualified_name(kind) for kind in self.types}
        short = name.rpartition(".")[2]
        return [names[near] for near in difflib.get_close_matches(short, sorted(names), n=LISTED)]


def _some(noun: str, names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    if not names:
        return f"no {noun}"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{noun}{'s' * (len(names) > 1)} {', '.join(map(repr, names[:LISTED]))}{more}"
