"""Name the functions, classes and values of the package that nothing uses, and fail if there are.

`make dead` runs it: vulture over src, tools and tests, so that what only a test uses is used. It is
given what it cannot see by [tool.vulture] in pyproject.toml. The annotated fields of a class are
data, read by whoever is handed them (a program on the other side of the wire, a template), so they
are not looked at.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path
from typing import Final

from vulture import Vulture

ROOT: Final = Path(__file__).resolve().parent.parent
REPORTED: Final = ("src", "tools")
CONFIDENCE: Final = 60
"""Percent, vulture's own lowest: what has a name nobody says."""


def field_lines(path: Path) -> set[int]:
    """Return the lines on which classes declare annotated fields."""
    classes = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    return {
        item.lineno for node in classes for item in node.body if isinstance(item, ast.AnnAssign)
    }


def find_dead(paths: list[Path], reported: tuple[Path, ...]) -> list[str]:
    """Return a line for each thing below `reported` that nothing in `paths` uses."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["vulture"]
    seeker = Vulture(
        ignore_names=config["ignore_names"], ignore_decorators=config["ignore_decorators"]
    )
    seeker.scavenge([str(path) for path in paths])
    return [
        f"{item.filename}:{item.first_lineno} unused {item.typ} {item.name}"
        for item in seeker.get_unused_code(min_confidence=CONFIDENCE)
        if any(Path(item.filename).is_relative_to(folder) for folder in reported)
        if item.first_lineno not in field_lines(Path(item.filename))
    ]


def main() -> int:
    """Print what is dead; return 1 when there is any."""
    paths = [ROOT / name for name in (*REPORTED, "tests")]
    dead = find_dead(paths, tuple(ROOT / name for name in REPORTED))
    sys.stdout.writelines(f"{line}\n" for line in dead)
    if dead:
        sys.stdout.write("remove it, or say in [tool.vulture] of pyproject.toml who uses it\n")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
