"""The names of the agents that this version supports: the plane offers and machines run them.

Starting and probing them is in `machine/agents`; this module has only what both sides have to agree
on. A test holds the two lists equal.
"""

from __future__ import annotations

import re
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

_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def version_order(version: str) -> list[int]:
    """Return what versions are compared by: their numbers, as numbers."""
    return [int(found) for found in _NUMBER.findall(version)[:8]]


def is_release(kept: str, release: str) -> bool:
    """Return whether an installation, which may name its Node, is of this release."""
    return kept == release or kept.startswith(f"{release}-")
