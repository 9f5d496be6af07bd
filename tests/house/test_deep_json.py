"""Who catches what a decoder of JSON raises catches deep nesting too: it is no ValueError.

A text of a hundred thousand opening brackets is a RecursionError to every decoder, which passes
each `except ValueError` and ends the task, thread or process that reads the text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.sources import PACKAGE, python_files, shown, tree

FROM_OTHERS = (
    "corrections", "instances", "machine", "outbox", "pairing", "relay", "sdk", "telemetry",
    "wire", "world",
)  # fmt: skip
"""Where JSON is read that an agent, a server, a cloud or a sender may have written."""

TOLD_APART = frozenset({"machine/controller/pairing/openclaw/device_repair.py"})
"""Files whose callers catch it, and say so."""

DECODERS = frozenset({"json.loads", "json.load", "msgspec.json.decode"})

ENOUGH = frozenset({"RecursionError", "RuntimeError", "Exception", "BaseException"})


def test_who_reads_json_minds_its_depth() -> None:
    names = {path: path.relative_to(PACKAGE) for path in python_files("src")}
    read = [path for path, name in names.items() if name.parts[0] in FROM_OTHERS]
    read = [path for path in read if names[path].as_posix() not in TOLD_APART]
    found = [f"{shown(path)}:{line}" for path in read for line in _lax(tree(path))]
    assert read
    assert not found, f"catch RecursionError beside the others, or use parsers.from_json: {found}"


def test_the_rule_finds_what_it_is_for() -> None:
    lax = "try:\n    json.loads(raw)\nexcept (OSError, ValueError):\n    pass\n"
    assert list(_lax(ast.parse(lax))) == [1]
    assert not list(_lax(ast.parse(lax.replace("OSError", "RecursionError"))))
    assert not list(_lax(ast.parse(lax.replace("json.loads", "parsers.from_json"))))


def _lax(module: ast.Module) -> Iterator[int]:
    """Yield the lines of each `try` whose handlers miss what a decoder within it raises."""
    for node in ast.walk(module):
        if isinstance(node, ast.Try) and any(map(_decodes, node.body)):
            caught = {ast.unparse(name) for handler in node.handlers for name in _names(handler)}
            if caught and not caught & ENOUGH:
                yield node.lineno


def _decodes(node: ast.stmt) -> bool:
    return any(
        isinstance(inner, ast.Call) and ast.unparse(inner.func) in DECODERS
        for inner in ast.walk(node)
    )


def _names(handler: ast.ExceptHandler) -> list[ast.expr]:
    kind = handler.type
    if kind is None:
        return [ast.Name("BaseException")]
    return kind.elts if isinstance(kind, ast.Tuple) else [kind]
