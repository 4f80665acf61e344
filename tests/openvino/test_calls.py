"""Calls: inputs of any shape and memory format, outputs of their own, several threads, and a bounded cache."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_openvino import runtime
from fxq_openvino.region import KEPT, CompiledRegion


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.first(x).relu()
        x = x + self.second(x)
        return x, self.head(x.mean((2, 3)).reshape(x.shape[0], 8))


@pytest.fixture(scope="module")
def models(registry: fxq.Registry) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, batches = Net().eval(), [torch.randn(4, 3, 12, 12) for _ in range(4)]
    return tuple(fxq.quantize(net, batches, engine, registry=registry) for engine in ("openvino", "reference"))


def call(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return model(x)


def pools(model: nn.Module) -> dict[object, object]:
    (region,) = (module for module in model.modules() if isinstance(module, CompiledRegion))
    return region._pools


@pytest.mark.parametrize("shape", [(1, 3, 12, 12), (7, 3, 12, 12), (4, 3, 20, 9), (0, 3, 12, 12)])
def test_sizes_other_than_the_examples(models: tuple[nn.Module, nn.Module], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for found, wanted in zip(*(call(model, x) for model in models), strict=True):
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert torch.allclose(found, wanted, atol=0.05)


def formats() -> dict[str, torch.Tensor]:
    x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    wide = torch.zeros(4, 3, 12, 24)
    wide[..., ::2] = x
    return {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "strided": wide[..., ::2],
        "transposed": x.transpose(2, 3).contiguous().transpose(2, 3),
        "requires grad": x.clone().requires_grad_(),
        "plain": x,
    }


@pytest.mark.parametrize("first", formats())
def test_memory_formats(models: tuple[nn.Module, nn.Module], first: str) -> None:
    """Whichever comes first, so that none is taken for another."""
    model, every = models[0], formats()
    pools(model).clear()
    wanted = [y.clone() for y in call(model, every[first])]
    for x in every.values():
        for found, y in zip(call(model, x), wanted, strict=True):
            assert found.is_contiguous()
            assert torch.allclose(found, y, atol=1e-6)


def test_an_output_is_its_callers(models: tuple[nn.Module, nn.Module]) -> None:
    model, x = models[0], torch.randn(4, 3, 12, 12)
    first = call(model, x)
    kept = [y.clone() for y in first]
    call(model, 100 * x)
    assert all(map(torch.equal, first, kept))
    first[0].zero_()
    assert torch.equal(call(model, x)[0], kept[0])


def test_an_input_is_left_as_it_is(models: tuple[nn.Module, nn.Module]) -> None:
    x = torch.randn(4, 3, 12, 12)
    before = x.clone()
    call(models[0], x)
    assert torch.equal(x, before)


class Passing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.cumsum(x, 1)
        return self.conv(x), x.contiguous(), x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)


def test_what_is_passed_on_is_no_view_and_disturbs_nothing(registry: fxq.Registry) -> None:
    """Given memory for a result that is an input, OpenVINO would take it for the input's."""
    batches = [torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    net = Passing().eval()
    model, reference = (fxq.quantize(net, batches, engine, registry=registry) for engine in ("openvino", "reference"))
    for x in batches:
        for found, wanted in zip(call(model, x), call(reference, x), strict=True):
            assert torch.allclose(found, wanted, atol=0.05)
        assert torch.equal(call(model, x)[1], torch.cumsum(x, 1))


def test_another_dtype_is_refused_in_a_sentence(models: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(fxq.InputError) as caught:
        call(models[0], torch.zeros(1, 3, 12, 12, dtype=torch.float64))
    assert str(caught.value) == (
        "OpenVINO can't compile fxq_region for torch.float64 of shape (1, 3, 12, 12) (UntranslatableError: it takes a "
        "tensor of f64); give it the inputs that the float model takes"
    )


def test_the_cache_is_bounded(models: tuple[nn.Module, nn.Module]) -> None:
    model = models[0]
    for size in range(1, KEPT + 4):
        call(model, torch.randn(size, 3, 12, 12))
    assert len(pools(model)) == KEPT
    call(model, torch.randn(KEPT + 3, 3, 12, 12))
    assert len(pools(model)) == KEPT


def test_threads_are_those_of_torch(models: tuple[nn.Module, nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = models[0], []
    pools(model).clear()
    core = runtime.core()

    class Core:
        def compile_model(self, found: object, device: str, config: dict[str, object]) -> object:
            asked.append((device, config["INFERENCE_NUM_THREADS"], config["NUM_STREAMS"]))
            return core.compile_model(found, device, config)

    monkeypatch.setattr(runtime, "core", Core)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            call(model, torch.randn(2, 3, 12, 12))
    finally:
        torch.set_num_threads(before)
    assert asked == [("CPU", 1, 1), ("CPU", 2, 1)]


def test_calls_that_meet_do_not_wait_for_each_other() -> None:
    """Each has a runner of its own, up to a limit; then it waits for one to come back."""
    met = threading.Barrier(2, timeout=10)
    made, results = [], []

    class Runner:
        def __call__(self, inputs: list[int]) -> int:
            met.wait()
            return inputs[0]

    def make() -> Runner:
        made.append(Runner())
        return made[-1]

    pool = runtime.Pool(make, 2)
    threads = [threading.Thread(target=lambda n=n: results.append(pool([n]))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]
    assert len(made) == 2


def test_a_runner_that_fails_comes_back_and_one_that_can_not_be_made_is_tried_again() -> None:
    class Runner:
        def __call__(self, inputs: list[int]) -> float:
            return 1 / inputs[0]

    tries = iter([ValueError("no"), None])

    def make() -> Runner:
        if error := next(tries):
            raise error
        return Runner()

    pool = runtime.Pool(make, 1)
    with pytest.raises(ValueError, match="no"):
        pool([1])
    with pytest.raises(ZeroDivisionError):
        pool([0])
    assert pool([2]) == 0.5
