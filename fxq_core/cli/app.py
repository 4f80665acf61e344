"""The group of commands, and the one place where what goes wrong becomes a line and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import click
import importlib_metadata

from fxq_core.cli import console, doctor, engines, explain, new, patterns, plugins
from fxq_core.discovery import CORE
from fxq_core.errors import FxqError, near_miss, one_line

COMMANDS = (engines.command, plugins.command, patterns.command, explain.command, doctor.command, new.command)

# what click raises to stop, with an exit code of its own
STOPS = (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError)


class Fxq(click.Group):
    """A group whose errors are one line on stderr."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and exit: 0 fine, 1 something is wrong, 2 the command line itself is."""
        try:
            with console.warnings_as_lines():
                code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.UsageError as error:
            where = f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
            console.error(f"{error.format_message().rstrip('.')}{where}")
            sys.exit(error.exit_code)
        except click.ClickException as error:
            console.error(error.format_message())
            sys.exit(error.exit_code)
        except click.Abort:
            console.error("interrupted")
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Find a command by its name."""
        command = super().get_command(ctx, cmd_name)
        if command is None:
            hint = near_miss(cmd_name, self.commands, f"the commands are {', '.join(sorted(self.commands))}")
            raise click.UsageError(f"there is no command {cmd_name!r}; {hint}")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever it raises becomes one line, after its traceback if that was asked for."""
        try:
            return super().invoke(ctx)
        except (Exception, SystemExit) as error:
            if ctx.params["traceback"]:
                traceback.print_exc()
            if isinstance(error, STOPS):
                raise
            if isinstance(error, FxqError):
                raise click.ClickException(str(error)) from error
            hint = f"'{ctx.command_path} --traceback {ctx.invoked_subcommand} ...' says where"
            raise click.ClickException(f"{one_line(error)}; {hint}") from error


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"{CORE} {importlib_metadata.version(CORE)}")
        ctx.exit()


@click.group("fxq", cls=Fxq, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.option("--traceback", is_flag=True, help="Show where an error comes from.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def app(ctx: click.Context, traceback: bool) -> None:
    """Post-training quantization for PyTorch on CPUs, with engines and patterns from plugins.

    These commands show what is installed and what would become of a model. They print tables to a terminal, and plain
    lines without colour to a pipe.

    \b
    Examples:
      fxq engines
      fxq explain mypackage.nets:Net --input 1,3,224,224
      fxq doctor > report.md

    \b
    Exit codes:
      0  fine
      1  an error, or a fault that doctor found
      2  the command line is wrong
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in COMMANDS:
    app.add_command(command)
