"""Reading TOML that may be anything."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import fxq_core as fxq
from fxq_core.config import toml


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("skip = [", "TOMLDecodeError: Invalid value (at end of document)"),
        ("a = " + "[" * 100_000, "RecursionError: "),
    ],
)
def test_what_is_no_toml_is_refused(source: str, text: str) -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        toml.loads(source, "it")
    assert str(caught.value).startswith(f"it is no valid TOML ({text}")
    assert str(caught.value).endswith("); mend or rewrite it")


@given(st.text())
def test_any_text_gives_a_document_or_a_clear_error(source: str) -> None:
    with contextlib.suppress(fxq.ConfigError):
        assert isinstance(toml.loads(source, "it"), dict)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(fxq.ConfigError) as caught:
        toml.dumps({}, ["\ud800"], [])
    assert str(caught.value) == "the config holds '\\ud800', half of a surrogate pair, which TOML can't; remove it"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfskip = ["a"]\r\n')
    assert fxq.Config.load(tmp_path / "c.toml") == fxq.Config(skip=("a",))
