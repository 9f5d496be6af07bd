"""The agents that this version knows by name: what the plane may offer and a machine can run.

How one is started and probed is the machine's business (`machine/agents`); this is only what both
sides have to agree on. A test holds the two lists equal.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Agent(NamedTuple):
    """One agent; `folder` is how the name of its installation begins, empty where bundled."""

    name: str
    summary: str
    folder: str = ""


AGENTS: Final = (
    Agent("demo", "A small agent of our own, to see how everything works."),
    Agent("openclaw", "The OpenClaw gateway, installed from npm.", "openclaw-"),
)

AGENT_NAMES: Final = frozenset(agent.name for agent in AGENTS)
