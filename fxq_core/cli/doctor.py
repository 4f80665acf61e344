"""``fxq doctor``: everything that a bug report needs, and whether something is wrong with the installation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from fxq_core.cli import console, machine, plugins
from fxq_core.cli.engines import in_torch
from fxq_core.cli.selftest import self_test
from fxq_core.discovery import CORE
from fxq_core.engines import advertised, why_unusable
from fxq_core.errors import FxqError, one_line
from fxq_core.hookspecs import API_VERSION
from fxq_core.reference import REFERENCE
from fxq_core.registry import Registry

DISTRIBUTIONS = (CORE, "torch", "pluggy", "click", "rich")


@click.command("doctor")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Check the installation, and print what to paste into a bug report.

    Prints Markdown: versions, CPU, settings, plugins, and for each engine whether it works here, tried on a tiny
    network against the reference engine. It names no folder, unless a fault is about one.

    These are faults: a plugin that fails to load, plugins in conflict, an engine that torch advertises and a plugin
    claims but that does not work, one that gives wrong numbers, and no usable engine but the reference engine.

    \b
    Examples:
      fxq doctor
      fxq doctor > report.md

    Exit codes: 0 if nothing is wrong, 1 if there is a fault.
    """
    faults: list[str] = []
    try:
        registry = console.installed()
    except FxqError as error:
        registry = None
        faults.append(str(error))
    installed = [] if registry is None else [row[0] for row in plugins.rows(registry)]
    others = sorted({name for name in installed if name not in DISTRIBUTIONS})
    _section("Versions", (*machine.versions((*DISTRIBUTIONS, *others)), f"core API {API_VERSION}"))
    _section("CPU", machine.cpu())
    _section("Environment", machine.environment())
    if registry is not None:
        _section("Plugins", map(_plugin, plugins.rows(registry)))
        hint = "'fxq plugins -v' shows the traceback"
        faults += [f"{failure.provider} failed to load: {failure.error}; {hint}" for failure in registry.failures]
        faults += _engines(registry)
    _section("Faults", faults)
    ctx.exit(1 if faults else 0)


def _section(title: str, lines: Iterable[str]) -> None:
    click.echo(f"### {title}\n")
    click.echo("".join(f"- {line}\n" for line in lines) or "none\n")


def _plugin(row: tuple[str, ...]) -> str:
    dist, version, entry_point, api, state, what = row
    wants = f", api {api}" if api else ""
    return f"{dist} {version} (entry point {entry_point!r}{wants}) {state}: {what}"


def _engines(registry: Registry) -> Iterator[str]:
    """Print a line for each engine that is claimed or advertised, and give what is wrong."""
    click.echo("### Engines\n")
    usable = 0
    for name in sorted({*registry.engines, *advertised()}):
        engine = registry.engines.get(name)
        told = ", ".join(filter(None, (str(engine.provider) if engine else "", in_torch(name))))
        # before it is probed: a kernel that kills the process must have been named
        click.echo(f"- {name} ({told}): ", nl=False)
        if reason := why_unusable(registry, name):
            click.echo(reason)
            if engine is not None and name in advertised():
                yield f"engine {name!r} of {engine.provider} is advertised by torch but can't run here: {reason}"
            continue
        outcome, fault = _tested(registry, name)
        click.echo(outcome)
        usable += name != REFERENCE.name and not fault
        if fault:
            yield f"engine {name!r} of {registry.engines[name].provider} fails its self-test: {outcome}"
    click.echo()
    if not usable:
        way = "allow one of the plugins that are left out" if registry.left_out else "install a plugin that brings one"
        yield f"no engine but the reference engine works here; {way}"


def _tested(registry: Registry, name: str) -> tuple[str, bool]:
    """What came of the self-test of an engine, and whether that is a fault."""
    try:
        outcome = self_test(registry, name)
    except FxqError as error:
        return str(error), True
    except (Exception, SystemExit) as error:
        return one_line(error), True
    return str(outcome), outcome.fault
