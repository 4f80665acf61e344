"""What the core may not know, hold or grow to: read from its source."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = sorted((ROOT / "fxq_core").rglob("*.py"))
NATIVE = [path for path in PACKAGE if path.is_relative_to(ROOT / "fxq_core" / "native")]
CORE = [path for path in PACKAGE if path not in NATIVE]
TESTING = [path for path in CORE if path.is_relative_to(ROOT / "fxq_core" / "testing")]
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))

HARDWARE = re.compile(r"\b(fbgemm|qnnpack|xnnpack|onednn|x86|torchao|torch\.ao|quint8|qint8)\b", re.IGNORECASE)
MUTABLE_CALLS = {
    "list",
    "dict",
    "set",
    "bytearray",
    "defaultdict",
    "deque",
    "Counter",
    "OrderedDict",
    "WeakKeyDictionary",
}
MUTATORS = {
    "add",
    "append",
    "appendleft",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "setdefault",
    "update",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def test_the_sources_are_here() -> None:
    assert len(CORE) > 30
    assert NATIVE
    assert TESTING
    assert PLUGINS


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_names_no_hardware(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if HARDWARE.search(line)] == []


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, also inside functions, and the names it takes from them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_imports_no_native_code_and_no_plugin(path: Path) -> None:
    banned = ("fxq_core.native", "torch.ao", "torchao", *{p.parent.name for p in PLUGINS})
    # the conformance kit is for tests, and needs what only tests have
    banned = banned if path in TESTING else (*banned, "fxq_core.testing", "pytest", "hypothesis")
    assert [name for name in imports(path) if f"{name}.".startswith(tuple(f"{other}." for other in banned))] == []


@pytest.mark.parametrize("path", [*PACKAGE, *PLUGINS], ids=name_of)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 250


def test_half_of_the_files_are_short() -> None:
    assert statistics.median(len(path.read_text().splitlines()) for path in [*PACKAGE, *PLUGINS]) < 100


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return True
    if isinstance(value, ast.Call):
        function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        return getattr(function, "id", getattr(function, "attr", "")) in MUTABLE_CALLS
    return isinstance(value, ast.BinOp) and (is_mutable(value.left) or is_mutable(value.right))


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    """What is assigned when a module is imported, also in its loops, conditions and classes."""
    for statement in body:
        if isinstance(statement, ast.Assign):
            yield from ((ast.unparse(target), statement.value) for target in statement.targets)
        elif isinstance(statement, ast.AnnAssign):
            yield ast.unparse(statement.target), statement.value
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from assignments(getattr(statement, field, []))


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_no_module_holds_a_container_that_changes(path: Path) -> None:
    """A table that is written once is a constant, named in capitals, and nothing writes to it again."""
    held = [name for name, value in assignments(tree(path).body) if is_mutable(value)]
    assert [name for name in held if not name.isupper() and name != "__all__"] == []
    for node in ast.walk(tree(path)):
        written: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            written = node.func.value
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            written = node.value
        elif isinstance(node, ast.AugAssign):
            written = node.target
        assert not (isinstance(written, (ast.Name, ast.Attribute)) and ast.unparse(written).split(".")[-1].isupper()), (
            f"{name_of(path)}:{node.lineno} writes to {ast.unparse(written)}"
        )
        assert not isinstance(node, ast.Global), f"{name_of(path)}:{node.lineno} declares a global"


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_types_that_are_defined_as_data_are_frozen_or_say_why_not(path: Path) -> None:
    """Every dataclass has slots; those that users and plugins see are frozen."""
    for node in ast.walk(tree(path)):
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(node, ast.ClassDef) and "dataclass" in ast.unparse(decorator):
                assert "slots=True" in ast.unparse(decorator), f"{name_of(path)}: {node.name}"
