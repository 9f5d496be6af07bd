"""A town asks the instances of its agents how they are, and hands on work where one stands."""

from __future__ import annotations

import pytest

from holdfast.actors.definition import Letter
from holdfast.kernel.ids import address
from holdfast.letters.towns import Absence, AgentsHosted
from holdfast.towns import board, events, ports
from holdfast.towns.definition import TOWN
from holdfast.towns.state import Escalation, Role, found
from tests.unit.towns.rig import Town, before


def hosted(role: Role = "polecat") -> Town:
    town = Town(polecats_max=2)
    town.do(events.AgentAdded(agent="a", role=role, rig="r", host="i1"))
    return town


def seen(absence: Absence, account: str = "acme") -> events.HostSeen:
    return events.HostSeen(host="i1", account=account, absence=absence)


def letters_of(town: Town, *happened: events.Event) -> list[Letter]:
    return list(town.tick(town.rows(*happened)).letters)


def test_an_instance_is_asked_when_an_agent_is_put_on_it_and_told_when_none_is_left() -> None:
    town = Town()
    (asked,) = letters_of(
        town,
        events.AgentAdded(agent="a", role="polecat", rig="r", host="i1"),
        events.AgentAdded(agent="b", role="polecat", rig="r", host="i1"),
        events.AgentAdded(agent="c", role="polecat", rig="r"),
    )
    hosted = AgentsHosted(account="acme", destroyed=True)
    assert asked == Letter(to=address("instance", "i1"), body=hosted)
    assert letters_of(town, events.AgentRemoved("a")) == []
    (told,) = letters_of(town, events.AgentRemoved("b"))
    assert told.body == AgentsHosted(account="acme", hosted=False, destroyed=True)
    # A second agent there is asked for again, because the answer is for each agent.
    again = events.AgentAdded(agent="d", role="polecat", rig="r", host="i1")
    assert len(letters_of(town, again)) == 1
    again = events.AgentAdded(agent="e", role="polecat", rig="r", host="i1")
    assert len(letters_of(town, again)) == 1
    (told,) = letters_of(town, events.TownClosed("ann"))
    assert told.body == AgentsHosted(account="acme", hosted=False, destroyed=True)


def test_work_of_an_agent_whose_instance_stops_goes_to_another_at_once_and_uncharged() -> None:
    town = hosted()
    town.sling("b1")
    assert town.bead("b1").assignee == "a"
    town.heard("b1")
    (stamp,) = town.do(seen("stopped"))
    assert stamp.outcome == "applied"
    bead = town.bead("b1")
    assert (bead.assignee != "a", bead.status, bead.charged) == (True, "in_progress", 0)
    assert [call.body.agent for call in town.calls_of(ports.StopCall)] == ["a"]
    assert town.state.town.breaker.ends == ()
    assert town.agent("a").status == "idle"
    sight = board.Sight(town.state, town.policy, town.now_ms)
    assert sight.agent(town.agent("a")).does == "is away: its instance is stopped"
    (stamp,) = town.do(seen("stopped"))
    assert stamp.outcome == "ignored"


def test_an_agent_is_taken_back_when_its_instance_runs_again() -> None:
    town = hosted()
    town.do(seen("lost"))
    town.sling("b1")
    assert town.bead("b1").assignee != "a"
    town.do(seen(""))
    town.sling("b2")
    assert town.bead("b2").assignee == "a"


def test_what_another_account_says_changes_nothing() -> None:
    town = hosted()
    (stamp,) = town.do(seen("stopped", account="evil"))
    assert (stamp.outcome, town.agent("a").away) == ("ignored", "")


def test_a_review_waits_for_a_refinery_whose_instance_is_destroyed() -> None:
    town = hosted("refinery")
    town.do(seen("destroyed"))
    town.sling("b1")
    town.finish("b1")
    because = "the refinery of its rig is away: its instance is destroyed"
    assert town.held(town.mr_of("b1")) == {because}


def test_a_mayor_rests_while_its_instance_is_stopped() -> None:
    town = Town()
    town.do(events.AgentAdded(agent="m", role="mayor", host="i1"), seen("stopped"))
    town.do(events.MailSent(message="m1", to="m"))
    assert TOWN.explain is not None
    (held,) = TOWN.explain(town.state, town.policy, town.now_ms, "a/m")
    assert held.because == "its instance is stopped"
    town.do(seen(""))
    assert town.agent("m").status == "working"
    town.do(seen("lost"))
    assert town.agent("m").status == "idle"


@pytest.mark.parametrize("role", ["mayor", "refinery", "polecat"])
def test_somebody_is_asked_once_about_an_agent_whose_instance_is_destroyed(role: Role) -> None:
    town = hosted(role)
    town.do(seen("destroyed"))
    asked = [bead for bead in town.state.beads.values() if bead.escalation is not None]
    assert [bead.escalation for bead in asked] == [
        Escalation(severity="high", category="host_destroyed", about="a/a")
    ] * (role != "polecat")  # whose work goes to others
    for bead in asked:
        town.do(events.EscalationAcknowledged(bead.id, "ann"))
    town.do(seen("destroyed"))
    assert not found(town.state, "escalations")
    if asked:  # a restored copy of the instance came, and went
        town.do(seen(""), seen("destroyed"))
        assert len(found(town.state, "escalations")) == 1
        town.do(events.AgentRemoved("a"))
        assert "a" not in town.state.agents


def test_a_policy_of_before_asks_nobody_about_a_destroyed_instance() -> None:
    town = Town(before(2))
    (asked,) = letters_of(town, events.AgentAdded(agent="a", role="mayor", host="i1"))
    assert asked.body == AgentsHosted(account="acme")
    town.do(seen("destroyed"))
    assert not found(town.state, "escalations")
