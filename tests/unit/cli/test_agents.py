"""Installing agents: what new instances get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import agents
from holdfast.machine.agents.openclaw import install
from holdfast.plane.installations import Installations


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of installations; nothing is downloaded."""
    folder = tmp_path / "agents"

    def installed(data: Path, *, version: str = "2026.9.6", **_: Any) -> Path:
        where = install.find_installed(data, version=version, node_version="24")
        where.mkdir(parents=True, exist_ok=True)
        return where

    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    monkeypatch.setattr(install, "install_openclaw", installed)
    return folder


def test_a_version_beside_changes_nothing_for_others(data: Path) -> None:
    agents.install("openclaw")
    agents.install("openclaw", version="2026.10.1")
    found = Installations(data)
    assert found.versions("openclaw") == ["2026.9.6-node-24", "2026.10.1-node-24"]
    assert found.default("openclaw") == "2026.9.6-node-24"
    assert found.path("openclaw", "").resolve() == found.path("openclaw", "2026.9.6-node-24")


def test_new_instances_get_it_where_that_is_asked_for_or_nothing_is_there(data: Path) -> None:
    agents.install("openclaw", version="2026.10.1")
    assert Installations(data).default("openclaw") == "2026.10.1-node-24"
    agents.install("openclaw", version="2026.8.1", default=True)
    assert Installations(data).default("openclaw") == "2026.8.1-node-24"
