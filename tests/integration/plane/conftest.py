"""One plane for the tests that leave it as it was, and one of their own for those that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.planes import PlaneProcess, plane_at


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    """A plane with one running demo agent called `demo`; tests make others and destroy them."""
    with plane_at(tmp_path_factory.mktemp("shared") / "home") as plane:
        plane.cli("instance", "create", "demo")
        plane.ready("demo")
        yield plane


@pytest.fixture
def own(tmp_path: Path) -> Iterator[PlaneProcess]:
    """A plane that the test may kill."""
    with plane_at(tmp_path / "home") as plane:
        yield plane
