"""No function reads a name that its module does not have: linters cannot say so beside shapes in strings."""

from __future__ import annotations

import builtins
import dis
import importlib
import pkgutil
import types
from collections.abc import Iterator

import pytest

import jensen


def read(code: types.CodeType) -> Iterator[str]:
    """Yield the globals that code reads, and code within it."""
    yield from (line.argval for line in dis.get_instructions(code) if line.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from read(inner)


def missing(source: str, known: set[str]) -> set[str]:
    """Return the names read that are not there."""
    return set(read(compile(source, "module", "exec"))) - known - set(vars(builtins))


MODULES = sorted(found.name for found in pkgutil.walk_packages(jensen.__path__, "jensen."))


@pytest.mark.parametrize("folder", sorted({name.split(".")[1] for name in MODULES}))
def test_names_that_are_read_exist(folder: str):
    names = [name for name in MODULES if name.split(".")[1] == folder and not name.endswith("__main__")]
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:  # an extra that is not installed says so itself
            assert "jensen[" in str(error)
            continue
        assert module.__file__ is not None
        with open(module.__file__, encoding="utf-8") as file:
            assert not missing(file.read(), set(vars(module))), name


def test_a_name_that_is_not_there_is_found():
    assert missing("def f(x):\n    return [gone(x) for _ in x]", {"f"}) == {"gone"}
