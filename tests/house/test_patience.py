"""Deadlines of tests grow with the load of the machine, and the bound of a whole test with them."""

from __future__ import annotations

import ast
import os
import textwrap
from collections.abc import Iterator

import hypothesis
import pytest

from tests.house.sources import ROOT, python_files, shown, tree
from tests.support import patience

AT_ONCE_S = 2
"""A shorter bound than this expects that nothing happens, and is not a deadline."""
VIRTUAL = {ROOT / "tests/unit/sim/test_loop.py"}
"""Files whose clock is virtual: a busy machine does not make it slower."""

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(("load", "times"), [(0.0, 4.0), (3.0, 4.0), (5.0, 5.0), (90.0, 8.0)])
def test_a_deadline_is_as_many_times_longer_as_there_is_more_to_run_than_cores(
    monkeypatch: pytest.MonkeyPatch, load: float, times: float
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load * patience.CORES, 0.0, 0.0))
    assert patience.patience(10) == 10 * times


def test_no_example_of_hypothesis_is_timed() -> None:
    assert hypothesis.settings().deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings().suppress_health_check


def test_a_whole_test_has_the_longer_bound(
    monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (4.0 * patience.CORES, 0.0, 0.0))
    test = """
        import signal
        def test_it():
            assert 200 < signal.getitimer(signal.ITIMER_REAL)[0] <= 240
    """
    pytester.makepyfile(textwrap.dedent(test))
    pytester.makeconftest("from tests.conftest import pytest_timeout_set_timer")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    outcome = pytester.inline_run("--timeout=60", "-p", "no:cacheprovider")
    outcome.assertoutcome(passed=1)


WAITS = {"asyncio.timeout": 0, "asyncio.wait_for": 1}
"""Calls that bound a wait, and where they take the seconds when these are not named."""


def figures(tree: ast.Module) -> Iterator[tuple[int, ast.expr]]:
    """Yield (line, expression) for each figure of seconds that bounds a wait."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            clock = node.left.func if isinstance(node.left, ast.Call) else None
            if isinstance(clock, ast.Attribute) and clock.attr in {"monotonic", "perf_counter"}:
                yield node.lineno, node.right
        if isinstance(node, ast.Call):
            place = WAITS.get(ast.unparse(node.func), len(node.args))
            yield from ((node.lineno, given) for given in node.args[place : place + 1])
            yield from (
                (node.lineno, word.value) for word in node.keywords if word.arg == "timeout"
            )


def test_every_bound_of_real_seconds_in_a_test_goes_through_patience() -> None:
    fixed = [
        f"{shown(path)}:{line}: {ast.unparse(given)} s"
        for path in python_files("tests")
        if "bench" not in path.parts and path not in VIRTUAL
        for line, given in figures(tree(path))
        if isinstance(given, ast.Constant) and isinstance(given.value, int | float)
        and given.value >= AT_ONCE_S
    ]  # fmt: skip
    assert not fixed, "\n".join(["Write patience(seconds) in place of:", *fixed])
