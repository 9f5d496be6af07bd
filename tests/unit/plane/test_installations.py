from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.plane.installations import Installations

OLD, NEW, NODE = "2026.9.6-node-24.11.1", "2026.10.1-node-24.11.1", "2026.9.6-node-24.9.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in (OLD, NEW, NODE):
        (tmp_path / f"openclaw-{version}").mkdir()
    (tmp_path / ".openclaw-2027.1.1-node-24.part").mkdir()
    return tmp_path


def test_versions_are_sorted_by_their_numbers(folder: Path) -> None:
    found = Installations(folder)
    assert found.versions("openclaw") == [NODE, OLD, NEW]
    assert found.names() == {"demo", "openclaw"}
    assert found.versions("demo") == []
    assert (found.default("demo"), found.path("openclaw", OLD).is_dir()) == ("", True)


def test_new_instances_get_what_the_link_says(folder: Path) -> None:
    found = Installations(folder)
    assert found.default("openclaw") == NEW
    (folder / "openclaw").symlink_to(f"openclaw-{OLD}")
    assert found.default("openclaw") == OLD
    (folder / f"openclaw-{OLD}").rmdir()
    assert found.default("openclaw") == NEW


def test_a_machine_is_told_its_version_or_else_the_link(folder: Path) -> None:
    found = Installations(folder)
    assert found.home("openclaw", OLD) == str(folder / f"openclaw-{OLD}")
    assert found.home("openclaw", "") == str(folder / "openclaw")
    assert found.home("demo", "") == ""


def test_a_release_means_its_newest_installation(folder: Path) -> None:
    found = Installations(folder)
    assert found.find("openclaw", "2026.9.6") == OLD
    assert found.find("openclaw", NODE) == NODE
    assert found.find("openclaw", "2026.9") is None
    assert found.find("demo", "1") is None


def test_without_the_folder_only_bundled_agents_run(tmp_path: Path) -> None:
    found = Installations(tmp_path / "absent")
    assert found.names() == {"demo"}
    assert found.default("openclaw") == ""
