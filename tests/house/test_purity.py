"""A file with a pure name imports nothing that touches the world.

This looks at each file's own imports; that nothing impure is reached through another module is
an import contract (.importlinter). Together they let a rehearsal trust every rule.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT, imports, module_name, python_files, shown, uses
from tools import pure_files

STDLIB_PACKAGES = {
    "kernel": ("holdfast.kernel",),
    "disk": ("holdfast.disk",),
    "outbox": ("holdfast.outbox", "holdfast.disk", "holdfast.kernel"),
    "sdk": ("holdfast.sdk", "holdfast.outbox", "holdfast.disk", "holdfast.kernel"),
    "town_tool": ("holdfast.town_tool", "holdfast.outbox", "holdfast.town_mcp"),
}

IMPURE = {
    "_thread", "aiohttp", "aiosql", "apsw", "asyncio", "concurrent", "ctypes", "duckdb", "fcntl",
    "glob", "http.client", "http.server", "io", "logging", "multiprocessing", "os", "pathlib",
    "prometheus_client", "random", "requests", "resource", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "sqlite3", "ssl", "starlette", "structlog", "subprocess",
    "tempfile", "threading", "time", "urllib.request", "uvicorn", "uvloop",
}  # fmt: skip

PURE_FILES = pure_files.pure_files()

# The one real clock lies beside its port; that nothing pure makes one is tested below.
ALLOWED = {("holdfast.kernel.clock", "time")}


def impure_imports(path: Path) -> list[str]:
    name = module_name(path)
    return [
        f"{shown(path)}:{line} imports {imported}"
        for line, imported in imports(path)
        for banned in IMPURE
        if imported == banned or imported.startswith(banned + ".")
        if (name, imported.partition(".")[0]) not in ALLOWED
    ]


def test_contributors_are_told_the_names_of_the_import_contract() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = re.search(r"A file called ([^.]*?) is pure", text)
    assert told
    assert set(re.findall(r"`(\w+)`", told[1])) == pure_files.NAMES
    assert len(pure_files.NAMES) >= 15


def test_there_are_pure_files() -> None:
    assert len(PURE_FILES) >= 10


def test_pure_files_import_nothing_impure() -> None:
    found = [line for path in PURE_FILES for line in impure_imports(path)]
    assert not found, "pass it in as a value or a port instead:\n" + "\n".join(found)


def test_an_impure_import_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guilty = tmp_path / "holdfast" / "towns" / "apply.py"
    guilty.parent.mkdir(parents=True)
    guilty.write_text("def f():\n    from urllib import request\n    import os.path\n")
    monkeypatch.setattr("tests.house.sources.SRC", tmp_path)
    monkeypatch.setattr("tests.house.sources.ROOT", tmp_path)
    assert [line.split(" imports ")[1] for line in impure_imports(guilty)] == [
        "urllib.request",
        "os.path",
    ]


def test_pure_files_make_no_clock() -> None:
    found = [
        f"{shown(path)}:{line}"
        for path in PURE_FILES
        for line, name in uses(path)
        if name == "holdfast.kernel.clock.SystemClock"
    ]
    assert not found, "a pure file is given the time as now_ms:\n" + "\n".join(found)


@pytest.mark.parametrize("package", STDLIB_PACKAGES)
def test_base_packages_need_only_the_standard_library(package: str) -> None:
    own = STDLIB_PACKAGES[package]
    strangers = [
        f"{shown(path)}:{line} imports {imported}"
        for path in python_files(f"src/holdfast/{package}")
        for line, imported in imports(path)
        if imported.partition(".")[0] not in sys.stdlib_module_names
        if not any(imported == name or imported.startswith(name + ".") for name in own)
        if imported != "holdfast"
    ]
    assert not strangers, "the base installs nothing:\n" + "\n".join(strangers)
