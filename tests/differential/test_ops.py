"""Op by op: whatever torch.ao has in int8, fxq has; and fxq is at least as close to float."""

from __future__ import annotations

import pytest
from torch import nn

import fxq_core as fxq
from fxq_core.families import WEIGHT_ONLY
from fxq_core.plan import ONLY_CONVERSIONS, STRUCTURE
from fxq_core.testing import Sample
from fxq_core.testing.samples import SAMPLES

from differential.ao import NOISE, Batch, ByTorch, by_fxq, by_torch, mean_ratio, squared_errors
from differential.parity import PARITY

# torch.ao has another way to quantize a table
EVERY = {**{name: sample for name, sample in SAMPLES.items() if sample.pattern not in WEIGHT_ONLY}, **PARITY}
SEEDS = 4
# what torch.ao computes in float here and rounds to a range of its own, and how much finer that makes it
FINER_IN_FLOAT = {
    "clamp_max alone": 1.4,  # int8 keeps the codes of its input, of which the clamp leaves a part unused
}
# what torch.ao takes to int8 and fxq does not, and why
FLOAT = {
    # it computes nothing that int8 makes faster
    ("*", "torch.matmul"): ONLY_CONVERSIONS,
    # the kernel gives wrong numbers: torch.ao's error is larger than the signal
    ("qnnpack", "conv_transpose3d"): "engine 'qnnpack' has no lowering for pattern 'conv_transpose3d'",
    ("qnnpack", "conv_transpose3d relu"): "engine 'qnnpack' has no lowering for pattern 'conv_transpose3d'",
}
# what torch.ao can't make, or what it makes doesn't run
FAILS = {
    "*": {"view", "batch_norm2d plain", "padding by name", "bicubic", "F.conv_transpose2d"},
    "onednn": {"conv_transpose2d"},
    "qnnpack": {"conv clamp min", "max_pool3d", "F.max_pool3d"},
}


def floats(qmodel: nn.Module) -> list[str]:
    """The ops on float tensors that were left in float, with the reasons."""
    rows = (row for row in fxq.report(qmodel).rows if not row.quantized and row.op not in STRUCTURE)
    return [
        f"{row.op}: {row.reason}" for row in rows if not row.reason.startswith("its result is not a float32 tensor")
    ]


def theirs_or_none(model: nn.Module, batches: list[Batch], engine: str) -> ByTorch | None:
    """What torch.ao makes of the model, if that can be made and runs."""
    try:
        theirs = by_torch(model, batches, engine)
        squared_errors(model, batches[:1], theirs)
    except (RuntimeError, AttributeError):
        return None
    return theirs


# the float layer pads on one side only, and torch says that this costs a copy
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", EVERY)
def test_an_op_is_int8_and_as_close_to_float(engine: str, name: str, registry: fxq.Registry) -> None:
    sample: Sample = EVERY[name]
    reason = FLOAT.get(("*", name), FLOAT.get((engine, name)))
    pairs = []
    for seed in range(SEEDS):
        model = sample.model(seed)
        batches = [(sample.batch(8, 10 * seed + number),) for number in range(4)]
        unseen = [(sample.batch(64, 10 * seed + 4),)]
        ours = by_fxq(model, batches, engine, registry)
        if reason is not None:
            assert {row.split(": ")[1] for row in floats(ours)} == {reason}
        else:
            assert floats(ours) == []
            assert sample.pattern in {row.pattern for row in fxq.report(ours).rows}
        theirs = theirs_or_none(model, batches, engine)
        assert (theirs is None) == (name in FAILS["*"] | FAILS.get(engine, set()))
        if theirs is None:
            return
        pairs.append(squared_errors(model, unseen, ours, theirs))
    assert mean_ratio(pairs) < FINER_IN_FLOAT.get(name, NOISE)
