"""What the process of rehearsals says of a town's state."""

from __future__ import annotations

from holdfast.actors.kinds import make_kind
from holdfast.actors.record import Decision, Input, Note, TickRecord, Withheld
from holdfast.actors.rehearse import Glance
from holdfast.towns import debug_glances, events, glances
from holdfast.towns.definition import TOWN
from holdfast.towns.policy import Policy
from holdfast.towns.state import NewBead
from tests.unit.towns.rig import NOW_MS, Town

RECORD = TickRecord(
    actor="town/t", number=7, now_ms=NOW_MS, basis=3, seq=5, digest="d", policy="p", code="c",
    state_version=1, inputs=(Input("e1", "applied"),),
    decisions=(
        Decision("r", "why", "Dispatch", "b/1", {}, effects=("x",)),
        Decision("r", "why", "Dispatch", "b/2", {}, effects=("y", "z")),
        Decision("r", "why", "Bump", "b/3", {}),
    ),
    withheld=(Withheld("beads", "it is held", 2), Withheld("beads", "it waits", 9)),
    notes=(Note(4, "b/1", "wrong"),), phases_us=(1_500, 500),
)  # fmt: skip


def glance(town: Town, last: TickRecord | None = RECORD) -> Glance:
    kind = make_kind(TOWN, Policy())
    return Glance(kind=kind, folded=town.folded, last=last, pending=3, now_ms=town.now_ms)


def worked() -> Town:
    """Return a town with an agent at work, a bead that waits for it, and one that is held."""
    town = Town()
    town.sling("b1")
    town.sling("b2", blocked_by=("b1",))
    town.do(events.BeadCreated(bead=NewBead(id="b3", rig="r", content="c3", held=True)))
    town.do(events.Escalated(escalation="e1", severity="high", category="help", about="b/b1"))
    return town


def test_a_status_counts_what_there_is_and_names_the_most_frequent_wait_first() -> None:
    found = glances.status(glance(worked()))
    assert (found.agents.working, found.agents.total) == (1, 1)
    beads = found.beads
    assert (beads.open, beads.in_progress, beads.held, beads.escalations) == (2, 1, 1, 1)
    assert [(one.count, one.reason) for one in found.waiting] == [
        (9, "it waits"),
        (2, "it is held"),
    ]
    assert (found.events_waiting, found.violations) == (3, ())
    assert found.next_tick_at is not None
    assert glances.status(glance(worked(), None)).waiting == ()


def test_a_debug_status_has_rows_of_live_beads_and_the_last_tick() -> None:
    town = worked()
    found = debug_glances.status(glance(town))
    loop = found.alarm_status
    assert (loop.agents.working, loop.beads.in_progress, loop.beads.triage_requests) == (1, 1, 1)
    assert (loop.alarm.interval_ms, loop.alarm.interval_label) == (5_000, "active")
    assert loop.reconciler is not None
    assert loop.reconciler.actions_by_type == {"Dispatch": 2, "Bump": 1}
    assert (loop.reconciler.wall_clock_ms, loop.reconciler.side_effects_attempted) == (2, 3)
    (agent,) = found.agent_meta
    assert agent.current_hook_bead_id == "b1"
    rows = {row.bead_id: row for row in found.bead_summary}
    assert set(rows) == {"b1", "b2", "b3", "e1"}
    assert (rows["b3"].labels, rows["b3"].title) == (("gt:held",), "c3")
    assert rows["b2"].metadata == {"blocked_by": ["b1"]}
    assert rows["e1"].metadata == {"severity": "high", "category": "help"}
    town.do(events.TownClosed("ann"))
    idle = debug_glances.status(glance(town, None)).alarm_status
    assert (idle.alarm.interval_label, idle.reconciler) == ("idle", None)


def test_a_snapshot_has_agents_and_beads_that_have_not_ended() -> None:
    town = worked()
    town.do(events.BeadCancelled("b3"))
    found = debug_glances.snapshot(glance(town))
    assert [row.bead_id for row in found.non_terminal_beads] == ["b1", "b2", "e1"]
    assert len(found.agents) == 1


def test_nudges_are_the_newest_first_and_say_whose_they_are() -> None:
    town = worked()
    (agent,) = town.state.agents
    town.do(events.NudgeSent(nudge="n1", agent=agent, content="c1"))
    town.now_ms += 1
    town.do(events.NudgeSent(nudge="n2", agent=agent, level=1))
    found = debug_glances.nudges(glance(town)).nudges
    assert [(one.nudge_id, one.source, one.message) for one in found] == [
        ("n2", "reconciler", ""), ("n1", "person", "c1"),
    ]  # fmt: skip


def test_requests_and_convoys_show_their_parts_and_what_they_belong_to() -> None:
    town = worked()
    town.do(
        events.PullRequestAdopted(bead="m1", rig="r", branch="fix", pr_url="https://forge/1"),
        events.ConvoyCreated(convoy="c", beads=(NewBead(id="c0", rig="r"),), branch="convoy/c"),
    )
    review = debug_glances.review_metadata(town.bead("m1"))
    assert review is not None
    assert (review.branch, review.target_branch, review.pr_url) == (
        "fix",
        "main",
        "https://forge/1",
    )
    assert debug_glances.review_metadata(town.bead("b1")) is None
    row = debug_glances.bead_row(town.bead("m1"))
    assert row.labels == ("gt:merge-request",)
    assert row.metadata["pr_url"] == "https://forge/1"
    convoy = debug_glances.bead_row(town.bead("c")).metadata
    assert (convoy["feature_branch"], convoy["total_beads"]) == ("convoy/c", 1)
    found = [
        (one.depends_on_bead_id, one.dependency_type)
        for name in ("b2", "c0")
        for one in debug_glances.dependencies(town.bead(name))
    ]
    assert found == [("b1", "blocks"), ("c", "tracks")]


def test_open_violations_are_sentences() -> None:
    notes = debug_glances.violations([Note(7, "a/1", "an agent works without a bead")])
    assert (notes[0].number, notes[0].text) == (7, "an agent works without a bead")
