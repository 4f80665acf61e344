"""Times in a file: what is read is what was written, and what is no cache is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import fxq_core as fxq

names = st.text(max_size=5)
times = st.dictionaries(names, st.dictionaries(names, st.dictionaries(names, st.floats(0, 1e9)), max_size=3))


@settings(deadline=None)
@given(times)
def test_a_cache_survives_its_file(tmp_path_factory: pytest.TempPathFactory, found: dict[str, dict[str, dict]]) -> None:
    path = tmp_path_factory.mktemp("cache") / "times.json"
    fxq.TuneCache(found).save(path)
    assert fxq.TuneCache.load(path).times == found


def test_a_cache_has_times_of_its_own() -> None:
    given_times = {"here": {"step": {"way": 1.0}}}
    fxq.TuneCache(given_times).times["here"]["step"]["way"] = 2.0
    assert given_times == {"here": {"step": {"way": 1.0}}}


NO_JSON = (
    "is no valid JSON (JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
)
OTHER = "is not of format 'fxq-times-1'"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", NO_JSON),
        ("[]", OTHER),
        ('{"format": "fxq-times-0", "times": {}}', OTHER),
        ('{"format": "fxq-times-1", "times": {"a": {"b": 1}}}', OTHER),
        ('{"format": "fxq-times-1", "times": {"a": {"b": {"c": "1"}}}}', OTHER),
        ('{"format": "fxq-times-1", "times": {"a": {"b": {"c": -1}}}}', OTHER),
    ],
)
def test_what_is_no_cache_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.TuneCache.load(path)
    assert str(caught.value) == f"tuning cache {str(path)!r} {told}; delete it and tune again"


def test_a_cache_that_can_not_be_read_or_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "no" / "times.json"
    missing = f"(FileNotFoundError: [Errno 2] No such file or directory: {str(path)!r})"
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.TuneCache.load(path)
    assert str(caught.value) == f"tuning cache {str(path)!r} can't be read {missing}"
    with pytest.raises(fxq.ConfigError) as caught:
        fxq.TuneCache().save(path)
    assert str(caught.value).startswith(f"tuning cache {str(path)!r} can't be written (FileNotFoundError: ")
