"""Where a demo that was interrupted while it made its town goes on, with a plane in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from holdfast.cli import town_demo
from holdfast.wire.api.operations import Pending

LATER = Pending(operation="o", url="/u")


class Plane:
    """Towns by name; orders named in `later` are accepted and not taken yet."""

    def __init__(self) -> None:
        self.towns: list[Any] = []
        self.later: set[str] = set()
        self.calls: list[str] = []

    def every(self, endpoint: str, *, path: Any = None) -> Any:
        del path
        return SimpleNamespace(items=self.towns if endpoint == "towns.list" else [])

    def call(self, endpoint: str, *, path: Any = None, body: Any = None) -> Any:
        del path
        self.calls.append(endpoint)
        made = SimpleNamespace(id=f"t{len(self.towns)}", name=town_demo.NAME, closed=False)
        if endpoint == "towns.create":
            self.towns.append(made)
        if endpoint in self.later:
            return LATER
        return (
            SimpleNamespace(bead=SimpleNamespace(id=body.title)) if "convoy" in endpoint else made
        )


def find_or_make(plane: Any, home: Path) -> str:
    return town_demo._find_or_make_town(plane, home)


def test_a_town_that_was_not_taken_in_time_is_found_again(tmp_path: Path) -> None:
    plane = Plane()
    plane.later = {"towns.create"}
    with pytest.raises(typer.Exit):
        find_or_make(plane, tmp_path)
    assert find_or_make(plane, tmp_path) == "t0"
    assert find_or_make(plane, tmp_path) == "t0"
    assert len(plane.towns) == 1


def test_an_interruption_after_the_town_was_made_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Plane()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(town_demo, "move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find_or_make(plane, tmp_path)
    monkeypatch.undo()
    assert find_or_make(plane, tmp_path) == "t0"
    assert plane.calls == ["towns.create", "towns.set"]


def test_a_setting_that_was_not_made_is_made_by_the_next_run(tmp_path: Path) -> None:
    plane = Plane()
    plane.later = {"towns.set"}
    with pytest.raises(typer.Exit):
        find_or_make(plane, tmp_path)
    plane.later = set()
    assert find_or_make(plane, tmp_path) == "t0"
    assert plane.calls == ["towns.create", "towns.set", "towns.set"]


def test_a_convoy_that_is_not_taken_yet_is_said_to_be(tmp_path: Path) -> None:
    plane: Any = Plane()
    plane.later = {"towns.convoy"}
    town = find_or_make(plane, tmp_path)
    with pytest.raises(typer.Exit):
        town_demo._find_or_make_convoy(plane, town, town_demo.TASKS)


def test_a_town_of_others_is_left_alone(tmp_path: Path) -> None:
    plane = Plane()
    plane.towns = [SimpleNamespace(id="x", name=town_demo.NAME, closed=False)]
    with pytest.raises(typer.Exit):
        find_or_make(plane, tmp_path)
    assert plane.calls == []
