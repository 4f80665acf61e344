"""``fxq explain``: what would become of a model, node by node, and why."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence

import click
import torch
from torch import nn

from fxq_core.cli import console
from fxq_core.cli.inputs import Input, guess, read_input
from fxq_core.cli.summary import Summary, as_json, summarize
from fxq_core.cli.target import build, current_directory_importable
from fxq_core.config import Config
from fxq_core.correction import told
from fxq_core.errors import CaptureError, one_line
from fxq_core.plan import HEADER, Plan, cells
from fxq_core.quantize import Quantizer
from fxq_core.registry import load_plugins

STYLES = {"int8": "green", "float": "yellow"}
NARROW = ("node", "op", "verdict", "reason")
TOP = 5
SHOWN_OPS = 5


@click.command("explain")
@click.argument("target", metavar="MODULE:FACTORY")
@click.option("--engine", metavar="NAME", help="The engine to plan for; without it, the one that fxq would take.")
@click.option(
    "--input",
    "inputs",
    type=read_input,
    multiple=True,
    metavar="SHAPE",
    help="The shape of an argument, such as 1,3,224,224, with a dtype if it is not float32: 1,16:int64. "
    "Give it once for each argument. Without it, the shape is guessed from the first layer.",
)
@click.option("--config", metavar="FILE.toml", help="Settings, in a file that fxq_core.Config.save writes.")
@click.option("--json", "as_object", is_flag=True, help="Print a JSON object in place of tables.")
def command(target: str, engine: str | None, inputs: tuple[Input, ...], config: str | None, as_object: bool) -> None:
    """Show what becomes of each part of a model: int8 or float, by whose code, and why.

    MODULE:FACTORY is an import path, which is looked for in the current directory first: of a class or a function that
    makes the model when it is called without arguments, or of a model. The model is put in eval mode and runs on
    random numbers; integers are 0, bools true. Nothing is calibrated and nothing is saved.

    \b
    Examples:
      fxq explain mypackage.nets:Net
      fxq explain mypackage.nets:Net --input 1,3,224,224 --engine reference
      fxq explain nlp:make_tagger --input 1,16:int64 --input 1,16:bool
      fxq explain nets:Net --config int8.toml | grep float
      fxq explain nets:Net --json | jq .summary

    \b
    The JSON object has the keys
      format   1; raised where one of these keys changes its meaning or goes
      fxq      the version of fxq-core
      model    MODULE:FACTORY
      inputs   a list of {shape, dtype}
      engine   {name, provider}
      summary  {int8, float, other, parameters, int8_parameters, reasons}:
               numbers of nodes, where the other ones compute no float
               tensor; of numbers in parameters; and for the float nodes a
               list of {reason, count, ops}, the most frequent reason first
      nodes    a list of {part, node, module, op, verdict, pattern,
               provider, reason, where}; verdict is "int8" or "float"
      notes    a list of {module, note}: what became of modules that are
               no node, and what was equalized
      corrected  a list of modules: whose bias is corrected

    Exit codes: 0 if there is a plan, whatever is in it; 1 if there is none; 2 if the command line is wrong.
    """
    settings = None if config is None else Config.load(config)
    # whatever a plugin or the model prints is no part of the result
    with contextlib.redirect_stdout(sys.stderr), current_directory_importable(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        registry = load_plugins()
        model = build(target)
        given = inputs or (_guessed(target, model),)
        arguments = tuple(each.make() for each in given)
        try:
            plan = Quantizer(model, arguments, engine, settings, registry).plan
        except CaptureError as error:
            # one that has a cause tells what somebody else's code raised, which may be the model's
            refusal = error.__cause__ and _refusal(target, model, given, arguments)
            raise click.ClickException(refusal or str(error)) from error
    summary = summarize(plan, model)
    if as_object:
        click.echo(json.dumps(as_json(plan, summary, target, given), indent=2))
        return
    for line in _lines(plan, summary, target, given):
        click.echo(line)
    click.echo()
    full = console.rows(HEADER, map(cells, plan.verdicts))
    console.table(full, STYLES, console.rows(NARROW, map(_narrow, full.cells)))
    below = [*(f"{path or 'the root'}: {note}" for path, note in plan.notes.items()), *told(plan.corrected)]
    if below:
        click.echo("\n" + "\n".join(below))


def _narrow(cells: Sequence[str]) -> tuple[str, ...]:
    """A row without the module, whose name is in the node's, and with who decides and why in one cell."""
    node, _, op, verdict, pattern, by, reason = cells
    return node, op, verdict, "; ".join(filter(None, (f"{pattern} by {by}" if pattern else "", reason)))


def _guessed(target: str, model: nn.Module) -> Input:
    guessed = guess(model)
    if guessed is None:
        raise click.UsageError(f"nothing in {target!r} says what its input is; give --input SHAPE")
    console.warning(f"guessed --input {guessed} from the first layer; give --input SHAPE if it is another")
    return guessed


def _refusal(target: str, model: nn.Module, inputs: Sequence[Input], arguments: Sequence[torch.Tensor]) -> str | None:
    """What the model itself says against its inputs, or None if it takes them."""
    try:
        with torch.no_grad():
            model(*arguments)
    except Exception as error:
        shapes = " and ".join(map(str, inputs))
        return (
            f"{target!r} refused the input {shapes} ({one_line(error)}); give --input SHAPE for each of its arguments"
        )
    return None


def _lines(plan: Plan, summary: Summary, target: str, inputs: Sequence[Input]) -> Iterator[str]:
    yield f"model    {target}"
    yield f"input    {' and '.join(map(str, inputs))}"
    yield f"engine   {plan.engine.name} ({plan.engine.provider})"
    yield f"nodes    {summary.int8} in int8, {summary.floats} in float, {summary.others} that compute no float tensor"
    yield f"weights  {_share(summary.int8_parameters, summary.parameters)}"
    for reason in summary.reasons[:TOP]:
        more = ", ..." if len(reason.ops) > SHOWN_OPS else ""
        yield f"float    {reason.count} x {', '.join(reason.ops[:SHOWN_OPS])}{more}: {reason.reason}"
    if len(summary.reasons) > TOP:
        yield f"float    {sum(reason.count for reason in summary.reasons[TOP:])} more, for other reasons"


def _share(part: int, whole: int) -> str:
    if not whole:
        return "there are no parameters"
    # rounded down, so that only all of them are 100 %
    return f"{part:,} of {whole:,} parameters in int8 ({1000 * part // whole / 10} %)"
