"""Brains that are closed after their test, and an intake over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.sdk import Brain
from tests.integration.outbox import intake

Opened = Callable[..., Brain]

NAMES = (
    "HOLDFAST_URL", "HOLDFAST_API_KEY", "GRADATA_ENDPOINT", "GRADATA_API_KEY",
    "HOLDFAST_DISABLE_WRITE_THROUGH", "GRADATA_DISABLE_WRITE_THROUGH",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOLDFAST_KEY_FILE", str(tmp_path / "no-key-file"))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    brains: list[Brain] = []

    def make(folder: str = "brain", **options: Any) -> Brain:
        given = {"durability": "process", "notice": lambda _text: None, **options}
        brains.append(Brain(tmp_path / folder, **given))
        return brains[-1]

    yield make
    for brain in brains:
        brain.close(0.2)


@pytest.fixture
def plane() -> Iterator[intake.HttpIntake]:
    running = intake.HttpIntake()
    yield running
    running.close()


@pytest.fixture
def programs() -> Iterator[intake.Programs]:
    running = intake.Programs()
    yield running
    running.close()
