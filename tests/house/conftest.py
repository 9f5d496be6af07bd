"""Let a house test report what it covered: what was discovered is part of the result."""

from __future__ import annotations

import pytest

COVERED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COVERED] = []


@pytest.fixture
def covered(request: pytest.FixtureRequest) -> list[str]:
    """Lines added here are printed after the run."""
    return request.config.stash[COVERED]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(COVERED, [])
    if lines:
        terminalreporter.write_sep("-", "documentation covered")
        for line in lines:
            terminalreporter.write_line(line)
