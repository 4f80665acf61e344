"""The group: how it is started, what its exit codes are, and that what goes wrong is one line."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import importlib_metadata
import pytest
from click.testing import CliRunner

import fxq_core
from fxq_core.cli.app import COMMANDS, Fxq, app

from support.cli import fails, fxq
from support.distributions import CORE, Dists, hook
from support.processes import WITHOUT_NUMPY

Install = Callable[..., None]
EVERY = {
    "engines": ("engines",),
    "plugins": ("plugins",),
    "patterns": ("patterns",),
    "explain": ("explain", "torch.nn:Identity", "--engine", "reference", "--input", "1"),
    "doctor": ("doctor",),
    "new": ("new", "pattern", "my-first"),
}
BROKEN = (
    "warning: plugin fxq-broken 1.0 (entry point 'broken') failed to load: ImportError: no kernel; "
    "everything else works without it\n"
)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    warnings = f"error,{WITHOUT_NUMPY}"
    env = {**os.environ, "PYTHONWARNINGS": warnings, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env)


def test_without_a_command_it_helps() -> None:
    result = fxq()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == fxq("--help").stdout
    assert result.stdout.startswith("Usage: fxq [OPTIONS] [COMMAND] [ARGS]...\n")


def test_the_help_names_the_exit_codes() -> None:
    codes = (
        "Exit codes:\n    0  fine\n    1  an error, or a fault that doctor found\n    2  the command line is wrong\n"
    )
    assert f"\n  {codes}" in fxq("--help").stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_every_command_has_help_with_its_exit_codes(command: click.Command) -> None:
    result = fxq(str(command.name), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Exit code" in result.stdout


@pytest.mark.parametrize("name", ["", "engines", "patterns", "plugins", "explain", "doctor", "new"])
def test_help_has_examples(name: str) -> None:
    assert f"\n  Examples:\n    fxq {name}" in fxq(*filter(None, [name]), "--help").stdout


def test_it_says_its_version() -> None:
    assert (fxq("--version").exit_code, fxq("--version").stdout) == (0, f"{CORE}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--nonsense",), "No such option '--nonsense'; see 'fxq --help'"),
        (("engins",), "there is no command 'engins'; did you mean 'engines'?"),
        (("x",), f"there is no command 'x'; the commands are {', '.join(sorted(app.commands))}"),
        (("engines", "x"), "Got unexpected extra argument (x); see 'fxq engines --help'"),
        (("explain",), "Missing argument 'MODULE:FACTORY'; see 'fxq explain --help'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    # click's words, which differ between its versions in whether they end in a colon and what they quote
    assert fails(fxq(*arguments), 2).replace("option: --nonsense", "option '--nonsense'") == f"error: {message}\n"


def failing(error: BaseException) -> click.Group:
    @click.command
    def fail() -> None:
        raise error

    group = Fxq("fxq", params=list(app.params), callback=app.callback)
    group.add_command(fail, "fail")
    return group


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (fxq_core.EngineError("no such engine"), "error: no such engine\n"),
        (click.ClickException("no such model"), "error: no such model\n"),
        (RuntimeError("first\nsecond"), "error: RuntimeError: first; 'fxq --traceback fail ...' says where\n"),
        (SystemExit(0), "error: SystemExit: 0; 'fxq --traceback fail ...' says where\n"),
        (KeyboardInterrupt(), "\nerror: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(error: BaseException, message: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert fails(result) == message


@pytest.mark.parametrize("error", [fxq_core.EngineError("no such engine"), click.ClickException("no such engine")])
def test_its_traceback_is_there_for_the_asking(error: Exception) -> None:
    stderr = fails(CliRunner().invoke(failing(error), ["--traceback", "fail"]))
    assert stderr.startswith("Traceback (most recent call last):\n")
    assert "in fail\n    raise error\n" in stderr
    assert stderr.endswith(": no such engine\nerror: no such engine\n")


def test_a_conflict_of_plugins_is_one_line(install: Install) -> None:
    for name in ("fxq-alpha", "fxq-beta"):
        install(name, hook("fxq_patterns", "yield Pattern('celu', nn.CELU)"))
    files = [importlib_metadata.distribution(f"fxq-{n}").locate_file(f"fxq_{n}.py") for n in ("alpha", "beta")]
    for name in ("engines", "plugins", "patterns", "explain", "new"):
        assert fails(fxq(*EVERY[name])) == (
            f"error: fxq-alpha 1.0 ({files[0]}) and fxq-beta 1.0 ({files[1]}) both provide pattern 'celu': "
            "uninstall one of them, or block it with load_plugins(block=('fxq-beta',))\n"
        )


@pytest.mark.parametrize("name", EVERY)
def test_with_a_plugin_that_crashes_every_command_works_and_names_it(
    name: str, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install("fxq-broken", "raise ImportError('no kernel')")
    install("fxq-fine", hook("fxq_engines", "yield dataclasses.replace(REFERENCE, name='fine')"))
    result = fxq(*EVERY[name])
    assert result.exit_code == (1 if name == "doctor" else 0)
    assert result.stderr.startswith(BROKEN)
    assert result.stderr.count("fxq-broken") == 1
    assert result.stdout


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_plugin_that_filters_warnings_hides_no_other_and_breaks_nothing(action: str, install: Install) -> None:
    install("fxq-broken", "raise ImportError('no kernel')")
    install("fxq-filters", f"import warnings\nwarnings.simplefilter({action!r})\n" + hook("fxq_patterns", "return ()"))
    result = fxq("plugins")
    assert (result.exit_code, result.stderr) == (0, BROKEN)


@pytest.mark.parametrize("name", EVERY)
def test_what_a_plugin_prints_at_import_is_no_part_of_the_result(
    name: str, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install("fxq-talks", "print('hello')\n" + hook("fxq_patterns", "return ()"))
    result = fxq(*EVERY[name])
    assert result.stderr.startswith("hello\n")
    assert "hello" not in result.stdout


def test_the_names_above_are_all_that_there_are() -> None:
    assert {command.name for command in COMMANDS} == set(EVERY)
    assert sorted(app.commands) == sorted(str(command.name) for command in COMMANDS)


def test_python_m_and_the_script_are_the_same(dists: Dists) -> None:
    folder = dists.make("fxq-broken", "raise ImportError('no kernel')")
    allowed = {"FXQ_DISABLE_PLUGINS": "", "FXQ_PLUGINS": "fxq-broken", "FXQ_FOLDER": folder}
    add = "import os, sys; sys.path.insert(0, os.environ['FXQ_FOLDER']); "
    run = add + "sys.argv = ['x', 'engines']; "
    module = python("-c", run + "import runpy; runpy.run_module('fxq_core', run_name='__main__')", **allowed)
    script = python("-c", run + "from fxq_core.cli import main; main()", **allowed)
    assert (module.returncode, module.stderr) == (0, BROKEN)
    assert module.stdout.startswith("engine ")
    assert (script.returncode, script.stdout, script.stderr) == (0, module.stdout, BROKEN)


def test_python_m_runs_it() -> None:
    done = python("-m", "fxq_core", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{CORE}\n", "")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_how_to_install_it(missing: str) -> None:
    done = python("-c", f"import sys; sys.modules[{missing!r}] = None; from fxq_core.cli import main; main()")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: the command line needs click and rich; pip install 'fxq-core[cli]'\n"


def test_what_else_is_missing_is_no_matter_of_the_extra() -> None:
    done = python("-c", "import sys; sys.modules['pluggy'] = None; from fxq_core.cli import main; main()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: import of pluggy halted; None in sys.modules"


def test_the_core_imports_no_command_line() -> None:
    done = python("-c", "import sys, fxq_core; print({'click', 'rich', 'fxq_core.cli'} & set(sys.modules))")
    assert done.stdout == "set()\n"


def test_the_caller_keeps_his_warnings() -> None:
    before = (warnings.showwarning, list(warnings.filters))
    fxq("engines")
    assert (warnings.showwarning, list(warnings.filters)) == before
