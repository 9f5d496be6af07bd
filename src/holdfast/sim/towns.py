"""A town in virtual time: the plane's own tick and effects against a world with faults.

Only what is committed survives a plane: its state goes through its stored form, and effects without
an outcome are made again. A seed decides everything. Every tick is checked: no note, no fault,
nothing that ended changes, some are rehearsed from the stored form first. At the end the world is
calm, everything must end or wait for a reason that is named, and all ticks are made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from holdfast.actors.commit import hex_digest
from holdfast.actors.definition import EffectCall, Probe, ProbeAnswer
from holdfast.actors.kinds import make_kind
from holdfast.actors.limits import TICK_EVENTS_MAX
from holdfast.actors.ports import Pending
from holdfast.actors.probing import ProbeCall
from holdfast.actors.rehearse import dry_run
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.kernel.clock import HOUR_MS, SECOND_MS
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.sim.town_world import TownWorld
from holdfast.towns import events
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.effects import TownCalls
from holdfast.towns.limits import ATTEMPTS_MAX
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import reconcile
from holdfast.towns.state import TERMINAL, State, found

T = TypeVar("T")

EPOCH_MS: Final = 1_700_000_000_000
TICKS_MAX: Final = 200
"""Ticks in a row at one moment; more means that the rules never come to rest."""
REHEARSED: Final = 0.05


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without a loop."""
    try:
        work.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    raise AssertionError("a call of the world waits")


class Recorded(msgspec.Struct, frozen=True):
    """A tick as it was made: what a repetition must equal."""

    number: int
    now_ms: int
    rows: tuple[Pending, ...]
    decisions: bytes
    digest: int


@dataclass
class Result:
    """What one seed did and found."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    ticks: int = 0
    events: int = 0
    previews: int = 0
    crashes: int = 0
    digest: str = ""
    rules: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])


class TownLoop:
    """One town with a small engine around the real tick; `clock_ms` is the plane's, which jumps."""

    def __init__(
        self,
        world: TownWorld,
        policy: Policy,
        *,
        name: str = "t1",
        random: Random | None = None,
        until_wrong: bool = True,
    ) -> None:
        self.world = world
        self.kind = make_kind(TOWN, policy)
        self.policy = policy
        self.random = random or world.random
        self.folded: Folded[State] = begin(TOWN, address(KIND, name))
        self.calls = TownCalls(world, world, world)
        self.pending: list[Pending] = []
        self.effects: dict[str, EffectCall] = {}
        self.probes: dict[str, Probe] = {}
        self.answers: dict[str, Any] = {}
        self.polled_ms = 0
        self.offset_ms = EPOCH_MS
        self.resumed_ms = 0
        self.crash_rate = 0.0
        self.history: list[Recorded] = []
        self.result = Result(0)
        self.notes: list[str] = []
        self._until_wrong = until_wrong
        self._count = 0

    @property
    def state(self) -> State:
        """Return the committed state."""
        return self.folded.state

    @property
    def now_ms(self) -> int:
        """Return the plane's time of day."""
        return self.world.now_ms + self.offset_ms

    def accuse(self, text: str) -> None:
        """Note what is wrong."""
        self.result.wrong.append(f"{self.world.now_ms / SECOND_MS:.0f} s: {text}")

    # -- events and ticks

    def accept(self, event: events.Event, source: Any = "api") -> str:
        """Accept an event; it is taken by the next tick."""
        self._count += 1
        row = Pending(
            id=EventId(f"e{self._count:07d}"), body=events.encode_event(event),
            version=TOWN.version, source=source, accepted_ms=self.now_ms,
        )  # fmt: skip
        self.pending.append(row)
        return row.id

    def settle(self) -> None:
        """Tick, carry effects out and take their outcomes, until nothing is due now."""
        for _ in range(TICKS_MAX):
            due = self.folded.alarm_ms
            if self.pending or (due is not None and due <= self.now_ms):
                self.tick()
            elif self.effects:
                self.carry_out()
            else:
                return
        self.accuse("the town does not come to rest")

    def tick(self) -> None:
        """Make and commit one tick."""
        rows, self.pending = self.pending[:TICK_EVENTS_MAX], self.pending[TICK_EVENTS_MAX:]
        number = self.folded.number + 1
        ahead = None
        if self.random.random() < REHEARSED:
            ahead = dry_run(self.kind, self._stored(), rows, now_ms=self.now_ms).steps[0]
        result = tick(TOWN, self.policy, self.folded, rows, self.now_ms, number)
        if ahead is not None:
            self.result.previews += 1
            same = (ahead.digest, ahead.decisions, ahead.inputs, ahead.deadline_ms)
            made = hex_digest(result.after.digest), result.decisions, result.inputs
            if same != (*made, result.deadline_ms):
                self.accuse(f"the dry run of tick {number} differs")
        self._look_at(result)
        self.history.append(
            Recorded(number, self.now_ms, tuple(rows), decisions_of(result), result.after.digest)
        )
        self.folded = result.after
        for call in result.calls:
            self._queue(call.call, supersedes=call.supersedes)
        for probe in result.probes:
            self.probes[probe.key] = probe
            self.answers.pop(probe.key, None)
        for key in result.unprobes:
            self.probes.pop(key, None)
            self.answers.pop(key, None)
        if self.random.random() < self.crash_rate:
            self.crash()

    def _queue(self, call: EffectCall, *, supersedes: bool) -> None:
        if supersedes:
            self.effects = {
                one: other for one, other in self.effects.items() if other.lane != call.lane
            }
        self.effects[call.id] = call

    def _stored(self) -> Folded[State]:
        """Return the actor as another process would load it."""
        body = TOWN.encode_state(self.folded.state)
        state = TOWN.decode_state(body, TOWN.version)
        return msgspec.structs.replace(self.folded, state=state)

    def _look_at(self, result: Tick[State]) -> None:
        number = result.after.number
        self.result.ticks += 1
        self.result.events += len(result.stamps)
        for note in result.notes:
            self.notes.append(note.text)
            self.accuse(f"tick {number}: {note}")
        for stamp in result.stamps:
            if stamp.outcome == "quarantined" and not stamp.id.startswith("torn"):
                self.accuse(f"tick {number}: {stamp}")
        for decision in result.decisions:
            self.result.rules[decision.rule] += 1
            if decision.result == "fault":
                self.accuse(f"tick {number}: {decision}")
        for withheld in result.withheld:
            self.result.rules[withheld.rule] += 1
        self._look_at_beads(result)
        if result.deadline_ms != result.now_ms and self.random.random() < REHEARSED:
            again = reconcile(result.after.state, self.policy, result.now_ms, number + 1)
            if again.actions:
                self.accuse(f"tick {number} came to rest with {again.actions[0]} to do")

    def _look_at_beads(self, result: Tick[State]) -> None:
        """Check that what ended stays as it ended, and that attempts are bounded."""
        before, after = result.before.state.beads, result.after.state.beads
        for key in result.touched:
            old = before.get(key[2:]) if key[:2] == "b/" else None
            new = after.get(key[2:]) if old is not None else None
            is_over = old is not None and old.status in TERMINAL
            if is_over and old is not None and new is not None and new.status != old.status:
                self.accuse(f"{old.id} was {old.status} and is {new.status}")
            if new is not None and new.attempts > ATTEMPTS_MAX:
                self.accuse(f"{new.id} was tried {new.attempts} times")

    # -- effects and probes

    def carry_out(self) -> None:
        """Carry all effects out that wait, in their order."""
        waiting, self.effects = list(self.effects.values()), {}
        for place, call in enumerate(waiting):
            if self.random.random() < self.crash_rate:
                left = [call._replace(attempt=call.attempt + 1), *waiting[place + 1 :]]
                self.effects = {one.id: one for one in left}
                if self.random.random() < 0.5:  # noqa: PLR2004
                    run_now(self.calls.execute(call))  # made, and its outcome is lost
                self.crash()
                return
            self.accept(TOWN.settle(call, self._outcome(call)), "effect")

    def _outcome(self, call: EffectCall) -> Any:
        if call.valid_until_ms < self.now_ms:
            return Retryable("expired", "it waited for too long")
        if not TOWN.wanted(self.state, call, self.now_ms):
            return Permanent("unwanted", "it is not wanted any more")
        return run_now(self.calls.execute(call))

    def poll(self) -> None:
        """Answer all probes, as often as they ask."""
        if not self.probes or self.world.now_ms - self.polled_ms < self.policy.poll_ms:
            return
        self.polled_ms = self.world.now_ms
        for key in sorted(self.probes):
            probe = self.probes[key]
            where = self.folded.address
            call = ProbeCall(where, key, probe.provider, probe.body, probe.epoch, probe.period_ms)
            outcome = run_now(self.calls.look(call))
            if isinstance(outcome, Ok) and self.answers.get(key) != outcome.value:
                self.answers[key] = outcome.value
                answer = ProbeAnswer(key, probe.epoch, outcome)
                assert TOWN.probed is not None
                self.accept(TOWN.probed(answer), "probe")

    # -- time

    def crash(self, down_ms: int = 0) -> None:
        """Lose the plane, and start it again from what was committed after `down_ms`."""
        self.result.crashes += 1
        loaded = self._stored()
        if full_digest(TOWN, loaded.state) != self.folded.digest:
            self.accuse("the stored state has another digest")
        if loaded.state != self.folded.state:
            self.accuse("the stored state is another")
        self.folded = loaded
        self.world.now_ms += down_ms
        self.resumed_ms = self.world.now_ms
        self.accept(events.LoopResumed(), "engine")

    def jump(self, by_ms: int) -> None:
        """Step the plane's clock; its watch over steps says so."""
        self.offset_ms += by_ms
        self.accept(events.LoopResumed(), "engine")

    def listen(self) -> None:
        """Take what agents report, and what is not heard of them."""
        levels = self.policy.inactive_ms
        for _, event in self.world.reports():
            self.accept(event, "contact")
        if self.world.attended:
            self.world.attended.clear()
            for one in found(self.state, "escalations"):
                self.accept(events.EscalationAcknowledged(one, "mayor"))
        for _, event in self.world.silences(self.policy.silent_ms, levels, self.resumed_ms):
            self.accept(event, "contact")

    def pass_time(self, for_ms: int, holds: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, from one thing that happens to the next; stop when `holds`."""
        until_ms = self.world.now_ms + for_ms
        self.settle()
        while self.world.now_ms < until_ms:
            if holds() or (self._until_wrong and self.result.wrong):
                return True
            self.world.now_ms = min(until_ms, self._next_ms())
            self.listen()
            self.poll()
            self.settle()
        return holds()

    def _next_ms(self) -> int:
        moments = [self.world.next_ms(self.policy.inactive_ms)]
        if self.folded.alarm_ms is not None:
            moments.append(self.folded.alarm_ms - self.offset_ms)
        if self.probes:
            moments.append(self.polled_ms + self.policy.poll_ms)
        later = [one for one in moments if one is not None and one > self.world.now_ms]
        return min(later, default=self.world.now_ms + HOUR_MS)


def decisions_of(result: Tick[Any]) -> bytes:
    """Return a tick's decisions and suppressions in a form to compare."""
    return msgspec.json.encode((result.decisions, result.withheld, result.deadline_ms))


def repeat(loop: TownLoop) -> list[str]:
    """Make all ticks again from the first; return what differs."""
    folded: Folded[State] = begin(TOWN, loop.folded.address)
    for one in loop.history:
        result = tick(TOWN, loop.policy, folded, one.rows, one.now_ms, one.number)
        if decisions_of(result) != one.decisions or result.after.digest != one.digest:
            return [f"tick {one.number} is another when it is made again"]
        folded = result.after
    return []
