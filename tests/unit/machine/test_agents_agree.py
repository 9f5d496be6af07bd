"""The plane offers exactly the agents that a machine can run, by the names of their folders."""

from __future__ import annotations

from pathlib import Path

from holdfast.machine.agents.catalogue import PROFILES
from holdfast.machine.agents.openclaw.install import find_installed
from holdfast.wire.agents import AGENT_NAMES, AGENTS


def test_what_is_offered_is_what_can_be_run() -> None:
    offered = [agent.name for agent in AGENTS]
    assert sorted(offered) == sorted(PROFILES)
    assert len(set(offered)) == len(offered)
    assert set(offered) == AGENT_NAMES


def test_each_profile_is_found_by_its_own_name() -> None:
    assert {name: profile.name for name, profile in PROFILES.items()} == {
        name: name for name in AGENT_NAMES
    }


def test_an_installation_is_where_the_plane_looks_for_it() -> None:
    (openclaw,) = (agent for agent in AGENTS if agent.name == "openclaw")
    assert openclaw.folder
    assert find_installed(Path("/data")).name.startswith(openclaw.folder)
    bundled = {agent.name for agent in AGENTS if not agent.folder}
    assert bundled == {"demo"}
