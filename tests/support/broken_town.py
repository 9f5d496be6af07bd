"""A town that breaks an invariant for as long as it is looked at."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.kinds import make_kind
from holdfast.actors.ports import Pending
from holdfast.actors.tick import full_digest
from holdfast.towns import events
from holdfast.towns.definition import TOWN
from holdfast.towns.draft import build
from holdfast.towns.policy import Policy
from holdfast.towns.state import Agent, State
from tests.unit.towns.rig import Town

BROKEN = Agent(id="x0", role="polecat", rig="r", status="working", contact="heard", attempt="old")
"""An agent that works on nothing, which no event can bring about."""


def broken_town() -> Town:
    """Return a town with that agent, which is set to repair nothing."""
    town = Town(repair=False)
    put(town, build(town.state.town, [*town.state.rigs.values(), BROKEN]))
    return town


def put(town: Town, state: State) -> None:
    """Give a town a state that no events made."""
    town.folded = replace(town.folded, state=state, digest=full_digest(TOWN, state))


def touches() -> tuple[events.Event, events.Event]:
    """Return events after which the agent's invariants are looked at."""
    level: Any = 1
    inactive = events.AgentInactive(agent="x0", attempt="old", level=level)
    return inactive, events.AgentHeard("x0", "old")


def committed(town: Town, rows: list[Pending], took_ms: float = 1.0) -> CommittedTick:
    """Tick a town, and return what listeners hear of it."""
    return CommittedTick(make_kind(TOWN, Policy()), town.tick(rows), None, took_ms, rows)
