"""Fixtures of the outbox's integration tests, built from intake.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.outbox import intake


@pytest.fixture
def http_intake() -> Iterator[intake.HttpIntake]:
    running = intake.HttpIntake()
    yield running
    running.close()


@pytest.fixture
def programs() -> Iterator[intake.Programs]:
    running = intake.Programs()
    yield running
    running.close()


@pytest.fixture
def until() -> Callable[..., None]:
    return intake.until
