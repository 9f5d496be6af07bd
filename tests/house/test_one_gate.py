"""Content of nodes is stored through one gate: nothing else makes what a store takes, or writes.

A store's `write` takes `Admitted` alone. So whoever would write past the gate has to name one of
the things here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.sources import PACKAGE, imports, nodes, python_files, shown

GATE = "content/gate.py"
FLOW = "content/flow.py"
STORES = ("stores/sqlite/content.py", "stores/memory/content.py")
STORE = "holdfast.stores.sqlite.content"
REACH = (
    "holdfast.content",
    STORE,
    "holdfast.stores.memory.content",
    "holdfast.plane.wiring.content",
)
"""Whoever has a store of content got it by one of these."""
SQL = PACKAGE / "stores" / "sqlite" / "sql"
WRITES = re.compile(r"\b(?:INTO|UPDATE)\s+(items|streams|usage)\b")


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def called(name: str) -> set[str]:
    """Return the files that call something of this name, whatever it is an attribute of."""
    return {
        inside(path)
        for path in python_files("src/holdfast")
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and name
        == (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
    }


def test_the_gate_alone_makes_what_a_store_takes() -> None:
    assert called("Admitted") == {GATE, "telemetry/accept.py"}, "telemetry has its own"
    assert called("admit") & {path for path in called("admit") if path.startswith("content/")} == {
        FLOW
    }


def test_the_flow_alone_writes_to_the_store() -> None:
    writers = {
        inside(path)
        for path in python_files("src/holdfast")
        if any(name.startswith(REACH) for _, name in imports(path))
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr == "write"
    }
    assert writers == {FLOW, STORES[0]}, "the file's own statements are below"
    by_name = {
        inside(path)
        for path in python_files("src/holdfast")
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and node.attr == "write"
        and ast.unparse(node.value).endswith("store")
    }
    assert by_name == {FLOW, "corrections/flow.py", "stores/memory/journal.py"}, (
        "others have theirs"
    )
    importers = {
        shown(path)
        for path in python_files("src/holdfast")
        for _, name in imports(path)
        if name.startswith(STORE)
    }
    assert importers == {"src/holdfast/plane/wiring/content.py"}


def test_no_other_statement_touches_the_tables_of_content() -> None:
    found = {
        path.relative_to(SQL).as_posix(): sorted(set(WRITES.findall(path.read_text())))
        for path in sorted(SQL.rglob("*.sql"))
        if WRITES.search(path.read_text())
    }
    assert found == {"content/write.sql": ["items", "streams", "usage"]}
    named = {
        inside(path)
        for path in python_files("src/holdfast")
        for node in nodes(path)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in {"add_items", "replace_item", "add_usage"}
    }
    assert named == {STORES[0]}


def test_no_file_of_content_touches_the_disk_or_a_socket() -> None:
    for path in python_files("src/holdfast/content"):
        for line, name in imports(path):
            top = name.partition(".")[0]
            assert top not in {"os", "io", "pathlib", "tempfile", "socket", "shutil"}, (path, line)
