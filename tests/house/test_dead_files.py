"""No module lies about unused: something imports it, starts it, or offers it to the outside."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from tests.house.sources import ROOT, SRC, imports, module_name, nodes, python_files, shown, tree

# Packages whose users are outside this package: their modules may be reached from tests alone.
OFFERED = ("holdfast.compat", "holdfast.outbox", "holdfast.sdk", "holdfast.sim")

# The twin in memory of a port: its use is to be held to the same suite as the real adapter.
TWIN = re.compile(r"holdfast\.(stores\.memory\.\w+|world\.\w+\.simulated\w*)")


def imported_names(paths: list[Path]) -> set[str]:
    """Every dotted name in an import, and in a string (python -m, worker entry points)."""
    found = {name for path in paths for _, name in imports(path)}
    found |= {name for path in paths for name in started_names(path)}
    return found


def started_names(path: Path) -> set[str]:
    """Modules that are started, not imported: named whole, or as a file beside this one."""
    texts = {
        node.value
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value
    }
    whole = {text.partition(":")[0] for text in texts if text.startswith("holdfast.")}
    beside = {path.with_name(text) for text in texts if re.fullmatch(r"[a-z_]+\.py", text)}
    return whole | {module_name(file) for file in beside if file.is_file() and SRC in file.parents}


def test_every_module_is_used() -> None:
    source = python_files("src/holdfast")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    entries = {target.partition(":")[0] for target in scripts.values()}
    used = imported_names(source) | imported_names(python_files("tools")) | entries
    outside = imported_names(python_files("tests"))
    suites = imported_names(python_files("tests/contract"))
    dead = [
        shown(path)
        for path in source
        if path.stem not in {"__init__", "__main__"}
        if (name := module_name(path)) not in used
        if not (name.startswith(OFFERED) and name in outside)
        if not (TWIN.fullmatch(name) and name in suites)
    ]
    assert not dead, "imported by nothing in src: wire it in or delete it:\n" + "\n".join(dead)


def test_no_package_is_empty() -> None:
    empty = [
        shown(path.parent)
        for path in python_files("src/holdfast")
        if path.name == "__init__.py"
        if not [other for other in path.parent.rglob("*.py") if other != path]
        if not [node for node in tree(path).body if not isinstance(node, ast.Expr)]
    ]
    assert not empty, f"packages without a module: {empty}"
