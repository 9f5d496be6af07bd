"""A town in virtual time: the plane's own tick and effects against a world with faults.

Only what is committed survives a plane: its state goes through its stored form, and effects without
an outcome are made again. A seed decides everything. Every tick is checked: no note, no fault,
nothing that ended changes, some are rehearsed from the stored form first. At the end the world is
calm, everything must end or wait for a reason that is named, and all ticks are made again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from holdfast.actors.commit import check_all, hex_digest
from holdfast.actors.definition import EffectCall, Probe, ProbeAnswer
from holdfast.actors.kinds import make_kind
from holdfast.actors.limits import TICK_EVENTS_MAX
from holdfast.actors.ports import Pending
from holdfast.actors.probing import ProbeCall
from holdfast.actors.rehearse import dry_run
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.sim.town_world import Chances, TownWorld
from holdfast.towns import events
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.effects import TownCalls
from holdfast.towns.limits import ATTEMPTS_MAX
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import explain, reconcile, situation
from holdfast.towns.state import TERMINAL, Config, State

T = TypeVar("T")

EPOCH_MS: Final = 1_700_000_000_000
TICKS_MAX: Final = 200
"""Ticks in a row at one moment; more means that the rules never come to rest."""
REHEARSED: Final = 0.05
CALM_MS: Final = 4 * DAY_MS
NAMED: Final = frozenset(
    {"convoys.land", "beads.blocked_by_failed", "beads.blocked", "beads.held", "beads.staged",
     "reviews.merge", "reviews.poll", "reviews.wait", "mail.deliver"}
)  # fmt: skip
"""Rules whose reasons need a person, or another bead that waits for one."""


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
        before, after = result.before.state.beads, result.after.state.beads
        for key in result.touched:
            old = before.get(key[2:]) if key[:2] == "b/" else None
            new = after.get(key[2:]) if old is not None else None
            is_over = old is not None and old.status in TERMINAL
            if is_over and old is not None and new is not None and new.status != old.status:
                self.accuse(f"{old.id} was {old.status} and is {new.status}")
            if new is not None and new.attempts > ATTEMPTS_MAX:
                self.accuse(f"{new.id} was tried {new.attempts} times")
        if result.deadline_ms != result.now_ms and self.random.random() < REHEARSED:
            again = reconcile(result.after.state, self.policy, result.now_ms, number + 1)
            if again.actions:
                self.accuse(f"tick {number} came to rest with {again.actions[0]} to do")

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


# ------------------------------------------------------------------------------------- scenarios


def make_chances(random: Random) -> Chances:
    """Return the faults of a seed."""

    def often(*choices: float) -> float:
        return random.choice([0.0, *choices])

    return Chances(
        start_refused=often(0.05, 0.3),
        start_lost=often(0.05, 0.2),
        answer_lost=often(0.05, 0.2),
        agent_bad=often(0.1, 0.4),
        gate_red=often(0.1, 0.3),
        target_moved=often(0.1, 0.3),
        conflict=often(0.1),
        forge_down=often(0.1, 0.3),
        repeat=often(0.3),
        pull_requests=random.random() < 0.3,  # noqa: PLR2004
        work_ms=random.choice([MINUTE_MS, 10 * MINUTE_MS, 40 * MINUTE_MS]),
    )


class Life:
    """The life of one town by a seed: people order, faults happen, then all is calm."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  repeatable on purpose
        self.world = TownWorld(self.random, make_chances(self.random))
        self.loop = TownLoop(self.world, Policy(), random=self.random)
        self.loop.result.seed = seed
        self.beads: list[str] = []
        self._count = 0

    def run(self) -> Result:
        """Run everything and return what was found."""
        loop, random = self.loop, self.random
        loop.crash_rate = random.choice([0.0, 0.0, 0.02])
        self._found_town()
        acts = (
            self._sling, self._sling, self._convoy, self._cancel, self._hold, self._mail,
            self._crash, self._jump, self._drain, self._host_lost, self._configure, self._garbage,
            self._acknowledge, self._adopt,
        )  # fmt: skip
        for _ in range(random.randrange(6, 24)):
            random.choice(acts)()
            loop.pass_time(random.choice([0, 30 * SECOND_MS, 10 * MINUTE_MS, HOUR_MS]))
            self._explain_all()
            if loop.result.wrong:
                return loop.result
        self._calm()
        return loop.result

    # -- what people do

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def _found_town(self) -> None:
        random, loop = self.random, self.loop
        config = Config(
            code_review=random.random() < 0.8,  # noqa: PLR2004
            merge_strategy="pr" if self.world.chances.pull_requests else "direct",
            town_agents_max=random.choice([2, 5, 50]),
            auto_merge_delay_ms=random.choice([None, 0, MINUTE_MS]),
            resolve_feedback=random.random() < 0.5,  # noqa: PLR2004
            failures_hold=random.random() < 0.7,  # noqa: PLR2004
            budget_day=random.choice([0, 0, 20_000]),
        )
        loop.accept(events.TownCreated(account="acme", name="t1", by="ann", config=config))
        for number in range(random.randrange(1, 3)):
            gates = ("lint", "test")[: random.randrange(3)]
            loop.accept(events.RigAdded(rig=f"r{number}", name=f"rig {number}", gates=gates))
        loop.accept(events.AgentAdded(agent="mayor", role="mayor"))
        loop.settle()

    def _new(self, *, among: list[str] | None = None) -> events.NewBead:
        known = self.beads if among is None else among
        most = min(len(known), 2)
        return events.NewBead(
            id=self._id("bead"),
            rig=self.random.choice(sorted(self.loop.state.rigs)),
            content="c1",
            priority=self.random.randrange(4),
            blocked_by=tuple(self.random.sample(known, self.random.randrange(most + 1))),
        )

    def _sling(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            new = self._new()
            self.beads.append(new.id)
            self.loop.accept(events.BeadCreated(bead=new, by="ann"))

    def _convoy(self) -> None:
        beads: list[events.NewBead] = []
        for _ in range(self.random.randrange(1, 5)):
            beads.append(self._new(among=[one.id for one in beads]))
        convoy = self._id("convoy")
        staged = self.random.random() < 0.3  # noqa: PLR2004
        self.loop.accept(
            events.ConvoyCreated(
                convoy=convoy,
                beads=tuple(beads),
                branch=f"convoy/{convoy}/head",
                mode=self.random.choice(["review-then-land", "review-and-merge"]),
                staged=staged,
            )
        )
        if staged and self.random.random() < 0.7:  # noqa: PLR2004
            self.loop.accept(events.ConvoyStarted(convoy))

    def _cancel(self) -> None:
        if self.loop.state.beads:
            one = self.random.choice(sorted(self.loop.state.beads))
            self.loop.accept(events.BeadCancelled(one, self.random.choice(["closed", "failed"])))

    def _hold(self) -> None:
        if self.beads:
            held = self.random.random() < 0.5  # noqa: PLR2004
            self.loop.accept(events.BeadHeld(self.random.choice(self.beads), held))

    def _mail(self) -> None:
        to = self.random.choice([*sorted(self.loop.state.agents), "nobody"])
        self.loop.accept(events.MailSent(message=self._id("mail"), to=to))
        self.loop.accept(events.NudgeSent(nudge=self._id("nudge"), agent=to))

    def _crash(self) -> None:
        self.loop.crash(self.random.choice([0, MINUTE_MS, HOUR_MS, 10 * HOUR_MS]))

    def _jump(self) -> None:
        self.loop.jump(self.random.choice([-HOUR_MS, -SECOND_MS, 5 * SECOND_MS, 6 * HOUR_MS]))

    def _drain(self) -> None:
        loop = self.loop
        if loop.state.town.drain_nonce:
            loop.accept(events.DrainEnded(loop.state.town.drain_nonce))
        else:
            until_ms = loop.now_ms + self.loop.policy.drain_ms
            loop.accept(events.DrainStarted(self._id("drain"), until_ms))

    def _host_lost(self) -> None:
        self.world.kill_all()

    def _configure(self) -> None:
        known = self.loop.state.town.config
        changed = msgspec.structs.replace(
            known, town_agents_max=self.random.choice([1, 5, 50]), attempts_max=3
        )
        self.loop.accept(events.TownConfigured(config=changed, by="ann"))

    def _garbage(self) -> None:
        self.loop.pending.append(
            Pending(id=EventId(self._id("torn")), body=b'{"type":"Nope"', version=1, source="api",
                    accepted_ms=self.loop.now_ms)
        )  # fmt: skip

    def _acknowledge(self) -> None:
        for bead in self._escalations():
            self.loop.accept(events.EscalationAcknowledged(bead, "ann"))

    def _adopt(self) -> None:
        rig = self.random.choice(sorted(self.loop.state.rigs))
        one = self._id("adopted")
        self.loop.accept(
            events.PullRequestAdopted(bead=one, rig=rig, branch="b", pr_url=f"https://forge/{one}")
        )

    def _escalations(self) -> list[str]:
        beads = self.loop.state.beads
        return [one for one in sorted(beads) if beads[one].type == "escalation"]

    # -- what must hold

    def _waits_for(self, bead: str) -> list[str]:
        """Return the rules that hold a bead back, or the words for what goes on with it."""
        loop = self.loop
        plan = reconcile(loop.state, loop.policy, loop.now_ms, 0)
        if any(action.entity == f"b/{bead}" for action in plan.actions):
            return ["it is acted on"]
        held = explain(loop.state, loop.policy, loop.now_ms, f"b/{bead}")
        words = situation(loop.state, bead)
        return [one.rule for one in held] + ([words] if words else [])

    def _explain_all(self) -> None:
        live = self._live()
        for one in self.random.sample(live, min(3, len(live))):
            if not self._waits_for(one):
                self.loop.accuse(f"nothing says why {self.loop.state.beads[one]} waits")
        if self.random.random() < 0.2:  # noqa: PLR2004
            self._count_all()

    def _count_all(self) -> None:
        """Compare what a plan counts with what is said of each bead."""
        loop = self.loop
        plan = reconcile(loop.state, loop.policy, loop.now_ms, 0)
        counted: Counter[tuple[str, str]] = Counter()
        for some in plan.counted:
            counted[some.rule, some.because] += some.entities
        named = {(one.rule, one.because, one.entity) for one in plan.suppressed}
        said: Counter[tuple[str, str]] = Counter()
        for one in self._live():
            for why in explain(loop.state, loop.policy, loop.now_ms, f"b/{one}"):
                if why not in named:
                    said[why.rule, why.because] += 1
        if said != counted:
            loop.accuse(f"counted {counted - said}, said {said - counted}")

    def _live(self) -> list[str]:
        beads = self.loop.state.beads
        return [one for one in sorted(beads) if beads[one].status not in TERMINAL]

    def _calm(self) -> None:
        """End all faults; everything must end, or wait for a reason that is named."""
        loop, world = self.loop, self.world
        loop.crash_rate = 0.0
        world.chances = Chances(pull_requests=world.chances.pull_requests)
        for process in world.processes.values():
            process.ending = "crash" if process.ending == "hang" else process.ending
        town = loop.state.town
        loop.accept(events.DrainEnded(town.drain_nonce))
        config = msgspec.structs.replace(town.config, budget_day=0)
        loop.accept(events.TownConfigured(config=config, by="ann"))
        loop.pass_time(CALM_MS, lambda: not self._unfinished())
        for text in self._unfinished():
            loop.accuse(f"it does not end: {text}")
        if not loop.result.wrong:
            self._quiet()
        loop.result.wrong += [
            f"at the end: {note}" for note in check_all(TOWN, loop.state) if not loop.result.wrong
        ]
        if full_digest(TOWN, loop.state) != loop.folded.digest:
            loop.accuse("the digest that was kept is not that of the state")
        loop.result.wrong += repeat(loop)
        loop.result.wrong += world.wrong
        loop.result.digest = hashlib.sha256(
            b"".join(one.decisions for one in loop.history) + f"{loop.folded.digest}".encode()
        ).hexdigest()
        loop.result.ends.update(bead.status for bead in loop.state.beads.values())

    def _unfinished(self) -> list[str]:
        left = []
        for one in self._live():
            bead = self.loop.state.beads[one]
            if (
                bead.type in {"escalation", "convoy"} and not bead.due_ms
            ) or bead.type == "message":
                continue
            if bead.status == "in_review":
                continue  # its merge request is looked at by itself
            why = self._waits_for(one)
            if bead.type != "escalation" and not NAMED.intersection(why):
                left.append(f"{one} {bead.type} {bead.status}: {why}")
        return left

    def _quiet(self) -> None:
        """Check that a town in which nothing is left to do writes nothing for an hour."""
        loop = self.loop
        if any(self.loop.state.beads[one].due_ms for one in self._live()) or loop.probes:
            return
        before = loop.result.events, len(loop.history)
        start = loop.folded.seq
        loop.pass_time(HOUR_MS)
        if loop.folded.seq != start and not any(
            one.body for record in loop.history[before[1] :] for one in record.rows
        ):
            done = [record.decisions[:200] for record in loop.history[before[1] :]]
            if not all(b"retention" in one for one in done):
                loop.accuse(f"it wrote with nothing to do: {done[:3]}")


def run_seed(seed: int) -> Result:
    """Run one seed; what it raises is what it found."""
    life = Life(seed)
    try:
        return life.run()
    except Exception as error:  # noqa: BLE001  the seed has found something
        life.loop.accuse(f"{type(error).__name__}: {error}")
        return life.loop.result
