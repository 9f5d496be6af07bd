"""Patterns that every supported Python matches alike.

A possessive repeat (`*+`) or atomic group whose body can be matched in two ways is matched wrongly
before Python 3.11.5 (CPython gh-106052), so neither is used.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.house.sources import nodes, python_files, shown

# What `re` compiles a pattern with; it is not public, and there is no other way to see its parts.
_parser: Any = importlib.import_module("re._parser")
_constants: Any = importlib.import_module("re._constants")
REFUSED = {_constants.POSSESSIVE_REPEAT, _constants.ATOMIC_GROUP}


def opcodes(found: Any) -> Iterator[Any]:
    """Yield every opcode of a parsed pattern, at any depth."""
    for one in found:
        if isinstance(one, tuple | list | _parser.SubPattern):
            yield from opcodes(one)
        else:
            yield one


def refused(pattern: str | bytes) -> bool:
    return any(one in REFUSED for one in opcodes(_parser.parse(pattern)))


def patterns(path: Path) -> Iterator[tuple[int, str | bytes]]:
    """Yield the line and text of each pattern that is written as a constant."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            for given in node.args[:1]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str | bytes):
                    yield node.lineno, given.value


def test_no_pattern_repeats_possessively() -> None:
    wrong = [
        f"{shown(path)}:{line}"
        for path in python_files("src", "tools")
        for line, pattern in patterns(path)
        if refused(pattern)
    ]
    assert not wrong, "write it without *+ and (?>:\n" + "\n".join(wrong)


def test_the_check_sees_them() -> None:
    assert [refused(one) for one in (r"a(b|c)*+", rb"(?>a)", r"\*+(a+)")] == [True, True, False]
