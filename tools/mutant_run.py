"""Runs tests in a forked process with one module changed; see tools/mutants.py.

There are two ways. `run_tests` imports the package anew with the module's source replaced; it holds
for every change and takes a second or more. `Warm` has collected the tests once, and exchanges the
code of the changed functions in a fork of itself, which takes some hundredths of a second; it does
not hold where something at import has called the function.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.util
import inspect
import math
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final, NoReturn, TypeAlias

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
_OPTIONS: Final = (
    "-x", "-q", "--assert=plain", "--tb=no", "-p", "no:cacheprovider",
    *(word for name in PLUGINS for word in ("-p", name)),
)  # fmt: skip
MEMORY_BYTES: Final = 2 << 30
"""What a process with a mutant may allocate: an endless loop may fill a list."""
_UNCHANGED: Final = ("co_code", "co_names", "co_varnames", "co_freevars", "co_exceptiontable")

Place: TypeAlias = tuple[str, int]
"""A function: its qualified name and first line."""


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
        self._name = module_name(path)
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


def module_name(path: Path) -> str:
    """Return the name under which a file of the package is imported."""
    parts = path.relative_to(_SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def load_early() -> None:
    """Load what each child process needs, so that it does so once; nothing of the package."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in _LOADED:
        importlib.import_module(name)


def run_tests(path: Path, source: str, tests: Sequence[str], cpu_s: float) -> NoReturn:
    """Run tests with `source` in place of a module's file; end the process with pytest's code.

    Called in a child process that has imported nothing of the package. SIGXCPU ends it once it has
    used `cpu_s`.
    """
    code = 70
    try:
        _set_apart()
        _limit_cpu(cpu_s)
        sys.meta_path.insert(0, _Finder(path, source))
        code = int(pytest.main([*_OPTIONS, *tests]))
    finally:
        os._exit(code)


def changed_functions(path: Path, source: str) -> dict[Place, CodeType] | None:
    """Return the code of each function that `source` changes.

    None where the change is in what runs at import, such as a default or a decorator, where two
    functions have the same place, or where `source` does not compile.
    """
    before = compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
    try:
        after = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError:  # it fails where it is imported
        return None
    old, new = list(_codes(before)), list(_codes(after))
    if [_place(code) for code in old] != [_place(code) for code in new]:
        return None
    differing = [code for was, code in zip(old, new, strict=True) if _own(was) != _own(code)]
    changed = {_place(code): code for code in new if _holds(code, differing)}
    counted = Counter(map(_place, new))
    if not changed or any(counted[place] > 1 for place in changed):
        return None
    # Each change must lie in a function; a generator expression lies in the one that makes it.
    inside = [one for code in changed.values() for one in _codes(code)]
    return changed if all(one in inside for one in differing) else None


def _place(code: CodeType) -> Place:
    return code.co_qualname, code.co_firstlineno


def _holds(code: CodeType, differing: Sequence[CodeType]) -> bool:
    """Return whether a function's code, or one within it, is among those that differ."""
    named = not code.co_name.startswith("<") or code.co_name == "<lambda>"
    function = named and code.co_flags & inspect.CO_OPTIMIZED
    return bool(function) and any(one in differing for one in _codes(code))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for held in code.co_consts:
        if isinstance(held, CodeType):
            yield from _codes(held)


def _own(code: CodeType) -> list[object]:
    """Return what makes up a code without what it holds of others."""
    consts = [repr(one) for one in code.co_consts if not isinstance(one, CodeType)]
    return [*(getattr(code, name) for name in _UNCHANGED), consts]


class Warm:
    """A process that has collected the tests, and forks to run some of them with changed code."""

    def __init__(self, folder: str, serve: Callable[[Warm], None]) -> None:
        self._folder = folder
        self._serve = serve
        self._session: pytest.Session | None = None
        self._items: dict[str, pytest.Item] = {}
        self._functions: dict[str, list[FunctionType]] = {}

    def run(self) -> NoReturn:
        """Collect the tests and call `serve`; end the process.

        Called in a child process that has imported nothing of the package.
        """
        code = 70
        try:
            _to_null()
            code = int(pytest.main([*_OPTIONS, "-s", self._folder], plugins=[self]))
        finally:
            os._exit(code)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve instead of running the tests."""
        self._session = session
        self._items = {item.nodeid: item for item in session.items}
        gc.unfreeze()  # tests/conftest.py froze what was imported, and gc lists nothing frozen
        self._functions = _functions()
        gc.collect()
        gc.freeze()
        self._serve(self)
        return True

    def fork(
        self, path: Path, changed: Mapping[Place, CodeType], tests: Mapping[str, float]
    ) -> int | None:
        """Run tests with the changed functions; return the process, which ends with 0 or 1.

        Without one it is a control, which must end with 0.

        SIGXCPU ends it once a test has used the seconds that stand beside it. None where the
        functions are not loaded, or the tests not collected.
        """
        found = [
            one for one in self._functions.get(str(path), ()) if _place(one.__code__) in changed
        ]
        if (changed and not found) or not all(name in self._items for name in tests):
            return None
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                _set_apart()
                for one in found:
                    one.__code__ = changed[_place(one.__code__)]
                code = self._run_items([(self._items[name], cpu) for name, cpu in tests.items()])
            finally:
                os._exit(code)
        return pid

    def _run_items(self, items: Sequence[tuple[pytest.Item, float]]) -> int:
        assert self._session is not None, "tests were collected"
        following = [*(item for item, _ in items[1:]), None]
        for (item, cpu_s), nextitem in zip(items, following, strict=True):
            _limit_cpu(cpu_s)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            if self._session.testsfailed:
                return 1
        return 0


def _functions() -> dict[str, list[FunctionType]]:
    """Return every function that exists, by its file."""
    found: dict[str, list[FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is FunctionType:
            found.setdefault(one.__code__.co_filename, []).append(one)
    return found


def _set_apart() -> None:
    os.setsid()
    _to_null()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _limit_cpu(more_s: float) -> None:
    """Let this process use that much more time of a CPU; only a computation reaches the limit.

    That a busy machine takes longer for a test says nothing about a mutant.
    """
    used_s = time.process_time()
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used_s + more_s), most))


def _to_null() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
