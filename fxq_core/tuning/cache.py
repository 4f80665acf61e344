"""The times that were measured, by step and machine; kept in a file if the user likes."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch

from fxq_core import files
from fxq_core.cpu import cpuinfo
from fxq_core.errors import ConfigError, one_line

FORMAT = "fxq-times-1"


def machine() -> str:
    """What all times depend on: the CPU, the number of threads and torch's version."""
    name = cpuinfo().get("model name") or platform.machine()
    threads = torch.get_num_threads()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name} ({capability}), {threads} thread{'s' * (threads != 1)}, torch {torch.__version__}"


class TuneCache:
    """Times of steps in microseconds, which ``tune`` reads and adds to: what it holds is not measured again.

    One cache may serve many models, machines and numbers of threads, and two copies of one give the same choices.

    Attributes:
        times: for each machine, for each step by op, geometry and inputs, the median of each alternative.
    """

    def __init__(self, times: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None) -> None:
        given = {} if times is None else times
        self.times = {where: {step: dict(found) for step, found in steps.items()} for where, steps in given.items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TuneCache:
        """Read a cache that ``save`` wrote.

        Raises:
            ConfigError: the file can't be read, or holds no cache, or one of another format.
        """
        who = f"tuning cache {os.fspath(path)!r}"
        try:
            document = json.loads(files.read(path, "tuning cache"))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{who} is no valid JSON ({one_line(error)}); delete it and tune again") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT or not _is_times(document.get("times")):
            raise ConfigError(f"{who} is not of format {FORMAT!r}; delete it and tune again")
        return cls(document["times"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cache to a JSON file, which is replaced as a whole or not at all.

        Raises:
            ConfigError: the file can't be written.
        """
        text = json.dumps({"format": FORMAT, "times": self.times}, indent=1, sort_keys=True, ensure_ascii=False)
        files.write(path, f"{text}\n", "tuning cache")

    def __repr__(self) -> str:
        return f"TuneCache({sum(map(len, self.times.values()))} steps on {len(self.times)} machines)"


def _is_times(value: Any, depth: int = 3) -> bool:
    if depth == 0:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return isinstance(value, dict) and all(_is_times(inner, depth - 1) for inner in value.values())
