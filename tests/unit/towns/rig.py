"""A town whose clock a test moves, and whose calls to the outside a test answers."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.commit import check_all
from holdfast.actors.definition import EffectCall
from holdfast.actors.ports import Pending, Stamp
from holdfast.actors.record import Decision
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Outcome
from holdfast.towns import events, ports
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.policy import Policy
from holdfast.towns.state import Agent, Bead, Config, NewBead, State, found

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
TICKS_MAX = 50


def before(version: int) -> Policy:
    """Return a policy as one of an earlier version is read, with all fields of the present one."""
    return TOWN.decode_policy(TOWN.encode_policy(replace(Policy(), version=version)))


class Town:
    """A town with one rig `r`, at a time of its own."""

    def __init__(
        self, policy: Policy | None = None, *, gates: tuple[str, ...] = (), **config: Any
    ) -> None:
        self.policy = policy or Policy()
        self.now_ms = NOW_MS
        self.folded: Folded[State] = begin(TOWN, address(KIND, "t"))
        self.calls: list[EffectCall] = []
        self.done: list[Decision] = []
        self.stamps: list[Stamp] = []
        self.last: Tick[State] | None = None
        self._count = 0
        self.do(
            events.TownCreated(account="acme", name="t", by="ann", config=Config(**config)),
            events.RigAdded(rig="r", name="r", gates=gates),
        )

    @property
    def state(self) -> State:
        return self.folded.state

    def bead(self, one: str) -> Bead:
        return self.state.beads[one]

    def agent(self, one: str) -> Agent:
        return self.state.agents[one]

    # -- what happens

    def rows(self, *happened: events.Event) -> list[Pending]:
        rows = []
        for event in happened:
            self._count += 1
            rows.append(
                Pending(
                    id=EventId(f"e{self._count}"), body=events.encode_event(event),
                    version=TOWN.version, source="api", accepted_ms=self.now_ms,
                )
            )  # fmt: skip
        return rows

    def tick(self, rows: list[Pending]) -> Tick[State]:
        result = tick(TOWN, self.policy, self.folded, rows, self.now_ms, self.folded.number + 1)
        assert [note for note in result.notes if note.number == 0] == []
        assert result.after.digest == full_digest(TOWN, result.after.state)
        self.folded = result.after
        self.calls += [call.call for call in result.calls]
        self.done += result.decisions
        self.stamps += result.stamps
        self.last = result
        return result

    def do(self, *happened: events.Event) -> list[Stamp]:
        """Take events, and tick until nothing is due now; return the stamps of the events."""
        result = self.tick(self.rows(*happened))
        stamps = list(result.stamps)
        for _ in range(TICKS_MAX):
            if result.deadline_ms is None or result.deadline_ms > self.now_ms:
                assert [str(note) for note in check_all(TOWN, self.state)] == []
                return stamps
            result = self.tick([])
        raise AssertionError(f"it does not come to rest: {self.done[-3:]}")

    def wait(self, for_ms: int) -> None:
        """Let time pass, with a tick at each deadline on the way."""
        until_ms = self.now_ms + for_ms
        while (due := self.folded.alarm_ms) is not None and due <= until_ms:
            self.now_ms = max(due, self.now_ms)
            self.do()
        self.now_ms = until_ms

    def answer(self, call: EffectCall, outcome: Outcome[Any]) -> None:
        """Answer one call."""
        self.calls.remove(call)
        self.do(TOWN.settle(call, outcome))

    def call(self, body: type[Any]) -> EffectCall:
        """Return the only call of a kind that waits."""
        (one,) = self.calls_of(body)
        return one

    def calls_of(self, body: type[Any]) -> list[EffectCall]:
        return [call for call in self.calls if isinstance(call.body, body)]

    def rules(self) -> list[str]:
        return [decision.rule for decision in self.done]

    def held(self, bead: str) -> set[str]:
        """Return why the rules hold a bead back."""
        assert TOWN.explain is not None
        held = TOWN.explain(self.state, self.policy, self.now_ms, f"b/{bead}")
        return {one.because for one in held}

    # -- short cuts

    def sling(self, *beads: str, **fields: Any) -> None:
        for one in beads:
            new = NewBead(id=one, rig="r", **fields)
            self.do(events.BeadCreated(bead=new, by="ann"))

    def start_of(self, bead: str) -> ports.StartCall:
        """Return the latest start of an attempt at a bead."""
        made = [call.body for call in self.calls_of(ports.StartCall) if call.body.bead == bead]
        body: ports.StartCall = made[-1]
        return body

    def heard(self, bead: str) -> None:
        start = self.start_of(bead)
        self.do(events.AgentHeard(start.agent, start.attempt))

    def fail(self, bead: str) -> None:
        start = self.start_of(bead)
        self.do(events.AgentExited(agent=start.agent, attempt=start.attempt, status="failed"))

    def finish(self, bead: str, **fields: Any) -> list[Stamp]:
        start = self.start_of(bead)
        said = {"branch": start.branch, "commit": "c1", **fields}
        return self.do(events.AgentDone(agent=start.agent, attempt=start.attempt, **said))

    def mr_of(self, bead: str) -> str:
        (one,) = found(self.state, "reviews", bead)
        return one
