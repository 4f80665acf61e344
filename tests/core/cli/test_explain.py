"""``fxq explain``: the plan of the user's model, with a summary on top; or one line about what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest
import torch

import fxq_core as fxq_

from support.cli import fails, fxq, table
from support.distributions import CORE, hook

Nets = Callable[..., None]
Install = Callable[..., None]
REFERENCE = ("--engine", "reference")
GUESSED = "warning: guessed --input 1,6 from the first layer; give --input SHAPE if it is another\n"
TEXT = f"""\
model    nets:Net
input    2,6
engine   reference ({CORE})
nodes    2 in int8, 1 in float, 2 that compute no float tensor
weights  72 of 83 parameters in int8 (86.7 %)
float    1 x CELU: no installed pattern matches it

"""


def explain(*arguments: str) -> str:
    result = fxq("explain", *arguments, *REFERENCE)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_a_summary_stands_above_the_plan(nets: Nets) -> None:
    nets()
    text = explain("nets:Net", "--input", "2,6")
    assert text.startswith(TEXT)
    core = {"pattern": "", "by": "fxq-core"}
    assert table(text) == [
        {"node": "x", "module": "", "op": "placeholder", "verdict": "float", **core,
         "reason": "an input stays as the caller gives it"},
        {"node": "layer", "module": "layer", "op": "Linear", "verdict": "int8", "pattern": "linear", "by": CORE,
         "reason": ""},
        {"node": "act", "module": "act", "op": "CELU", "verdict": "float", **core,
         "reason": "no installed pattern matches it (nets.py:11)"},
        {"node": "last", "module": "last", "op": "Linear", "verdict": "int8", "pattern": "linear", "by": CORE,
         "reason": ""},
        {"node": "output", "module": "", "op": "output", "verdict": "float", **core,
         "reason": "outputs are returned in float"},
    ]  # fmt: skip


def test_it_is_the_plan_that_the_library_makes(nets: Nets, core: fxq_.Registry) -> None:
    nets()
    text = explain("nets:Net", "--input", "2,6")
    import nets as module  # type: ignore[import-not-found]

    plan = fxq_.Quantizer(module.Net().eval(), torch.randn(2, 6), "reference", registry=core).plan
    *table, below = str(plan).splitlines()[1:]
    assert text[len(TEXT) :] == "\n".join((*table, "", below, ""))


def test_what_became_of_modules_that_are_no_node_stands_below(nets: Nets) -> None:
    nets("def make():\n    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))\n")
    assert explain("nets:make", "--input", "1,3,4,4").endswith(
        "\n\n1: folded into 0\nthe bias takes up the mean error of the rounded weight in 0\n"
    )


def test_a_shape_is_guessed_and_the_guess_is_told(nets: Nets) -> None:
    nets()
    result = fxq("explain", "nets:Net", *REFERENCE)
    assert (result.exit_code, result.stderr) == (0, GUESSED)
    assert result.stdout == explain("nets:Net", "--input", "1,6")


def test_several_inputs(nets: Nets) -> None:
    nets(
        "class Tags(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table, self.head = nn.Embedding(9, 6), Net()\n"
        "    def forward(self, words, mask):\n"
        "        return self.head(self.table(words)).masked_fill(mask.unsqueeze(-1), 0)\n"
    )
    text = explain("nets:Tags", "--input", "1,16:int64", "--input", "1,16:bool")
    assert text.splitlines()[1] == "input    1,16:int64 and 1,16:bool"


def test_a_config(nets: Nets, tmp_path: Path) -> None:
    nets()
    path = tmp_path / "int8.toml"
    fxq_.Config(skip=("last",)).save(path)
    text = explain("nets:Net", "--input", "1,6", "--config", str(path))
    assert "nodes    1 in int8, 2 in float, 2 that compute no float tensor\n" in text


def test_a_model_in_train_mode_is_explained_as_it_is_in_eval_mode(nets: Nets) -> None:
    nets("def make():\n    return nn.Sequential(nn.Linear(6, 6), nn.Dropout()).train()\n")
    assert {row["op"]: row["verdict"] for row in table(explain("nets:make", "--input", "1,6"))}["Dropout"] == "int8"


def test_the_engine_is_the_one_that_fxq_would_take(nets: Nets, install: Install) -> None:
    nets()
    name = torch.backends.quantized.engine
    install("fxq-ours", hook("fxq_engines", f"yield dataclasses.replace(REFERENCE, name={name!r})"))
    result = fxq("explain", "nets:Net", "--input", "1,6")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[2] == f"engine   {name} (fxq-ours 1.0)"


def test_the_random_state_is_left_alone_and_the_numbers_are_always_the_same(nets: Nets) -> None:
    nets("seen = []\ndef make():\n    seen.append(torch.rand(1).item())\n    return Net()\n")
    state = torch.get_rng_state()
    for _ in range(2):
        explain("nets:make", "--input", "1,6")
    import nets as module

    assert len(set(module.seen)) == 1
    assert len(module.seen) == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_most_frequent_reasons_and_ops_are_named(nets: Nets) -> None:
    kinds = "nn.CELU(), nn.SELU(), nn.RReLU(), nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink()"
    nets(f"def make():\n    return nn.Sequential({kinds})\n")
    line = next(line for line in explain("nets:make", "--input", "1,6").splitlines() if line.startswith("float"))
    assert line == ("float    7 x CELU, Hardshrink, RReLU, SELU, Softshrink, ...: no installed pattern matches it")


def test_a_model_without_parameters(nets: Nets) -> None:
    nets("def make():\n    return nn.Softmax(-1)\n")
    assert explain("nets:make", "--input", "1,6").splitlines()[4] == "weights  there are no parameters"


def as_json(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(explain(*arguments, "--json"))
    return document


def test_json_is_for_machines(nets: Nets) -> None:
    nets()
    document = as_json("nets:Net", "--input", "2,6")
    nodes = document.pop("nodes")
    assert document == {
        "format": 1,
        "fxq": importlib_metadata.version("fxq-core"),
        "model": "nets:Net",
        "inputs": [{"shape": [2, 6], "dtype": "float32"}],
        "engine": {"name": "reference", "provider": CORE},
        "summary": {
            "int8": 2,
            "float": 1,
            "other": 2,
            "parameters": 83,
            "int8_parameters": 72,
            "reasons": [{"reason": "no installed pattern matches it", "count": 1, "ops": ["CELU"]}],
        },
        "notes": [],
        "corrected": ["layer", "last"],
    }
    assert [node["node"] for node in nodes] == ["x", "layer", "act", "last", "output"]
    assert nodes[1:3] == [
        {"part": "", "node": "layer", "module": "layer", "op": "Linear", "verdict": "int8", "pattern": "linear",
         "provider": CORE, "reason": "", "where": ""},
        {"part": "", "node": "act", "module": "act", "op": "CELU", "verdict": "float", "pattern": "",
         "provider": "fxq-core", "reason": "no installed pattern matches it", "where": "nets.py:11"},
    ]  # fmt: skip


def test_json_has_the_notes(nets: Nets) -> None:
    nets("def make():\n    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))\n")
    assert as_json("nets:make", "--input", "1,3,4,4")["notes"] == [{"module": "1", "note": "folded into 0"}]


def test_every_key_of_the_json_is_in_the_help(nets: Nets) -> None:
    nets()
    text = fxq("explain", "--help").stdout
    documented = text[text.index("The JSON object") : text.index("Exit codes")]
    document = as_json("nets:Net", "--input", "2,6")
    inner = (document["summary"], document["summary"]["reasons"][0], document["nodes"][0], document["engine"])
    for keys in (document, document["inputs"][0], *inner, {"module", "note"}):
        assert [key for key in keys if not re.search(rf"\b{key}\b", documented)] == []


def test_the_json_is_all_that_is_on_stdout_even_if_there_are_warnings(nets: Nets, install: Install) -> None:
    nets()
    install("fxq-broken", "raise ImportError('no kernel')")
    result = fxq("explain", "nets:Net", *REFERENCE, "--json")
    assert json.loads(result.stdout)["format"] == 1
    assert result.stderr == (
        "warning: plugin fxq-broken 1.0 (entry point 'broken') failed to load: ImportError: no kernel; "
        f"everything else works without it\n{GUESSED}"
    )


def test_what_the_model_prints_is_no_part_of_the_result(nets: Nets) -> None:
    nets("print('hello')\ndef make():\n    print('making')\n    return Net()\n")
    result = fxq("explain", "nets:make", "--input", "1,6", *REFERENCE, "--json")
    assert json.loads(result.stdout)["format"] == 1
    assert result.stderr == "hello\nmaking\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nets",), 2, "'nets' is no import path; write MODULE:FACTORY, such as mypackage.nets:Net; "
                       "see 'fxq explain --help'"),
        (("nets:Nett",), 1, "module 'nets' has no 'Nett'; did you mean 'Net'?"),
        (("nets:torch",), 1, "'nets:torch' is a module, neither a model nor what makes one"),
        (("nets:Net", "--input", "1x6"), 2, "Invalid value for '--input': '1x6' is no shape; write its sizes with "
                                            "commas, such as 1,3,224,224; see 'fxq explain --help'"),
        (("nets:Net", "--input", "1,6", "--input", "1,6:bool", *REFERENCE), 1, "'nets:Net' refused the input "
         "1,6 and 1,6:bool (TypeError: Net.forward() takes 2 positional arguments but 3 were given); give --input "
         "SHAPE for each of its arguments"),
        (("nets:Net", "--input", "1,6", "--engine", "nonsense"), 1, "engine 'nonsense' is claimed by no installed "
         "plugin; known engines: 'reference'; others come with the plugin that brings them"),
        (("nets:Net", "--config", "none.toml"), 1, "config file 'none.toml' can't be read (FileNotFoundError: [Errno "
         "2] No such file or directory: 'none.toml')"),
        (("nets:act", *REFERENCE), 2, "nothing in 'nets:act' says what its input is; give --input SHAPE; "
                                      "see 'fxq explain --help'"),
        (("nets:half", "--input", "1,6", *REFERENCE), 1, "'weight' of the root (Linear) is torch.float16; call "
         "model.float() before quantizing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, message: str, nets: Nets) -> None:
    nets("act = nn.CELU()\nhalf = nn.Linear(6, 3).half()\n")
    assert fails(fxq("explain", *arguments), code) == f"error: {message}\n"
