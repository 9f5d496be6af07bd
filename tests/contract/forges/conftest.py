"""Repositories under the contract: the twin, and git with a rig in a folder.

Git runs unconfined here, which costs a third of a second less for each call that would be confined;
tests/integration/forges runs it as planes do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.world.forges.port import Repository
from tests.support.rigs import GitHands, Hands, SimulatedHands, real_repositories


@pytest.fixture(params=["simulated", "git"])
def hands(request: pytest.FixtureRequest, tmp_path: Path) -> Hands:
    made: Hands
    if request.param == "simulated":
        made = SimulatedHands(Repository(key="town-rig", url="memory"))
    else:
        rig = tmp_path / "rig.git"
        repositories = real_repositories(tmp_path / "forge", kind="none")
        made = GitHands(rig, repositories, Repository(key="town-rig", url=str(rig)))
    made.push("main", {"a": "one", "shared": "0"})
    return made
