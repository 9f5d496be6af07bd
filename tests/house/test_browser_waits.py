"""What a page shows is asserted in a way that waits for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.sources import python_files, shown, tree

READ_AT_ONCE = {
    "all_inner_texts",
    "all_text_contents",
    "count",
    "get_attribute",
    "inner_html",
    "inner_text",
    "input_value",
    "is_checked",
    "is_disabled",
    "is_enabled",
    "is_hidden",
    "is_visible",
    "text_content",
}
"""Methods of Playwright that read a page as it is at that moment; `expect` looks until it is so."""

ADDRESSES = {"served", "plane", "agent"}
"""Names whose `url` is the address of a server, which does not change."""


def read_at_once(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, expression) of each reading of a page inside an assertion."""
    for assertion in (node for node in ast.walk(tree) if isinstance(node, ast.Assert)):
        for node in ast.walk(assertion.test):
            match node:
                case ast.Call(func=ast.Attribute(attr=name), args=[]) if name in READ_AT_ONCE:
                    yield node.lineno, ast.unparse(node)
                case ast.Attribute(attr="url", value=owner):
                    if ast.unparse(owner).rpartition(".")[2] not in ADDRESSES:
                        yield node.lineno, ast.unparse(node)
                case _:
                    pass


def test_no_assertion_reads_a_page_at_once() -> None:
    hasty = [
        f"{shown(path)}:{line}: {text}"
        for path in python_files("tests/browser")
        for line, text in read_at_once(tree(path))
    ]
    assert not hasty, "\n".join(["Write expect(…), which waits, in place of:", *hasty])


def test_hasty_readings_are_recognised() -> None:
    text = """
assert "text=x" in page.url
assert served.url in body and plane.url
assert page.locator("#a").count() == 2 and names.count("a")
"""
    assert [line for line, _ in read_at_once(ast.parse(text))] == [2, 4]
