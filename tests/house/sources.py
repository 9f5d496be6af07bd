"""The project's own source as the house tests see it: files, modules, syntax trees, names."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SRC: Final = ROOT / "src"
PACKAGE: Final = SRC / "holdfast"


def python_files(*folders: str) -> list[Path]:
    """Every Python file below the named folders of the repository, sorted."""
    found: list[Path] = []
    for folder in folders:
        found += [path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]
    return sorted(found)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file: some twenty tests look at each, and a walk is slow."""
    return tuple(ast.walk(tree(path)))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """`src/holdfast/kernel/clock.py` is `holdfast.kernel.clock`; an __init__ is its package."""
    parts = list(path.relative_to(SRC).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Return (line, dotted name) for everything imported, at any depth.

    `from a import b` is both `a` and `a.b`, because b may be a module.
    """
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield node.lineno, base
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


@functools.cache
def bindings(path: Path) -> dict[str, str]:
    """Map each name an import binds to the dotted name it stands for."""
    bound: dict[str, str] = {}
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    bound[alias.asname] = alias.name
                else:
                    top = alias.name.partition(".")[0]
                    bound[top] = top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return bound


@functools.cache
def uses(path: Path) -> tuple[tuple[int, str], ...]:
    """Return (line, dotted name) for each use of an imported name, resolved through its import."""
    return tuple(_uses(path))


def _uses(path: Path) -> Iterator[tuple[int, str]]:
    bound = bindings(path)
    for node in nodes(path):
        if isinstance(node, ast.Attribute | ast.Name):
            dotted = dotted_name(node)
            head, _, rest = dotted.partition(".")
            if head in bound:
                yield node.lineno, f"{bound[head]}.{rest}".rstrip(".")


def dotted_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def definitions(
    path: Path,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


@functools.cache
def kept_files() -> tuple[Path, ...]:
    """Every file git keeps or would keep: tracked, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))
