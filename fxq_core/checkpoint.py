"""Checkpoints of a calibration: statistics as plain tensors and numbers, and the key of what they belong to."""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
from typing import Any

import torch

from fxq_core.errors import CalibrationError, one_line
from fxq_core.files import replace_file
from fxq_core.plan import Plan

FORMAT = 1


def key_of(plan: Plan) -> str:
    """A digest of all that the statistics of a calibration depend on, but for the batches.

    Those are the captured graphs with their weights, the engine and its wants, and what each value's observer is.
    """
    digest = hashlib.sha256(f"{FORMAT} {plan.engine.name} {plan.engine.activation} {plan.nonfinite}".encode())
    for part in plan.parts:
        digest.update(f"{part.path!r} {part.graph_module.graph}".encode())
        for group, observer in sorted(part.observers.items()):
            digest.update(f"{group} {observer.name} {observer.provider}".encode())
        nodes = {node.name: group for node, group in part.groups.of.items()}
        digest.update(f"{sorted(nodes.items())} {sorted(set(part.corrected.values()))}".encode())
    root = plan.captured.root
    for name, module in root.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            digest.update(f"{name} {type(module).__name__}({module.extra_repr()})".encode())
    for name, tensor in sorted([*root.named_parameters(), *root.named_buffers()], key=lambda item: item[0]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        plain = tensor.detach().contiguous()
        digest.update(ctypes.string_at(plain.data_ptr(), plain.nbytes))
    return digest.hexdigest()


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Put a checkpoint in place in one step.

    Raises:
        CalibrationError: it can't be written; what was there stays.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    try:
        replace_file(path, buffer.getvalue())
    except (OSError, ValueError) as error:
        raise CalibrationError(f"checkpoint {os.fspath(path)!r} can't be written ({one_line(error)})") from error


def read_checkpoint(path: str | os.PathLike[str], key: str, start: int) -> dict[str, Any] | None:
    """The state in a checkpoint, or None if there is no such file.

    Args:
        key: what ``key_of`` gives for the calibration that goes on.
        start: how many batches it has observed so far.

    Raises:
        CalibrationError: it can't be read, or belongs to something else.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            state = torch.load(file, weights_only=True)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError("it is of another format")
        if not {"key", "start", "batches", "samples", "parts"} <= state.keys():
            raise ValueError("it lacks entries")
    except FileNotFoundError:
        return None
    except Exception as error:
        raise CalibrationError(
            f"checkpoint {name!r} can't be read ({one_line(error)}); delete it to calibrate from the start"
        ) from error
    if state["key"] != key or state["start"] != start:
        what = "another model, engine or config" if state["key"] != key else f"one that began at batch {state['start']}"
        raise CalibrationError(
            f"checkpoint {name!r} is of a calibration of {what}; give another path, or delete it to calibrate from "
            "the start"
        )
    return state


def check_all_came(path: str | os.PathLike[str], held: int, came: int) -> None:
    """Refuse an iterable that gave fewer batches than its checkpoint holds.

    Raises:
        CalibrationError: it did.
    """
    if came < held:
        raise CalibrationError(
            f"checkpoint {os.fspath(path)!r} holds {held} batches, but there are only {came}; give the batches that it "
            "was made with"
        )
