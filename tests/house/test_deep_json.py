"""Who catches what a decoder of JSON raises catches deep nesting and bad UTF-8 too.

A text of a hundred thousand opening brackets is a RecursionError to every decoder, which passes
each `except ValueError` and ends the task, thread or process that reads the text. What is not UTF-8
is a UnicodeDecodeError to msgspec's, which is a ValueError and none of msgspec's own errors.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.house.sources import (
    PACKAGE,
    bindings,
    dotted_name,
    module_name,
    python_files,
    shown,
    tree,
)

FROM_OTHERS = (
    "corrections", "instances", "machine", "outbox", "pairing", "relay", "sdk", "telemetry",
    "wire", "world",
)  # fmt: skip
"""Where JSON is read that an agent, a server, a cloud or a sender may have written."""

TOLD_APART = frozenset({"machine/controller/pairing/openclaw/device_repair.py"})
"""Files whose callers catch it, and say so."""

DECODERS = frozenset({"json.loads", "json.load", "msgspec.json.decode"})

RAISED = frozenset({
    "ValueError", "json.JSONDecodeError", "msgspec.DecodeError", "msgspec.ValidationError",
    "msgspec.MsgspecError",
})  # fmt: skip
"""What decoders raise besides."""

EVERYTHING = frozenset({"Exception", "BaseException"})
ENOUGH = {
    "deep": EVERYTHING | {"RecursionError", "RuntimeError"},
    "UTF-8": EVERYTHING | {"ValueError", "UnicodeError", "UnicodeDecodeError"},
}
"""What of the two faults is caught by which names."""


def test_who_reads_json_minds_its_depth() -> None:
    names = {path: path.relative_to(PACKAGE) for path in python_files("src")}
    read = [path for path, name in names.items() if name.parts[0] in FROM_OTHERS]
    read = [path for path in read if names[path].as_posix() not in TOLD_APART]
    found = [f"{shown(path)}:{line}" for path in read for line in _lax(tree(path), _lent(path))]
    assert read
    assert not found, f"catch RecursionError beside the others, or use parsers.from_json: {found}"


def test_who_reads_json_minds_what_is_not_text() -> None:
    found = [
        f"{shown(path)}:{line}"
        for path in python_files("src")
        for line in _lax(tree(path), _lent(path), "UTF-8")
    ]
    assert not found, f"catch UnicodeError beside the others, or use parsers.from_json: {found}"


def test_the_rule_finds_what_it_is_for() -> None:
    lax = "try:\n    json.loads(raw)\nexcept (OSError, ValueError):\n    pass\n"
    assert list(_lax(ast.parse(lax))) == [1]
    assert not list(_lax(ast.parse(lax.replace("OSError", "RecursionError"))))
    assert not list(_lax(ast.parse(lax.replace("json.loads", "parsers.from_json"))))
    made = "_KIND: Final = msgspec.json.Decoder(Kind)\n" + lax.replace("json.loads", "_KIND.decode")
    assert list(_lax(ast.parse(made))) == [2]
    assert not list(_lax(ast.parse(made), fault="UTF-8"))
    assert list(_lax(ast.parse(made.replace("ValueError", "msgspec.MsgspecError")), fault="UTF-8"))


def test_the_rule_finds_a_decoder_in_a_function_that_is_called() -> None:
    called = "def recall(raw):\n    return json.loads(raw)\n"
    lax = "try:\n    recall(raw)\nexcept ValueError:\n    pass\n"
    assert list(_lax(ast.parse(called + lax))) == [3]
    through = "def read(raw):\n    return recall(raw)\n" + lax.replace("recall", "read")
    assert list(_lax(ast.parse(called + through))) == [5]
    assert list(_lax(ast.parse(lax), frozenset({"recall"}))) == [1]
    assert not list(_lax(ast.parse(called + lax.replace("ValueError", "LookupError"))))
    caught = (
        "def recall(raw):\n    try:\n        json.loads(raw)\n    except Exception:\n        pass\n"
    )
    assert not list(_lax(ast.parse(caught + lax)))


def _lax(
    module: ast.Module, lent: frozenset[str] = frozenset(), fault: str = "deep"
) -> Iterator[int]:
    """Yield the lines of each `try` whose handlers miss what a decoder within it raises.

    What calls one may also be a function of the module, or a name of `lent`; a handler of what a
    decoder raises then shows that the `try` is about that.
    """
    own = DECODERS | {f"{name}.decode" for name in _made_decoders(module)}
    callers = _passing_on(module, own | lent)
    for node in ast.walk(module):
        if not isinstance(node, ast.Try):
            continue
        caught = {ast.unparse(name) for handler in node.handlers for name in _names(handler)}
        decoders = callers if caught & RAISED else own
        is_caught = bool(caught & ENOUGH[fault])
        if caught and not is_caught and any(_decodes(one, decoders) for one in node.body):
            yield node.lineno


def _made_decoders(module: ast.Module) -> Iterator[str]:
    """Yield the names at the top of a module that are decoders of msgspec's."""
    for node in module.body:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and dotted_name(value.func) == "msgspec.json.Decoder":
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]  # type: ignore[attr-defined]
            yield from (ast.unparse(one) for one in targets)


def _decodes(node: ast.AST, decoders: frozenset[str]) -> bool:
    """Return whether a call of a decoder is in a piece of code, outside of what catches it."""
    if isinstance(node, ast.Call) and dotted_name(node.func) in decoders:
        return True
    inner: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.Try) and node.handlers:  # what it misses is its own fault
        inner = [*node.handlers, *node.orelse, *node.finalbody]
    return any(_decodes(one, decoders) for one in inner)


def _passing_on(module: ast.Module, decoders: frozenset[str]) -> frozenset[str]:
    """Add the module's own functions in which a decoder is called and not caught."""
    made = [one for one in module.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    while more := {one.name for one in made if _decodes(one, decoders)} - decoders:
        decoders |= more
    return decoders


@functools.cache
def _lenders() -> dict[str, frozenset[str]]:
    """Return, by module of the package, its functions in which a decoder is called directly."""
    return {
        module_name(path): _passing_on(tree(path), DECODERS) - DECODERS
        for path in python_files("src")
        if any(one in path.read_text(encoding="utf-8") for one in DECODERS)
    }


def _lent(path: Path) -> frozenset[str]:
    """Return the names in a file of other modules' functions that raise what a decoder raises."""
    found = set[str]()
    for name, dotted in bindings(path).items():
        module, _, function = dotted.rpartition(".")
        if function in _lenders().get(module, ()):
            found.add(name)
        found |= {f"{name}.{one}" for one in _lenders().get(dotted, ())}
    return frozenset(found)


def _names(handler: ast.ExceptHandler) -> list[ast.expr]:
    kind = handler.type
    if kind is None:
        return [ast.Name("BaseException")]
    return kind.elts if isinstance(kind, ast.Tuple) else [kind]
