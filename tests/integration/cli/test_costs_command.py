"""`holdfast costs` against a real plane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.nodes import register_nodes
from tests.support.planes import PlaneProcess, plane_at


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("clicosts") / "home"
    home.mkdir(mode=0o700)
    asyncio.run(register_nodes(home, ("laptop",)))
    (home / "prices.toml").write_text('[[price]]\nmodel = "a"\n')
    with plane_at(home) as made:
        yield made


def test_costs_are_shown_and_what_is_wrong_is_said(plane: PlaneProcess) -> None:
    shown = plane.cli("costs")
    assert "projected" in shown.stdout
    assert "not yet" in shown.stdout
    assert "Nothing was used in these days." in shown.stderr
    assert "prices.toml: price 1: from: want the first day" in shown.stderr
    found = plane.json("costs", "--by", "model", "--from", "2026-11-01", "--to", "2026-11-30")
    assert (found["by"], found["first"], found["items"]) == ("model", "2026-11-01", [])
    assert plane.cli("costs", "--by", "week", code=2).stderr
    wrong = plane.cli("costs", "--from", "2026-11-30", "--to", "2026-11-01", code=1)
    assert "400 days at most" in wrong.stderr
