"""What is checked of an engine itself: its context, its specs, and its conversions at the borders."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.borders import Borders
from fxq_core.reference import fake_quantize
from fxq_core.testing.photo import photo_of_process
from fxq_core.types import Engine, QParams

SCALES = (2.0**-12, 0.037, 1.0, 3.1)


class LeavingError(Exception):
    """Leaves a context."""


def check_active(engine: Engine) -> None:
    """``active`` may be entered again, in itself and by any thread, and leaves everything as it was."""
    before = photo_of_process()

    def enter(depth: int) -> None:
        with engine.active():
            if depth:
                enter(depth - 1)

    def restored(what: str) -> None:
        if changes := before.changes(photo_of_process()):
            raise AssertionError(f"engine {engine.name!r} leaves {', '.join(changes)} changed after {what}")

    enter(0)
    restored("active()")
    try:
        enter(2)
    except Exception as error:
        raise AssertionError(
            f"active() of engine {engine.name!r} can't be entered inside itself: {type(error).__name__}: {error}"
        ) from error
    restored("active() inside active()")
    try:
        with engine.active(), engine.active():
            raise LeavingError
    except LeavingError:
        pass
    else:
        raise AssertionError(f"active() of engine {engine.name!r} swallows exceptions")
    restored("an exception inside active()")
    threads = [threading.Thread(target=enter, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    restored("active() in four threads")
    try:
        pickle.loads(pickle.dumps(engine.active))  # noqa: S301 (made in the line itself)
    except Exception as error:
        raise AssertionError(
            f"active of engine {engine.name!r} can't be pickled ({type(error).__name__}: {error}); make it a function "
            "or class of a module, or a functools.partial of one"
        ) from error


def check_specs(engine: Engine, registry: fxq.Registry) -> None:
    """What the engine wants of activations and weights is something that the core can give."""
    who = f"engine {engine.name!r}"
    if engine.activation.axis is not None:
        raise AssertionError(f"{who} wants activations with one scale per channel; set axis=None")
    if not engine.weight.symmetric:
        raise AssertionError(f"{who} wants weights with a zero point; set symmetric=True")
    for what, spec in (("activations", engine.activation), ("weights", engine.weight)):
        if spec.observer not in registry.observers:
            raise AssertionError(
                f"{who} wants observer {spec.observer!r} for {what}, which no plugin provides; "
                f"installed: {', '.join(sorted(registry.observers))}"
            )
        if spec.qmax - spec.qmin < 1:
            raise AssertionError(f"{who} has codes {spec.qmin} to {spec.qmax} for {what}")
        try:
            registry.observers[spec.observer].build(spec)
        except Exception as error:
            raise AssertionError(f"{who}: observer {spec.observer!r} refuses its spec of {what}: {error}") from error


class Offset(nn.Module):
    """A layer and a constant: a model with every border."""

    constant: torch.Tensor

    def __init__(self, constant: torch.Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(2, constant.shape[-1])
        self.register_buffer("constant", constant)
        self.last = nn.Linear(constant.shape[-1], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.layer(x) + self.constant)
        return result


def qparams_of(engine: Engine) -> Iterator[QParams]:
    """Qparams at the corners and in the middle of what the engine's activations may have."""
    spec = engine.activation
    middle = (spec.qmin + spec.qmax + 1) // 2
    for scale in SCALES:
        for zero_point in {0} if spec.symmetric else sorted({spec.qmin, middle, spec.qmax}):
            yield QParams(torch.tensor(scale).item(), zero_point, spec.qmin, spec.qmax)


def check_borders(engine: Engine, registry: fxq.Registry) -> None:
    """Every code makes a round trip exactly; what lies between goes to the nearest, and what lies beyond saturates."""
    spec = engine.activation
    codes = torch.arange(spec.qmin, spec.qmax + 1, dtype=torch.float64)
    ladder = torch.cat([codes - 0.25, codes, codes + 0.25, torch.tensor([spec.qmin - 300.0, spec.qmax + 300.0])])
    for qparams in qparams_of(engine):
        floats = ((ladder - qparams.zero_point) * qparams.scale).float()
        wanted = fake_quantize(floats, qparams.scale, qparams.zero_point, spec.qmin, spec.qmax)
        borders, value, constant = _borders(engine, registry, floats, qparams)
        shapes = {"a vector": floats, "a matrix": floats.reshape(1, -1), "an image": _image(floats)}
        for what, x in {**shapes, "an empty batch": floats[:0].reshape(0, 4)}.items():
            found = borders.floats(value, borders.quantized(value, x))
            _check_border(engine, qparams, f"quantize and dequantize of {what}", x, found, wanted)
        if constant is not None:
            found = borders.floats(constant, borders.constant(constant))
            _check_border(engine, qparams, "the constant", floats, found, wanted)


def _image(floats: torch.Tensor) -> torch.Tensor:
    return floats.reshape(1, 1, -1, 1).expand(2, 3, -1, 2).contiguous(memory_format=torch.channels_last)


def _borders(engine: Engine, registry: fxq.Registry, floats: torch.Tensor, qparams: QParams) -> Any:
    """Converters with these qparams, the model's input, and its constant where the engine has it in int8."""
    quantizer = fxq.Quantizer(Offset(floats).eval(), torch.rand(1, 2), engine.name, registry=registry)
    (part,) = quantizer.plan.parts
    borders = Borders(quantizer.plan, part, dict.fromkeys(part.groups.of.values(), qparams))
    nodes = {node.op: node for node in part.graph_module.graph.nodes if node.op in ("placeholder", "get_attr")}
    constant = nodes.get("get_attr")
    return borders, nodes["placeholder"], constant if constant in part.groups.of else None


def _check_border(
    engine: Engine, qparams: QParams, what: str, x: torch.Tensor, found: Any, wanted: torch.Tensor
) -> None:
    who = f"engine {engine.name!r}: {what} with scale {qparams.scale:.6g} and zero point {qparams.zero_point}"
    if not isinstance(found, torch.Tensor) or found.dtype is not torch.float32 or found.shape != x.shape:
        about = f"{found.dtype} of shape {list(found.shape)}" if isinstance(found, torch.Tensor) else type(found)
        raise AssertionError(f"{who} gives {about} for float32 of shape {list(x.shape)}")
    expected = _image(wanted) if x.dim() == 4 else wanted[: x.numel()].reshape(x.shape)
    wrong = (torch.round(found / qparams.scale) != torch.round(expected / qparams.scale)).nonzero()
    wrong = wrong if len(wrong) else (~torch.isclose(found, expected, rtol=1e-6, atol=0)).nonzero()
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise AssertionError(
            f"{who} gives {found[at].item():.6g} for {x[at].item():.6g}, not {expected[at].item():.6g}; "
            f"wrong: {len(wrong)} of {x.numel()}"
        )
