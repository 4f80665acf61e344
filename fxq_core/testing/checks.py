"""What is checked of every quantized model; each failure says which sample, which engine, and where."""

from __future__ import annotations

import copy
import inspect
import io
import math
import pickle
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

import fxq_core as fxq
from fxq_core.analysis.noise import sqnr
from fxq_core.quantized_module import QuantizedModule
from fxq_core.testing.agreement import Difference, lowered_by
from fxq_core.testing.case import Case, run
from fxq_core.testing.sample import CONVOLUTIONS

# what a state dict may hold: the dtypes that outlive any quantized one
PLAIN = frozenset({torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.bool})
THREADS, RUNS = 4, 4
# The reference engine is at most half a code off, and an op one code further: three times the amplitude. But kernels
# are further off for few numbers only, so that all errors together have hardly more amplitude than the reference's.
TIMES_REFERENCE = 1.5
# in dB: the error is at most a tenth of the signal; rounding to 8 bits costs less than a hundredth in each op
LEAST_SQNR = 20.0


def fail(case: Case, text: str) -> None:
    raise AssertionError(f"{case.title}: {text}")


def check_untouched(case: Case) -> None:
    if changes := case.changes:
        fail(case, f"quantizing the model changed {', '.join(changes)}; work on copies, and restore what is global")


def check_well_formed(case: Case) -> None:
    lowered, model = case.lowered, case.model
    for name, tensor in lowered.state_dict().items():
        if type(tensor) is not torch.Tensor or tensor.dtype not in PLAIN:
            fail(case, f"state {name!r} is a {type(tensor).__name__} of {tensor.dtype}; keep plain int8 or float32")
    if learning := [name for name, parameter in lowered.named_parameters() if parameter.requires_grad]:
        fail(case, f"parameter {learning[0]!r} of the result requires grad")
    if training := [path for path, module in lowered.named_modules() if module.training]:
        fail(case, f"module {training[0]!r} of the result is in training mode; call eval()")
    if inspect.signature(lowered.forward) != inspect.signature(model.forward):
        fail(case, f"forward takes {inspect.signature(lowered.forward)}, not {inspect.signature(model.forward)}")
    if case.engine.finish is None:
        for part in lowered.modules():
            if isinstance(part, QuantizedModule):
                part.fxq_graph.lint()
        kept = {path for path, _ in lowered.named_modules()}
        layers = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, *CONVOLUTIONS))]
        if lost := [path for path in layers if path not in kept]:
            fail(case, f"there is no module at {lost[0]!r} any more; add it with ctx.module(...), which keeps the path")
    check_shape(case, 4)


def check_shape(case: Case, size: int) -> None:
    x = case.unseen(size)
    wanted, found = run(case.model, x), run(case.lowered, x)
    about = [(tuple(y.shape), y.dtype, y.layout) if isinstance(y, torch.Tensor) else type(y) for y in (wanted, found)]
    if about[0] != about[1]:
        fail(case, f"a batch of {size} gives {about[1]} where float gives {about[0]}")


def check_agreement(case: Case, size: int) -> None:
    """At most one code off, op by op; an engine that takes the whole graph is only compared from end to end."""
    if case.engine.finish is not None:
        check_close(case)
        return
    try:
        found = case.agreement.differences(case.unseen(size))
    except AssertionError as error:
        fail(case, f"with a batch of {size}, {error}")
    if not found:
        fail(case, "no op of it was compared with the reference engine")
    if text := disagreement(found, case.agreement.lowered):
        fail(case, f"with a batch of {size}, {text}")


def disagreement(found: Mapping[str, Difference], lowered: nn.Module) -> str:
    """The ops that are more than one code off, in graph order; the empty string if there are none."""
    patterns = {f"{row.part}.{row.node}".lstrip("."): row.pattern for row in fxq.report(lowered).rows}
    wrong = [f"node {n!r} (pattern {patterns.get(n)!r}) is {d}" for n, d in found.items() if d.codes > 1]
    return "; ".join(wrong)


def check_close(case: Case) -> None:
    """Compare with float on the data of the calibration, which no range cuts: so all of the error is rounding."""
    x = torch.cat(case.calibration())
    wanted, found, reference = (run(m, x) for m in (case.model, case.lowered, case.agreement.reference))
    ratio, best = sqnr(wanted, found), sqnr(wanted, reference)
    if not ratio >= LEAST_SQNR:
        fail(case, f"its SQNR to float is {ratio:.1f} dB, below {LEAST_SQNR:.0f} (reference engine: {best:.1f} dB)")
    least = best - 20 * math.log10(TIMES_REFERENCE)
    if ratio < least:
        fail(
            case,
            f"its SQNR to float is {ratio:.1f} dB where the reference engine's is {best:.1f}: "
            f"its error is more than {TIMES_REFERENCE} times as large",
        )


def check_deterministic(case: Case) -> None:
    again = lowered_by(case.quantizer(case.model))
    check_same_state(case, again, "quantizing it again with the same data")
    x = case.unseen(3)
    for what, other in (("running it again", case.lowered), ("quantizing it again with the same data", again)):
        check_same_output(case, other, x, what)


def check_same_state(case: Case, other: nn.Module, what: str) -> None:
    ours, theirs = case.lowered.state_dict(), other.state_dict()
    if ours.keys() != theirs.keys():
        fail(case, f"{what} gives another state: {sorted(ours.keys() ^ theirs.keys())}")
    for name, tensor in ours.items():
        if tensor.dtype is not theirs[name].dtype or not torch.equal(tensor, theirs[name]):
            fail(case, f"{what} gives another {name!r} in its state")


def check_same_output(case: Case, other: nn.Module, x: torch.Tensor, what: str) -> None:
    wanted, found = run(case.lowered, x), run(other, x)
    if wanted.shape != found.shape:
        fail(case, f"{what} gives shape {list(found.shape)}, not {list(wanted.shape)}")
    if not torch.equal(wanted, found):
        apart = float((wanted - found).abs().max())
        fail(case, f"{what} gives another output, up to {apart:.3g} away")


def check_state(case: Case) -> None:
    """Saved and loaded, copied and pickled: the same numbers."""
    x = case.unseen(3)
    try:
        for what, other in (
            ("a deep copy of it", copy.deepcopy(case.lowered)),
            ("a pickle of it", pickle.loads(pickle.dumps(case.lowered))),  # noqa: S301 (made in the line itself)
        ):
            check_same_state(case, other, what)
            check_same_output(case, other, x, what)
            if str(fxq.report(other)) != str(fxq.report(case.lowered)):
                fail(case, f"{what} gives another report")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        fail(case, f"it can't be copied or pickled: {type(error).__name__}: {error}")
    file = io.BytesIO()
    torch.save(case.lowered.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    model = case.subject.model(seed=1)
    other = lowered_by(case.quantizer(model, seed=50, scale=3.0))
    what = "one of other weights, calibrated on other data, that loads its state"
    other.load_state_dict(state, strict=True)
    check_same_state(case, other, what)
    check_same_output(case, other, x, what)
    check_same_output(case, copy.deepcopy(other), x, f"a deep copy of {what}")


def check_threads(*cases: Case) -> None:
    """Several threads run the models at once, each with its own input: every output is what it is alone."""
    mine = [cases[number % len(cases)] for number in range(THREADS)]
    x = [case.subject.batch(3, seed=200 + number) for number, case in enumerate(mine)]
    alone = [run(case.lowered, value) for case, value in zip(mine, x, strict=True)]
    start = threading.Barrier(THREADS)
    failures: list[tuple[Case, str]] = []

    def work(number: int) -> None:
        case, value, wanted = mine[number], x[number], alone[number]
        start.wait()
        try:
            for _ in range(RUNS):
                result = run(case.lowered, value)
                if not torch.equal(result, wanted):
                    apart = float((result - wanted).abs().max()) if result.shape == wanted.shape else math.inf
                    failures.append((case, f"gives another output than alone, up to {apart:.3g} away"))
        except Exception as error:
            failures.append((case, f"fails with {type(error).__name__}: {error}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        fail(failures[0][0], f"run by {THREADS} threads at once it {failures[0][1]}")


def check_empty_batch(case: Case) -> None:
    try:
        run(case.model, case.unseen(0))
    except Exception as error:  # whatever the float op raises, there is nothing to compare with
        pytest.skip(f"the float model refuses an empty batch: {type(error).__name__}")
    check_shape(case, 0)
    check_agreement(case, 0)


def check_rejection(case: Case, pattern: str, provider: str) -> None:
    """The op is float, and ``provider`` says why in a sentence."""
    plan: Any = fxq.Quantizer(case.model, case.subject.batch(2), case.engine.name, registry=case.registry).plan
    # the layers around the op may be of the very pattern
    around = ("first", "last")
    if claimed := [v.node for v in plan.verdicts if v.quantized and v.pattern == pattern and v.module not in around]:
        fail(case, f"node {claimed[0]!r} is int8 by pattern {pattern!r}; it was to be rejected")
    reasons = [v.reason for v in plan.verdicts if not v.quantized and v.provider == provider]
    if not reasons:
        fail(case, f"{provider} gives no reason for any node that stays float\n{plan}")
    for reason in reasons:
        if text := no_sentence(reason):
            fail(case, f"the rejection {reason!r} {text}")


def no_sentence(reason: object) -> str | None:
    """Why something is no lowercase sentence, or None."""
    if not isinstance(reason, str) or not reason.strip():
        return "is no text"
    if "\n" in reason or reason != reason.strip():
        return "is not one line"
    if reason[0].isupper() and not reason.split()[0].isupper():
        return "begins with a capital letter"
    return "ends with a full stop" if reason.endswith(".") else None
