"""Deadlines of tests grow with the load of the machine, and the bound of a whole test with them."""

from __future__ import annotations

import os
import textwrap

import hypothesis
import pytest

from tests.support import patience

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(("load", "times"), [(0.0, 1.0), (0.5, 1.0), (3.0, 3.0), (90.0, 8.0)])
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
