"""Runs tests in a forked process with one module's source replaced; see tools/mutants.py."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, NoReturn

import pytest

PLUGINS: Final = (
    "pytest_asyncio.plugin",
    "pytest_socket",
    "pytest_timeout",
    "_hypothesis_pytestplugin",
)
"""The plugins that tests of pure files use; loading all of them takes longer than most tests."""

_LOADED: Final = (
    *PLUGINS,
    "hypothesis",
    "hypothesis.internal.conjecture.engine",
    "asyncio",
    "msgspec",
    "apsw",
)
_SRC = Path(__file__).resolve().parent.parent / "src"


class _Loader(SourceFileLoader):
    """Loads a module from text instead of its file, and writes no bytecode."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the text."""
        return compile(self._source, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module with its text replaced, before all other finders."""

    def __init__(self, path: Path, source: str) -> None:
        parts = path.relative_to(_SRC).with_suffix("").parts
        self._name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self._path = str(path)
        self._source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the module, None for every other."""
        del path, target
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._path, self._source)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def load_early() -> None:
    """Load what each child process needs, so that it does so once; nothing of the package."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in _LOADED:
        importlib.import_module(name)


def run_tests(path: Path, source: str, tests: Sequence[str]) -> NoReturn:
    """Run tests with `source` in place of a module's file; end the process with pytest's code.

    Called in a child process that has imported nothing of the package.
    """
    code = 70
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        sys.meta_path.insert(0, _Finder(path, source))
        options = [
            "-x", "-q", "--assert=plain", "--tb=no", "-p", "no:cacheprovider",
            *(word for name in PLUGINS for word in ("-p", name)),
        ]  # fmt: skip
        code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)
