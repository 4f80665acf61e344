"""MODULE:FACTORY: what may stand there, and what is said of what may not."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
import pytest
from torch import nn

from fxq_core.cli.target import build, current_directory_importable

Nets = Callable[..., None]
FORM = "write MODULE:FACTORY, such as mypackage.nets:Net"


def built(target: str) -> nn.Module:
    with current_directory_importable():
        return build(target)


def refused(target: str, kind: type[click.ClickException] = click.ClickException) -> str:
    with pytest.raises(kind) as caught:
        built(target)
    assert type(caught.value) is kind
    return caught.value.format_message()


@pytest.mark.parametrize("factory", ["Net", "make", "model", "Zoo.best", "Zoo.Inner"])
def test_a_class_a_function_a_model_and_what_is_in_them(factory: str, nets: Nets) -> None:
    zoo = "class Zoo:\n    best = model\n    class Inner(Net):\n        pass\n"
    nets(f"def make():\n    return Net()\nmodel = Net()\n{zoo}")
    model = built(f"nets:{factory}")
    assert type(model).__name__ == ("Inner" if factory == "Zoo.Inner" else "Net")
    assert not any(module.training for module in model.modules())


def test_a_module_in_a_package(nets: Nets) -> None:
    nets(name="zoo.small")
    assert type(built("zoo.small:Net")).__name__ == "Net"


def test_the_current_directory_comes_first_and_only_while_it_is_needed(nets: Nets) -> None:
    nets(name="colorsys")
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    assert type(built("colorsys:Net")).__name__ == "Net"
    assert sys.path == before


@pytest.mark.parametrize("target", ["nets", "nets:", ":Net", "", "nets:Net()", "nets:Net:x", "a/b:Net", "a b:Net"])
def test_another_form_is_a_wrong_command_line(target: str) -> None:
    assert refused(target, click.UsageError) == f"{target!r} is no import path; {FORM}"


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("nets.py:Net", "write nets:Net, in the directory that 'nets' is in"),
        ("./nets.py", "write nets:FACTORY, in the directory that 'nets' is in"),
        ("zoo/small/nets.py:Net", "write zoo.small.nets:Net, in the directory that 'zoo' is in"),
        ("../nets.py:Net", FORM),
    ],
)
def test_the_path_of_a_file_is_told_as_it_would_be_written(target: str, hint: str) -> None:
    assert refused(target, click.UsageError) == f"{target!r} is no import path; {hint}"


def test_a_module_that_is_not_there(nets: Nets) -> None:
    nets(name="zoo.small")
    assert refused("zo:Net") == "there is no module 'zo', neither installed nor in the current directory"
    assert refused("zoo.big:Net") == "there is no module 'zoo.big', neither installed nor in the current directory"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails(source: str, error: str, nets: Nets) -> None:
    nets(source)
    assert refused("nets:Net") == f"importing 'nets' failed with {error}"


def test_a_name_that_is_not_there_is_told_the_nearest(nets: Nets) -> None:
    nets("class Zoo:\n    best = Net()\n")
    assert refused("nets:Nett") == "module 'nets' has no 'Nett'; did you mean 'Net'?"
    assert refused("nets:Zoo.bets") == "'Zoo' of module 'nets' has no 'bets'; did you mean 'best'?"


def test_or_else_what_there_is(nets: Nets) -> None:
    nets("class Other(Net):\n    pass\n_hidden = 1\n")
    assert refused("nets:xyz") == "module 'nets' has no 'xyz'; it has Net, Other"
    assert (
        refused("nets:Net.xyz") == "'Net' of module 'nets' has no 'xyz'; give the name of a model, or of what makes one"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("thing = {}", "'nets:thing' is a dict, neither a model nor what makes one"),
        ("def thing():\n    return {}", "'nets:thing' gives a dict, which is no torch.nn.Module"),
        ("def thing():\n    return Net", "'nets:thing' gives a type, which is no torch.nn.Module"),
        (
            "def thing(width):\n    return Net()",
            "'nets:thing' can't be called without arguments (missing a required argument: 'width'); "
            "give a function that takes none",
        ),
        ("def thing():\n    raise ValueError('no weights')", "calling 'nets:thing' failed with ValueError: no weights"),
        ("def thing():\n    raise SystemExit(3)", "calling 'nets:thing' failed with SystemExit: 3"),
        ("thing = dict", "'nets:thing' gives a dict, which is no torch.nn.Module"),
    ],
)
def test_what_makes_no_model(source: str, message: str, nets: Nets) -> None:
    nets(source)
    assert refused("nets:thing") == message


def test_the_cause_is_kept_for_a_traceback(nets: Nets) -> None:
    nets("def thing():\n    raise ValueError('no weights')")
    with pytest.raises(click.ClickException) as caught:
        built("nets:thing")
    assert isinstance(caught.value.__cause__, ValueError)
