"""Every engine under test passes the conformance kit, like anybody's."""

from __future__ import annotations

from fxq_core.testing import EngineSuite

from support.engines import NAMED, usable_engines


class TestConformance(EngineSuite):
    complete = True

    @classmethod
    def engines(cls) -> tuple[str, ...]:
        return tuple(NAMED or usable_engines())
