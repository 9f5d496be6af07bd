"""The text of a foreign exception is shown nowhere: it may quote a header or a value.

Foreign is what is no class of ours: `OSError`, `ValueError`, what a library raises. Such an error
is told with `brief`, `reason` or `outline` of `kernel/failure.py`, or logged with `exc_info`. Where
its text is shown all the same, ALLOWED has why that text is harmless.

So a text of ours in an exception of the system's class would be lost; it is in an OperationError.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.house.sources import PACKAGE, nodes, python_files, shown, tree

APART: Final = (
    "sdk/",
    "outbox/",
    "compat/",
    "sim/",
    "cli/",
    "machine/agents/demo",
    "machine/agents/scripted",
    "town_tool/",
)
"""What runs in a person's own process or terminal, and the simulator."""

ALLOWED: Final = {
    "accounts/audit_check.py _kept": "our own text about the kept head",
    "actors/kinds.py recipes": "a definition that is wrong, at the start; our own text",
    "actors/stored.py override": "our own text, to who sent the policy",
    "actors/stored.py invent": "our own text, to who sent the events",
    "actors/rebuild.py read_older": "the value of a match, not an exception",
    "consent/handlers.py Nodes.register": "our own text, to who sent the name",
    "content/prices.py parse_prices": "only the line's number is taken from it",
    "corrections/accept.py _read_row": "our own text, to who sent the row",
    "instances/views.py read_instance": "msgspec's, on a row of ours: a type and a path in it",
    "kernel/failure.py fixed": "the texts of our own classes",
    "kernel/failure.py reason": "the text of a class of ours",
    "machine/confine/landlock.py become": "the system's; this file runs without the package",
    "machine/controller/api/binder.py _read": "msgspec's, to who sent the body",
    "machine/controller/boot.py Boot._configure": "our own text about an agent that is unknown",
    "machine/controller/pairing/openclaw/device_repair.py _explain": "json's: a place in a file",
    "machine/observer/gate_file.py Gate._read": "our own text about the gate's file",
    "machine/observer/upload.py Lines.exchange": "our own text about an address",
    "machine/controller/settings.py _url": "our own text about a URL, which does not quote it",
    "pairing/handlers.py PairingCalls.set_policy": "our own text, to who sent the policy",
    "plane/backup/manifest.py decode_manifest": "msgspec's: a type and a path in the manifest",
    "plane/edge/app.py _check_response": "in tests",
    "plane/edge/body.py decode_form": "msgspec's, to who sent the form",
    "plane/edge/body.py decode_json": "msgspec's, to who sent the body",
    "plane/rehearsals.py ask_worker": "our own text, to who asked",
    "plane/settings.py _checked": "only the place is taken from it",
    "plane/settings.py _from_file": "only the line's number is taken from it",
    "plane/wiring/controllers.py MachineControllers._route": "our own text about an address",
    "plane/wiring/costs.py PriceFile._read": "our own text about the operator's file",
    "plane/wiring/files.py StoreError.__init__": "a database's about its own file",
    "plane/wiring/files.py _open_or_begin_anew": "a database's about its own file",
    "plane/wiring/files.py damaged_files": "a database's about its own file",
    "plane/wiring/local_admin.py checked": "msgspec's, to who typed the values",
    "stores/duckdb/file.py DuckdbFile.find_damage": "a database's about its own file",
    "stores/duckdb/file.py is_damage": "compared, not shown",
    "stores/sqlite/backup.py find_any_damage": "a database's about its own file",
    "stores/sqlite/corrections.py CorrectionsSqlite.search": "compared, not shown",
    "telemetry/accept.py _decode": "msgspec's, to the machine that sent the report",
    "wire/api/client.py parse": "msgspec's: a type and a path in an answer",
    "wire/controller/calls.py understand": "msgspec's: a type and a path in an answer",
}
"""File and function -> why the text that is shown there is harmless."""


OF_THE_SYSTEM: Final = frozenset(
    name
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, OSError)
)
"""The names of OSError and its subclasses."""


class _Texts(ast.NodeVisitor):
    """Finds the texts of exceptions; `foreign` has the names in scope bound to foreign ones."""

    def __init__(self, own: frozenset[str]) -> None:
        self._own = own
        self._where: list[str] = []
        self._foreign: list[str] = []
        self.found: list[tuple[int, str]] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._within(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._within(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._within(node)

    def _within(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        names = [] if isinstance(node, ast.ClassDef) else list(self._given(node))
        self._where.append(node.name)
        self._foreign += names
        self.generic_visit(node)
        del self._foreign[len(self._foreign) - len(names) :]
        self._where.pop()

    def _given(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        """Yield the parameters that are foreign exceptions, and results of `.exception()`."""
        for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            if each.annotation is not None and self._is_foreign(each.annotation):
                yield each.arg
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr | ast.Assign):
                target = inner.target if isinstance(inner, ast.NamedExpr) else inner.targets[0]
                asks = any(
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr == "exception"
                    for call in ast.walk(inner.value)
                )
                if asks and isinstance(target, ast.Name):
                    yield target.id

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        name = node.name if node.type is not None and self._is_foreign(node.type) else None
        if name:
            self._foreign.append(name)
        self.generic_visit(node)
        if name:
            self._foreign.pop()

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in {"str", "repr"} and node.args:
            self._note(node.args[0])
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self._note(node.value)
        self.generic_visit(node)

    def _note(self, shown_value: ast.expr) -> None:
        if isinstance(shown_value, ast.Name) and shown_value.id in self._foreign:
            self.found.append((shown_value.lineno, ".".join(self._where)))

    def _is_foreign(self, kind: ast.expr) -> bool:
        """Return whether a type of exceptions has one that is no class of ours."""
        if isinstance(kind, ast.Tuple):
            return any(self._is_foreign(each) for each in kind.elts)
        if isinstance(kind, ast.BinOp):
            return self._is_foreign(kind.left) or self._is_foreign(kind.right)
        name = kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "")
        if not name.endswith(("Error", "Exception", "Warning")):
            return isinstance(kind, ast.Name) and name not in self._own and name.startswith("_")
        return name not in self._own


@functools.cache
def own_classes() -> frozenset[str]:
    """Return the names of the classes in the package."""
    return frozenset(
        node.name
        for path in python_files("src/holdfast")
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
    )


def texts(path: Path) -> list[tuple[int, str]]:
    finder = _Texts(own_classes())
    finder.visit(tree(path))
    return finder.found


@functools.cache
def all_texts() -> dict[str, list[str]]:
    """Return, by file and function, the lines with texts of foreign exceptions."""
    found: dict[str, list[str]] = {}
    for path in python_files("src/holdfast"):
        inside = path.relative_to(PACKAGE).as_posix()
        if not inside.startswith(APART):
            for line, where in texts(path):
                found.setdefault(f"{inside} {where}", []).append(f"{shown(path)}:{line}")
    return found


def test_no_text_of_a_foreign_exception_is_shown() -> None:
    wrong = [line for where, lines in all_texts().items() if where not in ALLOWED for line in lines]
    assert not wrong, "use `brief` of kernel/failure.py, or add the reason:\n" + "\n".join(wrong)


def lost_texts(path: Path) -> list[int]:
    """Return the lines where a class of the system's gets a text instead of an error number."""
    return [
        node.lineno
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in OF_THE_SYSTEM
        and len(node.args) == 1
    ]


def test_no_text_of_ours_is_lost() -> None:
    wrong = [
        f"{shown(path)}:{line}"
        for path in python_files("src/holdfast")
        if not path.relative_to(PACKAGE).as_posix().startswith(APART)
        for line in lost_texts(path)
    ]
    assert not wrong, "raise OperationError of kernel/failure.py:\n" + "\n".join(wrong)


def test_texts_that_would_be_lost_are_recognised(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text(
        "future.set_exception(ConnectionResetError(brief(error)))\n"
        "raise OSError('why')\n"
        "raise OSError(errno.EIO, 'why')\n"
        "raise OperationError('why')\n"
        "raise TimeoutError\n"
    )
    assert sorted(lost_texts(odd)) == [1, 2]


def test_every_allowance_is_used() -> None:
    assert not sorted(set(ALLOWED) - set(all_texts()))


def test_texts_are_recognised(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text(
        "def f(task, given: Exception):\n"
        "    try:\n"
        "        g()\n"
        "    except StoreError as ours:\n"
        "        log.info('x', why=str(ours))\n"
        "    except (StoreError, OSError) as error:\n"
        "        log.info('x', why=str(error))\n"
        "        raise ValueError(f'x: {error!r}')\n"
        "    if (late := task.exception()) is not None:\n"
        "        log.info('x', why=repr(late))\n"
        "    log.info('x', why=f'{given}', kind=type(given).__name__, exc_info=given)\n"
    )
    assert texts(odd) == [(7, "f"), (8, "f"), (10, "f"), (11, "f")]
