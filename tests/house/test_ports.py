"""A port that a test names is taken from its process's range; one that it opens may be any."""

from __future__ import annotations

import ast
from typing import Final

from tests.house.sources import nodes, python_files, shown
from tests.support import ports

ALLOWED: Final = {
    "tests/integration/confine/stage.py": "it runs without this package, and listens there at once",
    "tests/support/ports.py": "of the range of its process",
    "tests/unit/machine/test_state_folder.py": "a socket with a path, which has no port",
}

_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return, ast.Try)


def lets_go(node: ast.AST) -> bool:
    """Return whether a socket is opened to learn of a free port, and closed again."""
    if not isinstance(node, ast.With) or not all(isinstance(one, _SIMPLE) for one in node.body):
        return False
    inside = {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Call)}
    opens = any("socket" in ast.unparse(item.context_expr) for item in node.items)
    binds = any(".bind(" in call or "create_server(" in call for call in inside)
    used = any(".listen(" in call for call in inside)
    used = used or any(isinstance(each, ast.Yield | ast.Await) for each in ast.walk(node))
    return opens and binds and not used


def test_no_test_lets_a_port_go_that_it_will_use() -> None:
    found = {shown(path) for path in python_files("tests") if any(map(lets_go, nodes(path)))}
    assert found == ALLOWED.keys(), "use free_port of tests/support/ports.py"


def test_letting_go_is_recognised() -> None:
    text = """
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
with socket.socket() as kept:
    kept.bind(("127.0.0.1", 0))
    kept.listen()
"""
    found = [node.lineno for node in ast.walk(ast.parse(text)) if lets_go(node)]  # type: ignore[attr-defined]
    assert found == [2, 5]


def test_ports_are_the_processes_own_and_come_in_turn() -> None:
    _, last = ports.machine_ports()
    one, other = ports.free_port(), ports.free_port()
    assert last < one < other < ports.port_first() + ports.MACHINES + ports.SINGLE
    assert ports.PORT_BASE + ports.RANGES * (ports.MACHINES + ports.SINGLE) < 32_768
