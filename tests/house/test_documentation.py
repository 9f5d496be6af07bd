"""Every setting, endpoint, event, letter, metric and command is documented, and no ghost is.

The pages are written from the code by tools/reference.py (`make docs`). What exists is discovered
when the test runs; a package without code is reported as such.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.sources import ROOT, SRC, kept_files, shown
from tools import reference

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")

COMPAT = ROOT / "docs" / "compat"
COMPAT_PAGE = re.compile(r"\bcompat/([\w-]+\.md)")
AGREEMENT = re.compile(
    r"""(?<![\w"`-])(?<!\bimport )contract(?:'s)?(?![\w"`])(?! (?:suite|test)s?\b)"""
)
"""The word in another sense than a suite of tests, a rule of imports, or a name in code."""


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_page(name: str, covered: list[str]) -> None:
    page = reference.PAGES[name]()
    target = reference.FOLDER / f"{name}.md"
    if page is None:
        covered.append(f"{name}: no code yet, so no page")
        assert not target.exists(), f"{shown(target)} describes what does not exist: make docs"
        return
    covered.append(f"{name}: {len(page.entries)} entries")
    assert page.entries, f"{name}: there is code, but nothing was discovered in it"
    silent = [entry.name for entry in page.entries if not entry.meaning.strip()]
    assert not silent, f"{name}: nothing says what these are: {silent}"
    names = [(entry.name, entry.cells[:1]) for entry in page.entries]
    assert len(set(names)) == len(names), f"{name}: one word for one thing"
    assert target.is_file(), f"{shown(target)} is missing: make docs"
    assert target.read_text(encoding="utf-8") == page.render(), f"{shown(target)}: make docs"


def test_the_controllers_openapi() -> None:
    kept = reference.CONTROLLER_OPENAPI.read_text(encoding="utf-8")
    assert kept == reference.controller_openapi(), "make docs"


def test_no_page_without_a_source() -> None:
    pages = {path.stem for path in reference.FOLDER.glob("*.md")} - {"README"}
    assert pages <= set(reference.PAGES)


def test_every_package_has_its_readme() -> None:
    bare = [
        shown(path)
        for path in reference.PACKAGE.rglob("__init__.py")
        if path.parent.name != "migrations" and len(path.read_text(encoding="utf-8")) < 60
    ]
    assert not bare, "a package says in its docstring what it is for and must never do:\n" + (
        "\n".join(bare)
    )


def test_every_decision_is_listed_and_every_listed_one_is_there() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d{4})\]\((\d{4})(-\S+\.md)\) \| \S", index, re.MULTILINE)
    records = sorted(path.name for path in folder.glob("[0-9][0-9][0-9][0-9]-*.md"))
    assert records
    assert [number + rest for _, number, rest in listed] == records
    assert all(told == number for told, number, _ in listed)


def _texts_that_cite() -> list[Path]:
    """Return source and documentation, but for records, whose wording is not changed later."""
    docs = ROOT / "docs"
    return [
        path
        for path in kept_files()
        if path.is_relative_to(SRC) or path.is_relative_to(docs)
        if path.suffix in {".py", ".md", ".sql", ".toml", ".js", ".html", ".json"}
        if path.parent not in {docs / "decisions", docs / "images"}
    ]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("the contract's figure", True),
        ("as in the\ncontract, section 1.4", True),
        ("controller contract 2.3", True),
        ("under one contract suite", False),
        ("an import contract holds it", False),
        ("import contracts in pyproject.toml", False),
        ('POLICIES = {"contract": CONTRACT}', False),
    ],
)
def test_what_counts_as_an_agreement(text: str, is_one: bool) -> None:  # noqa: FBT001  a verdict
    assert bool(AGREEMENT.search(text)) is is_one


def test_what_others_expect_is_cited_by_its_page() -> None:
    """Who reads "the contract" finds no such document: a page of docs/compat is what there is."""
    nameless = [
        f"{shown(path)}: {' '.join(part.split())[:80]}"
        for path in _texts_that_cite()
        for part in path.read_text(encoding="utf-8").split("\n\n")
        if AGREEMENT.search(part) and not COMPAT_PAGE.search(part)
    ]
    assert not nameless, "name the page of docs/compat:\n" + "\n".join(nameless)


def test_pages_of_compat_are_cited_listed_and_there() -> None:
    pages = {path.name for path in COMPAT.glob("*.md")}
    cited = {
        (shown(path), name)
        for path in _texts_that_cite()
        for name in COMPAT_PAGE.findall(path.read_text(encoding="utf-8"))
    }
    gone = [f"{path}: {name}" for path, name in sorted(cited) if name not in pages]
    assert not gone, "no such page in docs/compat:\n" + "\n".join(gone)
    index = (COMPAT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[([\w-]+\.md)\]\(\1\)", index, re.MULTILINE))
    assert listed == pages - {"README.md"}
    mute = [
        name
        for name in sorted(listed)
        if "\n## Deviations\n" not in (COMPAT / name).read_text(encoding="utf-8")
    ]
    assert not mute, f"these do not say where we differ: {mute}"


def test_links_lead_somewhere() -> None:
    broken = [
        f"{shown(path)}: {link}"
        for path in kept_files()
        if path.suffix == ".md"
        for link in LINK.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / link).exists()
    ]
    assert not broken, "\n".join(broken)


def test_readme_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = set(re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", readme, re.MULTILINE))
    assert {"up", "test"} <= wanted
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert wanted <= targets
