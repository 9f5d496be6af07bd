"""Rules about the instances of agents: ask how they are, and hand on work where one does not run.

An agent whose instance does not run is not handed anything; its bead goes to another one, and the
agent is there again when its instance says that it runs.
"""

from __future__ import annotations

from typing import Final

from holdfast.actors.definition import SELF
from holdfast.towns import actions as act
from holdfast.towns.rules.view import Findings, View
from holdfast.towns.state import Agent

_AWAY: Final = {
    "stopped": "its instance is stopped",
    "lost": "its instance does not answer",
    "destroyed": "its instance is destroyed",
}


def away_words(agent: Agent) -> str:
    """Return why an agent cannot be started, or an empty string."""
    return _AWAY.get(agent.away, "its instance does not run") if agent.away else ""


def hosts(view: View) -> Findings:
    """Return whom to ask, and whose work to hand on."""
    if not view.policy.hosts_asked:
        return
    on = {view.state.agents[one].host for one in view.at("host")}
    wanted = () if view.closed else tuple(sorted(on))
    if wanted != view.town.hosts:
        yield act.AskHosts(
            rule="hosts.ask",
            reason="agents were put on an instance, or none is there any more",
            expect=act.saw(view.state),
            entity=SELF,
            hosts=wanted,
        )
    if view.policy.destroyed_told and not view.closed:
        yield from _destroyed(view)
    for one in sorted(view.at("away").ids()):
        agent = view.state.agents[one]
        if not agent.release:
            yield act.HandOn(
                rule="hosts.hand_on",
                reason=away_words(agent),
                expect=act.saw(view.state, agent.hook, one),
                entity=f"a/{one}",
                bead=agent.hook,
                agent=one,
                attempt=agent.attempt,
            )


def _destroyed(view: View) -> Findings:
    """Ask about agents that nothing replaces by itself: they wait for what never comes back.

    A polecat's work goes to others, and it is let go when it has rested for long.
    """
    for one in sorted(view.at("host").ids()):
        agent = view.state.agents[one]
        if agent.away != "destroyed" or agent.told or agent.leaves or agent.role == "polecat":
            continue
        yield act.TellAbsence(
            rule="hosts.destroyed",
            reason=away_words(agent),
            expect=act.saw(view.state, agent=one),
            entity=f"a/{one}",
            agent=one,
        )
