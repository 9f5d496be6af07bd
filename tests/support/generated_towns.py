"""Towns by a number: any mix of work, of what agents and forges say, and of rows that are torn.

A town is made by events alone, so that its state is one that can be. `differs` compares its dry
run, from the stored form, with the ticks that follow.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from holdfast.actors.commit import hex_digest
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limits import TICK_EVENTS_MAX
from holdfast.actors.ports import Pending
from holdfast.actors.rehearse import dry_run, show
from holdfast.actors.tick import Folded, begin, tick
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import EventId, address
from holdfast.towns import events
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.policy import EARLIER, Policy
from holdfast.towns.state import Agent, Bead, Config, NewBead, PullRequest, State

NOW_MS: Final = 1_700_000_000_000
ROUNDS_MAX: Final = 8
STEPS: Final = 3
"""Ticks of a dry run that are compared."""
TORN: Final = (b"{torn", b"{}", b'{"type":"NotAnEvent"}', b"\xff\xfe", b'{"type":"TownAgentDone"}')
_WAITS_MS: Final = (0, SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 30 * HOUR_MS)
KINDS: Final = tuple(make_kind(TOWN, policy) for policy in (Policy(), EARLIER))


class Generated:
    """A town in the making."""

    def __init__(self, seed: int, *, beads: int) -> None:
        """Make a town that has this many beads or a few more."""
        self.chance = Random(seed)
        self.kind: Kind = self.chance.choice(KINDS)
        self.folded: Folded[State] = begin(TOWN, address(KIND, f"t{seed}"))
        self.now_ms = NOW_MS
        self.count = 0
        self.rigs = [f"r{number}" for number in range(self.chance.randint(1, 4))]
        self.beads = beads
        self._make()

    def _make(self) -> None:
        chance = self.chance
        config = Config(
            code_review=chance.random() < 0.6,
            merge_strategy=chance.choice(("direct", "direct", "pr")),
            attempts_max=chance.choice((1, 5)),
            resolve_feedback=chance.random() < 0.5,
            auto_merge_delay_ms=chance.choice((None, 0, MINUTE_MS)),
            failures_hold=chance.random() < 0.7,
            town_agents_max=chance.choice((1, 5, 50, 0)),
            polecats_max=chance.choice((0, 0, 3)),
            budget_day=chance.choice((0, 0, 500)),
        )
        self.take([events.TownCreated(account="acme", name="t", by="ann", config=config)])
        for one in self.rigs:
            gates = chance.choice(((), ("test",)))
            self.take([events.RigAdded(rig=one, name=one, gates=gates)])
        self.take([self.new(f"b{number}", number) for number in range(self.beads)])
        for _ in range(chance.randint(1, ROUNDS_MAX)):
            self.take(self.said(chance.randint(1, 20)))
            self.now_ms += chance.choice(_WAITS_MS)

    def new(self, one: str, before: int) -> events.BeadCreated:
        """Return an issue that may wait for one of those before it."""
        chance = self.chance
        waits = (f"b{chance.randrange(before)}",) if before and chance.random() < 0.25 else ()
        bead = NewBead(
            id=one, rig=chance.choice(self.rigs), priority=chance.randrange(4),
            blocked_by=waits, held=chance.random() < 0.05,
        )  # fmt: skip
        return events.BeadCreated(bead=bead, by="ann")

    # -- what is said

    def said(self, count: int) -> list[events.Event]:
        """Return events about agents, requests and work that are there, and some that are not."""
        return [self.chance.choice(_SAYINGS)(self) for _ in range(count)]

    def one_of(self, table: dict[str, Any]) -> Any:
        """Return any of a table, the same for a seed; None where there is none."""
        return table[self.chance.choice(sorted(table))] if table else None

    def agent(self) -> dict[str, Any]:
        """Return an agent with its attempt, seldom an older one."""
        agent: Agent | None = self.one_of(dict(self.folded.state.agents))
        if agent is None:
            return {"agent": "nobody", "attempt": "none"}
        late = self.chance.random() < 0.1
        return {"agent": agent.id, "attempt": "late" if late else agent.attempt}

    def request(self) -> dict[str, Any]:
        """Return a merge request with its present call."""
        late = self.chance.random() < 0.1
        requests = {
            one: bead
            for one, bead in self.folded.state.beads.items()
            if bead.review is not None and (late or not bead.ended_ms)
        }
        bead: Bead | None = self.one_of(requests)
        if bead is None or bead.review is None:
            return {"mr": "none", "call": 0}
        return {"mr": bead.id, "call": bead.review.call - late}

    def bead(self) -> str:
        """Return the id of a bead."""
        bead: Bead | None = self.one_of(dict(self.folded.state.beads))
        return "none" if bead is None else bead.id

    def fresh(self, what: str) -> str:
        """Return an id that was not given before."""
        self.count += 1
        return f"{what}{self.count}"

    def pr(self) -> PullRequest:
        """Return what a forge says."""
        flip = self.chance.random
        return PullRequest(
            state=self.chance.choice(("open", "open", "merged", "closed")), conflicts=flip() < 0.2,
            failing=flip() < 0.2, pending=flip() < 0.2, changes_requested=flip() < 0.1, commit="c",
        )  # fmt: skip

    # -- rows and ticks

    def rows(self, happened: list[events.Event]) -> list[Pending]:
        """Return pending rows."""
        return [self.row(events.encode_event(one)) for one in happened]

    def row(self, body: bytes) -> Pending:
        """Return one pending row."""
        event = EventId(self.fresh("e"))
        return Pending(
            id=event, body=body, version=TOWN.version, source="api", accepted_ms=self.now_ms
        )

    def take(self, happened: list[events.Event]) -> None:
        """Tick until these are taken and nothing is due now."""
        rows = self.rows(happened)
        for _ in range(len(rows) // TICK_EVENTS_MAX + 20):
            result = self.tick(self.folded, rows[:TICK_EVENTS_MAX], self.now_ms)
            rows = rows[TICK_EVENTS_MAX:]
            if not result.silent:
                self.folded = result.after
            if not rows and (result.silent or result.deadline_ms != self.now_ms):
                return

    def tick(self, folded: Folded[State], rows: list[Pending], now_ms: int) -> Any:
        """Return the next tick."""
        return tick(TOWN, self.kind.policy, folded, rows, now_ms, folded.number + 1)


_AGENT: Final[tuple[Callable[[Generated], events.Event], ...]] = (
    lambda g: events.AgentHeard(**g.agent()),
    lambda g: events.AgentSilent(**g.agent()),
    lambda g: events.AgentStarted(**g.agent()),
    lambda g: events.AgentInactive(**g.agent(), level=g.chance.choice((1, 2, 3))),
    lambda g: events.AgentDone(**g.agent(), branch="b/x", commit="c"),
    lambda g: events.AgentDone(**g.agent(), branch="b/x", pr_url="https://forge/1"),
    lambda g: events.ChangesRequested(**g.agent(), content="why"),
    lambda g: events.StartRefused(**g.agent(), code="host_full", charged=g.chance.random() < 0.3),
    lambda g: events.CostReported(**g.agent(), microdollars=g.chance.randrange(400)),
    lambda g: events.AgentExited(
        **g.agent(), status=g.chance.choice(("completed", "failed", "gone", "evicted"))
    ),
)
_OTHERS: Final[tuple[Callable[[Generated], events.Event], ...]] = (
    lambda g: events.GatesFinished(**g.request(), commit="c"),
    lambda g: events.GatesFinished(
        **g.request(), commit="c", results=(events.GateResult("test", passed=False),)
    ),
    lambda g: events.Landed(**g.request(), commit="c"),
    lambda g: events.LandRefused(
        **g.request(), code=g.chance.choice(("moved", "conflict", "no_branch"))
    ),
    lambda g: events.CallFailed(**g.request(), code="timeout"),
    lambda g: events.PullRequestSeen(g.request()["mr"], g.pr()),
    lambda g: events.PullRequestUnreadable(
        mr=g.request()["mr"], code="gone", lasting=g.chance.random() < 0.3
    ),
    lambda g: g.new(g.fresh("n"), g.beads),
    lambda g: events.BeadCancelled(bead=g.bead(), status="failed", by="ann"),
    lambda g: events.BeadHeld(g.bead(), g.chance.random() < 0.5),
    lambda g: events.Escalated(escalation=g.fresh("x"), severity="low", category="help"),
    lambda g: events.MailSent(message=g.fresh("m"), to=g.agent()["agent"]),
    lambda g: events.NudgeSent(nudge=g.fresh("u"), agent=g.agent()["agent"]),
    lambda g: events.ConvoyCreated(
        convoy=g.fresh("cv"), branch="convoy/x",
        beads=tuple(NewBead(id=g.fresh("c"), rig=g.rigs[0]) for _ in range(3)),
    ),
    lambda _g: events.LoopResumed(),
    lambda g: events.DrainStarted(g.fresh("d"), g.now_ms + MINUTE_MS),
    lambda _g: events.DrainEnded(),
    lambda g: events.RigRemoved(g.chance.choice(g.rigs)),
)  # fmt: skip
_SAYINGS: Final = _AGENT * 3 + _OTHERS[:3] * 3 + _OTHERS


def differs(seed: int, *, beads: int = 0) -> str:
    """Return how the dry run of a town differs from its next ticks; empty where it does not.

    `beads` is how many it has; 0 is any number from 1 to 200.
    """
    town = Generated(seed, beads=beads or 1 + Random(seed).randrange(200))
    rows = town.rows(town.said(town.chance.choice((0, 1, 10, 100))))
    for _ in range(town.chance.randrange(3)):
        at = town.chance.randint(0, len(rows))
        rows.insert(at, town.row(town.chance.choice(TORN)))
    live = town.folded
    body = TOWN.encode_state(live.state)
    stored = msgspec.structs.replace(live, state=TOWN.decode_state(body, TOWN.version))
    ahead = dry_run(town.kind, stored, rows, now_ms=town.now_ms, ticks=STEPS)
    if TOWN.encode_state(live.state) != body or hex_digest(live.digest) != ahead.digest:
        return f"town {seed}: the dry run changed what it began from"
    for step in ahead.steps:
        result = town.tick(live, rows[:TICK_EVENTS_MAX], step.now_ms)
        rows = rows[TICK_EVENTS_MAX:]
        made = show(result)
        for field in step.__struct_fields__:
            if getattr(step, field) != getattr(made, field):
                return f"town {seed}, tick {step.number}: {field} is another"
        live = live if result.silent else result.after
    return ""
