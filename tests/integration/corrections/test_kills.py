"""The plane is killed at random while brains send: nothing is lost and nothing is there twice.

`HOLDFAST_TEST_KILLS=200` runs the whole campaign, `HOLDFAST_TEST_SEED` another course of it.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.sdk import Brain
from holdfast.wire.api.brains import BrainKeyCreate
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, until

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "2"))
SEED = int(os.environ.get("HOLDFAST_TEST_SEED", "1"))
BRAINS = 3
BETWEEN_S = 0.3
"""Between two corrections of a brain: with what is learned of them, within what a minute allows,
however long it runs."""
LOADED_S = 1.5


class Agent(threading.Thread):
    """One brain that is corrected again and again; every third time as the time before."""

    def __init__(self, plane: PlaneProcess, folder: Path, number: int) -> None:
        super().__init__(daemon=True)
        with plane.client() as client:
            body = BrainKeyCreate(name=f"agent-{number}", brain=f"agent-{number}")
            made = client.call("brain-key.create", body=body)
        self.view = made.view
        self.brain = Brain(folder, url=plane.url, api_key=made.key)
        self.made: dict[str, int] = {}
        self.ends = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ends.wait(BETWEEN_S):
            number += 1
            text = number - (number % 3 == 0)
            done = self.brain.correct(f"Draft {text} is done", f"Text {text} was finished",
                                      session="s")  # fmt: skip
            assert done.queued, done.reason
            self.made[done.draft] = self.made.get(done.draft, 0) + 1


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[tuple[PlaneProcess, list[Agent]]]:
    with plane_at(tmp_path / "home") as plane:
        made = [Agent(plane, tmp_path / f"brain-{n}", n) for n in range(BRAINS)]
        try:
            yield plane, made
        finally:
            for agent in made:
                agent.ends.set()
                agent.join(patience(5))
                agent.brain.close(0)


@pytest.mark.timeout(50 + KILLS * 10)
def test_killed_at_random_every_correction_is_there_once(
    agents: tuple[PlaneProcess, list[Agent]],
) -> None:
    plane, brains = agents
    chance = random.Random(SEED)
    for agent in brains:
        agent.start()
    for _ in range(KILLS):
        threading.Event().wait(0.2 + chance.random() * LOADED_S)
        plane.kill()
        plane.start()
    for agent in brains:
        agent.ends.set()
        agent.join(patience(10))
        until("everything is sent", lambda a=agent: a.brain.flush(2.0).pending == 0, seconds=90)  # type: ignore[misc]
    for agent in brains:
        rows = plane.corrections(agent.view.brain)
        assert {row.draft: row.count for row in rows} == agent.made
        assert len(rows) == len(agent.made)
        with plane.client() as client:
            detail = client.call("brain.get", path={"id": agent.view.brain})
        assert [source.gaps for source in detail.sources] == [()]
        assert detail.view.refused == 0
        assert len(agent.made) > KILLS
