"""Models in OpenVINO's form: built from a region for the shapes of its inputs, compiled, and run without copies."""

from __future__ import annotations

import functools
import math
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import openvino as ov
import torch
from openvino import opset15 as op
from torch import fx, nn

from fxq_openvino.translate import translated
from fxq_openvino.translate.layers import LINEAR
from fxq_openvino.translate.values import TYPES, is_value, parameter, transposed, value_of

# numbers are those of float32 ops and int8 layers: nothing is rounded to bfloat16 where the processor could
CONFIG: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}
# to hand over memory costs 15 to 20 microseconds, in which as many numbers are copied
SMALL = 2**14
DTYPES = {str(kind): dtype for dtype, kind in TYPES.items()}
FROM_LAST = (0, 3, 1, 2)


@functools.cache
def core() -> ov.Core:
    """OpenVINO itself; one in each process, for it reads its plugins from files."""
    return ov.Core()


class Runner:
    """One compiled model and the only request that runs on it, for one call at a time.

    Args:
        graph: of the region.
        owner: the module that holds what the graph refers to.
        inputs: like those that it will take, of these shapes and dtypes.
        lasts: which of them have their channels last in memory.
        threads: how many to use.
    """

    def __init__(
        self, graph: fx.Graph, owner: nn.Module, inputs: Sequence[torch.Tensor], lasts: Sequence[bool], threads: int
    ) -> None:
        self.lasts = lasts
        model, self.template = _model(graph, owner, inputs, lasts)
        config = {**CONFIG, "INFERENCE_NUM_THREADS": threads}
        compiled = core().compile_model(model, "CPU", config)
        if _fuses_layers(compiled):
            compiled = core().compile_model(model, "CPU", {**config, "SNIPPETS_MODE": "DISABLE"})
        self.request = compiled.create_infer_request()
        self.count = len(compiled.outputs)
        passed = set(_passed_on(compiled))
        # the results that OpenVINO writes where the caller will have them; the others are copied
        self.large = {
            number: (tuple(port.shape), DTYPES[str(port.element_type)])
            for number, port in enumerate(compiled.outputs)
            if number not in passed and math.prod(port.shape) > SMALL
        }
        # the addresses of the inputs and, under the complements of their numbers, of the results
        self.known: dict[int, int] = {}

    def __call__(self, inputs: Sequence[torch.Tensor]) -> Any:
        """What the region gives, in fresh tensors."""
        request, known = self.request, self.known
        # held until it has run: the request looks at memory that it does not own
        given = [
            x.detach().permute(0, 2, 3, 1) if last else x.detach().contiguous()
            for x, last in zip(inputs, self.lasts, strict=True)
        ]
        for number, x in enumerate(given):
            # memory that the request looks at already, as is usual where calls follow each other
            if known.get(number) != (address := x.data_ptr()):
                request.set_input_tensor(number, ov.Tensor(x.numpy(), shared_memory=True))
                known[number] = address
        large = {number: torch.empty(shape, dtype=dtype) for number, (shape, dtype) in self.large.items()}
        for number, result in large.items():
            if known.get(~number) != (address := result.data_ptr()):
                request.set_output_tensor(number, ov.Tensor(result.numpy(), shared_memory=True))
                known[~number] = address
        request.infer(share_outputs=True)
        return self.template(
            [
                large[number] if number in large else torch.from_numpy(request.get_output_tensor(number).data).clone()
                for number in range(self.count)
            ]
        )


def _fuses_layers(compiled: ov.CompiledModel) -> bool:
    """Whether int8 linear layers are compiled into one subgraph, which OpenVINO 2026.4 does wrong."""
    infos = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    return any(info["layerType"].value == "Subgraph" and LINEAR in info["originalLayersNames"].value for info in infos)


def _passed_on(compiled: ov.CompiledModel) -> Iterator[int]:
    """The results that are an input as it came.

    Given memory for one, OpenVINO 2026.4 takes that for the input, too, and all that it computes is wrong.
    """
    for number, result in enumerate(compiled.get_runtime_model().get_results()):
        kind = result.input_value(0).node.get_rt_info()["layerType"].value
        if kind == "Input":
            yield number


def _model(
    graph: fx.Graph, owner: nn.Module, inputs: Sequence[torch.Tensor], lasts: Sequence[bool]
) -> tuple[ov.Model, Callable[[list[torch.Tensor]], Any]]:
    values: dict[fx.Node, Any] = {}
    parameters: list[Any] = []
    results: list[Any] = []
    given = iter(zip(inputs, lasts, strict=True))
    for node in graph.nodes:
        if node.op == "placeholder":
            x, last = next(given)
            entering = parameter(x.permute(0, 2, 3, 1).shape if last else x.shape, x.dtype)
            parameters.append(entering.node)
            values[node] = transposed(entering, FROM_LAST) if last else entering
        elif node.op != "output":
            values[node] = translated(node, owner, values)

    def slot(value: Any) -> Any:
        if not (is_value(value) or isinstance(value, torch.Tensor)):
            return value
        results.append(op.result(value_of(value)))
        return _Slot(len(results) - 1)

    (end,) = (node for node in graph.nodes if node.op == "output")
    form = tuple(_mapped(values[node], slot) for node in end.args[0])
    return ov.Model(results, parameters, "fxq"), functools.partial(_filled, form)


class _Slot(int):
    """The number of a tensor among the results."""


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if type(value) in (tuple, list):
        return type(value)(_mapped(item, function) for item in value)
    return function(value)


def _filled(form: tuple[Any, ...], results: list[torch.Tensor]) -> Any:
    filled = tuple(_mapped(item, lambda value: results[value] if type(value) is _Slot else value) for item in form)
    return filled[0] if len(filled) == 1 else filled


class Pool:
    """Runners for the same inputs: as many as calls have met, up to a limit; then they wait for each other."""

    def __init__(self, make: Callable[[], Runner], most: int) -> None:
        self.make, self.left = make, [None] * most
        self.idle: queue.SimpleQueue[Runner] = queue.SimpleQueue()

    def __call__(self, inputs: Sequence[torch.Tensor]) -> Any:
        runner = self._take()
        try:
            return runner(inputs)
        finally:
            self.idle.put(runner)

    def _take(self) -> Runner:
        try:
            return self.idle.get_nowait()
        except queue.Empty:
            pass
        try:
            self.left.pop()
        except IndexError:
            return self.idle.get()
        try:
            return self.make()
        except BaseException:
            self.left.append(None)
            raise
