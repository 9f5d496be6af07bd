"""A function fits a screen and a module fits a head."""

from __future__ import annotations

import ast

from tests.house.sources import definitions, python_files, shown

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600

FILES = python_files("src", "tools", "tests")


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in FILES
        for node in definitions(path)
        if not isinstance(node, ast.ClassDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, f"at most {FUNCTION_LINES_MAX} lines each; split by what they do:\n" + (
        "\n".join(long)
    )


def test_modules_are_short() -> None:
    long = [
        f"{shown(path)} has {lines} lines"
        for path in FILES
        if (lines := path.read_text(encoding="utf-8").count("\n")) > MODULE_LINES_MAX
    ]
    assert not long, f"at most {MODULE_LINES_MAX} lines each; split by noun:\n" + "\n".join(long)
