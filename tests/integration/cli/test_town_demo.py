"""`holdfast town demo` against a real plane; the suite lands two of its five tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from holdfast.cli.connection import Connection
from holdfast.cli.town_demo import NAME, TASKS, run_demo
from holdfast.plane.settings import Settings, load_settings
from tests.support.planes import PlaneProcess, plane_at
from tests.support.slices import slice_of

COUNT = slice_of(len(TASKS), here=2)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path / "home") as made:
        yield made


def demo(plane: PlaneProcess) -> None:
    settings: Settings = load_settings(home=str(plane.home), port=plane.port)
    with plane.client() as client:
        run_demo(Connection(client), settings, TASKS[:COUNT])


def interrupt(_seconds: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.timeout(600)
def test_a_demo_that_is_interrupted_goes_on_and_says_what_it_took(
    plane: PlaneProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("holdfast.cli.town_demo.time.sleep", interrupt)
    with pytest.raises(typer.Exit) as ended:
        demo(plane)
    assert ended.value.exit_code == 130
    assert "Watch again: holdfast town demo" in capsys.readouterr().err
    monkeypatch.undo()
    demo(plane)
    told = capsys.readouterr()
    assert f"{TASKS[COUNT - 1].title}: closed" in told.err
    assert f"{COUNT} of {COUNT}, {COUNT + 1} merge requests" in told.out
    failed = sum(bool(task.first) for task in TASKS[:COUNT])
    assert f"of them {failed} failed" in told.out
    assert all(task.file in told.out for task in TASKS[:COUNT])
    demo(plane)  # once more tells the same and makes nothing
    assert "It landed." in capsys.readouterr().out
    assert len(plane.json("convoy", "list", "--town", NAME, "--all")["items"]) == 1
    plane.cli("town", "close", NAME, "--yes")
    plane.cli("town", "create", NAME)
    refused = plane.cli("town", "demo", code=1).stderr
    assert "holdfast town close demo" in refused


def test_without_a_plane_or_git_nothing_is_made(tmp_path: Path) -> None:
    plane = PlaneProcess(tmp_path / "home")
    plane.home.mkdir(mode=0o700)
    assert "holdfast up" in plane.cli("town", "demo", code=3).stderr
    plane.start()
    try:
        refused = plane.cli("town", "demo", code=1, PATH=str(tmp_path)).stderr
        assert "git is not installed" in refused
        assert plane.json("town", "list")["items"] == []
        assert not list(plane.home.glob("town-demo*"))
    finally:
        assert plane.close() == []
