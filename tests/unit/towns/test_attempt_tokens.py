"""Tokens of attempts, and what is known of agents that work, by the ticks of a town in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Accepted, Answer, Arrival, Pending
from holdfast.actors.tick import Tick
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Ok
from holdfast.plane.wiring.towns import town_kind
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.towns import events, ports
from holdfast.towns.attempts import Attempts, Grant, LiveTowns
from holdfast.towns.contact import UNREAD_MAX, AgentWatch
from holdfast.towns.policy import Policy
from holdfast.towns.silence import Silence
from holdfast.towns.state import Agent, NewBead, State
from holdfast.wire.api.call import Principal, Refusal
from tests.support.logs import Lines
from tests.unit.towns.rig import Town

SECOND_MS = 1_000


class Chance:
    """Ids that count up."""

    def __init__(self) -> None:
        self.drawn = 0

    def uuid(self) -> str:
        self.drawn += 1
        return f"u{self.drawn}"

    def token(self, prefix: str) -> str:
        return prefix + self.uuid()


class Mailboxes:
    """Takes events down, or refuses them as a full disk does."""

    def __init__(self) -> None:
        self.told: list[events.Event] = []
        self.broken = False

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        if self.broken:
            raise OSError(28, "no space")
        self.told += [events.decode_event(row.body, row.version) for _, row in arrivals]
        return []

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        raise NotImplementedError


class FailingStore(MemoryTownRecords):
    """A store that cannot delete for a while."""

    broken = False

    async def drop_grants(self, hashes: Sequence[str]) -> None:
        if self.broken:
            raise OSError(28, "no space")
        await super().drop_grants(hashes)


class Watched(Town):
    """A town whose ticks are followed as the plane follows them."""

    def __init__(self, **config: Any) -> None:
        self.store, self.clock, self.log = FailingStore(), ManualClock(), Lines()
        self.boxes, self.towns = Mailboxes(), LiveTowns()
        self.kind = town_kind(Policy())
        self.begin()
        super().__init__(**config)

    def begin(self) -> None:
        """Start the plane's side anew, over the same store."""
        self.towns = LiveTowns()
        self.attempts = Attempts(self.store, key=b"k" * 32, towns=self.towns, clock=self.clock)
        self.woken = 0
        self.watch = AgentWatch(
            self.attempts, self.towns, Silence(Policy(), self.clock.steady_ms()),
            mailboxes=self.boxes, clock=self.clock, chance=Chance(), log=self.log, wake=self.wake,
        )  # fmt: skip

    def wake(self) -> None:
        self.woken += 1

    def tick(self, rows: list[Pending]) -> Tick[State]:
        result = super().tick(rows)
        self.watch.on_commit(CommittedTick(self.kind, result, None))
        return result

    def start(self) -> Agent:
        """Hand a bead out; return who got it."""
        self.do(events.BeadCreated(bead=NewBead(id=f"b{len(self.state.beads)}", rig="r")))
        call = self.calls_of(ports.StartCall)[-1]
        body = call.body
        assert isinstance(body, ports.StartCall)
        self.answer(call, Ok(ports.Begun()))
        self.do(events.AgentHeard(body.agent, body.attempt))
        return self.agent(body.agent)


def admitted(town: Watched, token: str) -> str:
    """Return who a token admits, or the code of the refusal."""
    try:
        found = town.attempts.owner(token)
    except Refusal as refusal:
        return refusal.problem.code
    return "nobody" if found is None else found.name


async def test_a_start_that_is_asked_twice_gets_the_same_token_and_the_store_no_secret() -> None:
    town = Watched()
    agent = town.start()
    first = await town.attempts.issue("t", agent.id, agent.attempt)
    assert await town.attempts.issue("t", agent.id, agent.attempt) == first
    (kept,) = await town.store.grants()
    assert first not in str(kept)
    assert admitted(town, first) == f"{agent.id}@t"
    principal = town.attempts.owner(first)
    assert principal is not None
    assert (principal.account, principal.scope) == ("acme", "attempt")
    others = {town.attempts.token_of(*of) for of in (
        ("t", agent.id, "e"), ("t", "x", agent.attempt), ("u", agent.id, agent.attempt),
    )}  # fmt: skip
    assert len(others | {first}) == 4
    assert all(admitted(town, other) == "nobody" for other in others)


async def test_a_token_ends_with_its_attempt_whoever_ends_it_and_says_so() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    town.do(events.AgentDone(agent=agent.id, attempt=agent.attempt, branch="x"))
    assert admitted(town, token) == "attempt_ended"  # at once, before anything was deleted
    assert await town.watch.step() is False
    assert not await town.store.grants()
    assert admitted(town, token) == "attempt_ended"

    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    town.do(events.AgentExited(agent=agent.id, attempt=agent.attempt, status="failed"))
    assert admitted(town, token) == "attempt_ended"

    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    await town.attempts.revoke("t", agent.id, "another")
    assert admitted(town, token) == f"{agent.id}@t"
    await town.attempts.revoke("t", agent.id, agent.attempt)
    await town.attempts.revoke("t", agent.id, agent.attempt)
    assert admitted(town, token) == "attempt_ended"
    with pytest.raises(Refusal, match="attempt_ended"):
        town.attempts.grant(Principal("a@t", "attempt", "acme", "key", token_id="gone"))


async def test_one_that_ended_well_may_still_say_that_it_is_done() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    town.do(events.AgentExited(agent=agent.id, attempt=agent.attempt, status="completed"))
    assert admitted(town, token) == f"{agent.id}@t"
    town.do(events.AgentDone(agent=agent.id, attempt=agent.attempt, branch="x"))
    assert admitted(town, token) == "attempt_ended"


async def test_a_new_attempt_ends_the_token_of_the_one_before() -> None:
    town = Watched()
    agent = town.start()
    before = await town.attempts.issue("t", agent.id, agent.attempt)
    await town.attempts.issue("t", agent.id, "e-next")
    assert admitted(town, before) == "attempt_ended"
    assert len(await town.store.grants()) == 1


async def test_after_a_restart_tokens_are_as_stored_and_judged_at_the_first_tick() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    stale = Grant(hash="h", town="t", agent="gone", attempt="e0", issued_ms=0)
    await town.store.put_grant(stale)
    town.begin()
    await town.attempts.load()
    principal = town.attempts.owner(token)
    assert principal is not None
    assert principal.account == ""  # nobody's, until the town is known; never an operator's
    town.do(events.LoopResumed())
    assert admitted(town, token) == f"{agent.id}@t"
    assert len(town.watch.silence) == 1
    await town.watch.step()
    assert [one.agent for one in await town.store.grants()] == [agent.id]


async def test_a_closed_town_has_no_tokens() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    town.do(events.TownClosed(by="ann"))
    assert admitted(town, token) == "attempt_ended"
    await town.watch.step()
    assert not await town.store.grants()
    assert town.towns.get("t") is None  # nothing of it is kept in memory
    assert len(town.watch.silence) == 0


async def test_what_cannot_be_deleted_or_accepted_does_not_end_the_job() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    town.store.broken = town.boxes.broken = True
    for _ in range(3):
        town.clock.advance(100 * SECOND_MS)
        await town.watch.step()
    town.do(events.AgentDone(agent=agent.id, attempt=agent.attempt, branch="x"))
    await town.watch.step()
    assert admitted(town, token) == "attempt_ended"
    assert await town.store.grants()
    assert town.log.at_least("error") != []
    town.store.broken = False
    town.begin()
    await town.attempts.load()
    town.do(events.LoopResumed())
    await town.watch.step()
    assert not await town.store.grants()


async def test_heartbeats_are_told_to_the_town_once() -> None:
    town = Watched()
    agent = town.start()
    token = await town.attempts.issue("t", agent.id, agent.attempt)
    principal = town.attempts.owner(token)
    assert principal is not None
    grant = town.attempts.grant(principal)
    for _ in range(3):
        town.watch.beat(grant, worked_ago_ms=0, tools=False, waits=None)
    assert town.woken == 0
    for _ in range(120):
        town.clock.advance(SECOND_MS)
        await town.watch.step()
    assert town.boxes.told == [events.AgentSilent(agent.id, agent.attempt)]
    town.do(*town.boxes.told)
    assert admitted(town, token) == "attempt_ended"  # it was given up


async def test_what_its_host_delivered_waits_until_it_is_read() -> None:
    town = Watched()
    agent = town.start()
    town.do(
        events.MailSent(message="m1", to=agent.id, sender="x", content="c1"),
        events.NudgeSent(nudge="n1", agent=agent.id, content="c2"),
        events.NudgeSent(nudge="n2", agent=agent.id, content="c3", attempt="e-other"),
    )
    assert town.watch.waiting(town.state, agent.id, agent.attempt) == 2  # n2 is of another
    seen = town.watch.messages(town.state, agent.id, agent.attempt)
    assert [one.content for one in seen] == ["c1", "c2"]
    town.do(events.MailDelivered("m1"), events.NudgeDelivered("n1"), events.NudgeDelivered("n2"))
    seen = town.watch.messages(town.state, agent.id, agent.attempt)
    assert [(one.id, one.kind, one.sender) for one in seen] == [
        ("m1", "mail", "x"), ("n1", "nudge", ""),
    ]  # fmt: skip
    assert town.watch.waiting(town.state, agent.id, agent.attempt) == 2
    town.watch.inbox("t", agent.id, agent.attempt).unread.pop("m1")
    assert town.watch.waiting(town.state, agent.id, agent.attempt) == 1
    assert town.watch.waiting(town.state, agent.id, "e-next") == 0
    for number in range(2 * UNREAD_MAX):
        town.do(
            events.MailSent(message=f"x{number}", to=agent.id),
            events.MailDelivered(f"x{number}"),
        )
    assert len(town.watch.messages(town.state, agent.id, agent.attempt)) == UNREAD_MAX
    town.do(events.AgentExited(agent=agent.id, attempt=agent.attempt, status="failed"))
    assert town.watch.waiting(town.state, agent.id, agent.attempt) == 0


async def test_a_program_that_its_host_sees_run_lives_and_does_no_work_by_that() -> None:
    town = Watched()
    agent = town.start()
    for _ in range(16 * 60):
        town.clock.advance(SECOND_MS)
        town.watch.seen("t", agent.id, agent.attempt)
        town.watch.seen("t", agent.id, "another")
        town.watch.seen("elsewhere", agent.id, agent.attempt)
        await town.watch.step()
    warned = events.AgentInactive(agent=agent.id, attempt=agent.attempt, level=1)
    assert town.boxes.told == [warned]
    assert len(town.watch.silence) == 1


async def test_a_mayor_has_a_token_of_its_attempt_and_is_shown_what_needs_somebody() -> None:
    town = Watched()
    asked = events.Escalated(escalation="esc1", severity="high", category="c", about="b/x")
    town.do(events.AgentAdded(agent="m", role="mayor"), asked)
    attempt = town.agent("m").attempt
    token = await town.attempts.issue("t", "m", attempt)
    principal = town.attempts.owner(token)
    assert principal is not None
    grant = town.attempts.grant(principal)
    town.watch.beat(grant, worked_ago_ms=None, tools=False, waits=None)
    await town.watch.step()
    assert town.boxes.told == [events.AgentHeard("m", attempt)]
    town.do(*town.boxes.told, events.MailSent(message="m1", to="m", content="c"))
    assert town.watch.waiting(town.state, "m", attempt) == 2
    seen = town.watch.messages(town.state, "m", attempt)
    assert [(one.id, one.kind, one.about) for one in seen] == [
        ("m1", "mail", ""), ("esc1", "escalation", "b/x"),
    ]  # fmt: skip
    town.do(events.EscalationAcknowledged("esc1", "m"))
    assert town.watch.waiting(town.state, "m", attempt) == 1
    assert admitted(town, token) == "m@t"
    town.do(events.AgentSilent("m", attempt))
    assert admitted(town, token) == "attempt_ended"
