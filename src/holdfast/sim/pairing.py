"""Pairing under every order of events: the plane's own code against one model machine.

The tick, the calls to machines, the inbox and the views are the plane's; the machine, its
controller and its command line are a model with a store, a cache that may be old, answers that get
lost, routes that come and go, and stores that are set back. A seed decides everything. Checks: a
request whose decision is done must never be shown again, an undecided one must be shown in the end,
and a machine must execute at most one approval of a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from holdfast.actors.definition import EffectCall
from holdfast.actors.ports import Accepted, Answer, Arrival, Pending
from holdfast.actors.tick import Folded, begin, tick
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import Address, EventId, address
from holdfast.kernel.log import NoLog
from holdfast.kernel.outcome import Ok
from holdfast.pairing import events
from holdfast.pairing.definition import PAIRING, Policy
from holdfast.pairing.effects import MachineClient
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.policy import Rule
from holdfast.pairing.ports import Place
from holdfast.pairing.requests import Asked, Waiting, marks
from holdfast.pairing.state import OPEN, Pairing, Verb, decided
from holdfast.pairing.visibility import Shown, forget_at, shown
from holdfast.sim.pairing_machine import Machine, ModelCloud, Row, World, uuid_of

INSTANCE: Final = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
STEPS: Final = 28
TICKS_MAX: Final = 64
SPINS: Final = 7
_CALM_ROUNDS: Final = 40
_OLD_PAGE: Final = 0.3


@dataclass
class Trace:
    """What one interleaving did and found."""

    seed: int
    steps: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    looks: int = 0
    done: int = 0


class Plane:
    """The pairing of one instance in a plane that may die: only what is committed survives."""

    def __init__(self, clock: ManualClock, machine: Machine) -> None:
        self.clock = clock
        self.machine = machine
        self.place = Place(
            instance=INSTANCE, name="alpha", account="acme", running=True, provider="there",
            machine_id="m1", epoch=1, config_version=1,
        )  # fmt: skip
        self.folded: Folded[Pairing] = begin(PAIRING, address("pairing", INSTANCE))
        self.effects: list[EffectCall] = []
        self.seen: set[str] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ended: list[asyncio.Task[Any]] = []
        self._count = 0
        self.wake()

    def wake(self) -> None:
        """Start with only what was committed."""
        self.lane = asyncio.Lock()
        self.talk = MachineClient(
            self,
            self.machine,
            {"there": ModelCloud(self.machine)},  # type: ignore[dict-item]
            log=NoLog(),
        )
        self.inbox = Inbox(
            self.talk, self, self, clock=self.clock, publish=lambda *_: None, log=NoLog()
        )
        for call in list(self.effects):
            self._carry_out(call._replace(attempt=call.attempt + 1))
        self.run()

    def die(self) -> None:
        """Die without a shutdown."""
        for task in self.tasks:
            task.cancel()
        self.ended += [*self.tasks, *self.inbox.halt()]
        self.tasks.clear()

    # -- as `Places` and `Mailboxes`

    def of(self, instance: str) -> Place | None:
        """Return the committed place."""
        del instance
        return self.place

    def pairing(self, instance: str) -> Pairing:
        """Return the committed state."""
        del instance
        return self.folded.state

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        """Do nothing: people's decisions are accepted directly here."""
        raise NotImplementedError(f"{actor}: {arrival.dedupe}, {wait_ms}")

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Accept events of rules, each dedupe key once."""
        for _, arrival in arrivals:
            if arrival.dedupe not in self.seen:
                self.seen.add(arrival.dedupe)
                self.accept(arrival.body)
        return []

    # -- a minimal engine

    def accept(self, body: bytes) -> str:
        """Accept one event; return its outcome."""
        self._count += 1
        row = Pending(
            id=EventId(f"e{self._count}"), body=body, version=PAIRING.version, source="api",
            accepted_ms=self.clock.now_ms(),
        )  # fmt: skip
        outcome = self._tick((row,))
        self.run()
        return outcome

    def run(self) -> None:
        """Tick for as long as something is due."""
        for _ in range(TICKS_MAX):
            due = self.folded.alarm_ms
            if due is None or due > self.clock.now_ms():
                return
            self._tick(())
        raise AssertionError("the pairing does not come to rest")

    def _tick(self, pending: tuple[Pending, ...]) -> str:
        result = tick(
            PAIRING, Policy(), self.folded, pending, self.clock.now_ms(), self.folded.number + 1
        )
        assert not result.notes, result.notes
        self.folded = result.after
        for call in result.calls:
            self.effects.append(call.call)
            self._carry_out(call.call)
        self.inbox.row_changed(INSTANCE)
        return result.stamps[0].outcome if result.stamps else ""

    def _carry_out(self, call: EffectCall) -> None:
        task = asyncio.get_running_loop().create_task(self._effect(call, self.lane))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _effect(self, call: EffectCall, lane: asyncio.Lock) -> None:
        async with lane:  # all calls of a pairing are of one lane
            await self._one_effect(call)

    async def _one_effect(self, call: EffectCall) -> None:
        if not PAIRING.wanted(self.folded.state, call, self.clock.now_ms()):
            self.effects = [one for one in self.effects if one.id != call.id]
            return
        outcome = await self.talk.execute(call)
        self.effects = [one for one in self.effects if one.id != call.id]
        self.accept(PAIRING.encode_event(PAIRING.settle(call, outcome)))


class Interleaving:
    """One seeded order of everything that can happen."""

    def __init__(self, seed: int) -> None:
        """Prepare; `run` needs a loop."""
        self.random = Random(seed)  # noqa: S311  a replay needs the same draws
        self.trace = Trace(seed)
        self.clock = ManualClock()
        self.world = World(self.random)
        self.machine = Machine(self.clock, self.world)
        self.plane = Plane(self.clock, self.machine)
        self.rows: dict[int, Row] = {}
        self.over: set[int] = set()
        self.queries: list[asyncio.Task[Any]] = []
        self.pages: list[Waiting] = []

    async def run(self) -> Trace:
        """Run everything, let it become calm, and check the result."""
        acts: tuple[tuple[Callable[[], Coroutine[Any, Any, None] | None], int], ...] = (
            (self._ask_in, 5), (self._decide, 9), (self._list, 6), (self._forced, 4),
            (self._notice, 2), (self._toggle_routes, 3), (self._downgrade, 2),
            (self._change_machine, 2), (self._restart, 3), (self._go_on, 22), (self._time, 2),
            (self._policy, 1), (self._set_back, 1), (self._forms, 1), (self._late, 3),
        )  # fmt: skip
        names = [act for act, weight in acts for _ in range(weight)]
        for _ in range(STEPS):
            act = self.random.choice(names)
            self.trace.steps.append(act.__name__.strip("_"))
            going = act()
            if going is not None:
                await going
            await self._drain()
        await self._calm()
        self.plane.die()
        for ask in self.queries:
            ask.cancel()
        await asyncio.gather(*self.queries, *self.plane.ended, return_exceptions=True)
        return self.trace

    # -- what can happen

    def _ask_in(self) -> None:
        number = len(self.rows) + 1
        kind = self.random.choice(("channel", "channel", "device"))
        now_ms = self.clock.now_ms()
        row = Row(number, kind, f"s{self.random.randrange(3)}", f"CODE{number:04d}", now_ms)
        self.rows[number] = self.machine.store[number] = row
        self.clock.advance(1)

    def _decide(self) -> None:
        visible = [one.request for one in self.plane.inbox.waiting(self.plane.place)]
        self.pages += visible
        if self.pages and self.random.random() < _OLD_PAGE:
            visible = self.pages  # a page that was left open
        if not visible:
            self._ask_in()
            self._list()
            return
        request = self.random.choice(visible)
        verb: Verb = self.random.choice(("approve", "approve", "dismiss"))
        event = events.PairingDecided(
            account="acme",
            verb=verb,
            asked=request.asked,
            marks=request.marks,
            by="ann",
            forget_ms=forget_at(request, self.clock.now_ms()),
        )
        self.plane.accept(PAIRING.encode_event(event))

    def _list(self) -> None:
        self._begin_list(refresh=False)

    def _forced(self) -> None:
        self._begin_list(refresh=True)

    def _begin_list(self, *, refresh: bool) -> None:
        self.queries.append(asyncio.get_running_loop().create_task(self._ask_list(refresh=refresh)))

    async def _ask_list(self, *, refresh: bool) -> None:
        plane = self.plane
        outcome = await plane.inbox.fetch(plane.place, refresh=refresh)
        if isinstance(outcome, Ok) and plane is self.plane:
            state = plane.pairing(INSTANCE)
            found = shown(outcome.value.listing.requests, state, self.clock.now_ms())
            self._look_at(found, "a list")

    def _notice(self) -> None:
        self.plane.inbox.notice(INSTANCE)

    def _tossed(self) -> bool:
        return self.random.choice((True, False))

    def _toggle_routes(self) -> None:
        self.machine.has_routes = not self.machine.has_routes
        self.machine.announces = self._tossed() or self.machine.has_routes

    def _downgrade(self) -> None:
        self.machine.has_routes = self.machine.announces = self._tossed()
        self.machine.cache = dict(self.machine.snapshot)
        self._moved(epoch=self.plane.place.epoch + 1)

    def _change_machine(self) -> None:
        number = self.plane.place.epoch + 1
        self.machine.cache = {}
        self._moved(epoch=number, machine_id=f"m{number}")

    def _moved(self, **changes: Any) -> None:
        place = self.plane.place
        self.plane.place = msgspec.structs.replace(place, **changes)
        self.plane.inbox.row_changed(INSTANCE)

    def _set_back(self) -> None:
        """Restore an earlier store of the agent: a restored volume, an older release."""
        self.machine.store = dict(self.machine.snapshot)

    def _restart(self) -> None:
        self.plane.die()
        for ask in self.queries:
            ask.cancel()
        self.plane.wake()

    async def _go_on(self) -> None:
        for _ in range(self.random.randrange(1, 16)):
            self.world.let_one_go()
            await _spin(3)

    def _late(self) -> None:
        """Execute orders whose answers were lost."""
        self.machine.go_on_late(self.clock.now_ms())

    def _advance(self, ms: int) -> None:
        """Advance time, and expire what has a limit."""
        self.machine.go_on_late(self.clock.now_ms() + ms)
        self.clock.advance(ms)

    def _time(self) -> None:
        self._advance(self.random.choice((50, 5_000, 130_000, 700_000, 4_000_000)))
        now_ms = self.clock.now_ms()
        store = self.machine.store
        self.machine.store = {n: row for n, row in store.items() if row.ends_ms() >= now_ms}
        self.machine.snapshot = dict(self.machine.store)
        self.plane.run()

    def _policy(self) -> None:
        rule = Rule(id="r1", kind="channel", channel="telegram", sender="s1")
        mode: Any = self.random.choice(("rules", "manual"))
        event = events.PolicySet(account="acme", mode=mode, by="ann", rules=(rule,))
        self.plane.accept(PAIRING.encode_event(event))

    def _forms(self) -> None:
        self.machine.lists_code = not self.machine.lists_code

    # -- checks

    async def _drain(self) -> None:
        """Run everything that can run, then read the inbox."""
        await _spin(SPINS)
        self._note_done()
        self._look_at_failures()
        self._look_at(self.plane.inbox.waiting(self.plane.place), "the inbox")

    def _note_done(self) -> None:
        """Record permanently which requests' decisions were done."""
        for number, row in self.rows.items():
            decision = decided(self.plane.folded.state, self._marks_of(row))
            if decision is not None and decision.status == "done" and number not in self.over:
                self.over.add(number)
                self.trace.done += 1

    def _marks_of(self, row: Row) -> tuple[str, ...]:
        if row.kind == "device":
            return marks(Asked(kind="device", machine_id=uuid_of(row)))
        asked = Asked(
            kind="channel", channel="telegram", code=row.code, machine_id=f"{row.number:032d}",
            sender=row.sender,
        )  # fmt: skip
        return marks(asked, created_ms=row.created_ms)

    def _look_at(self, found: Sequence[Shown], where: str) -> None:
        self.trace.looks += 1
        self._note_done()
        for one in found:
            number = self._identity(one.request)
            if number in self.over:
                self.trace.wrong.append(f"{where} shows request {number} again")

    def _identity(self, request: Waiting) -> int:
        asked = request.asked
        if asked.kind == "device":
            return int(asked.machine_id[-12:])
        if asked.code:
            return int(asked.code[4:])
        return int(asked.machine_id)

    async def _calm(self) -> None:
        """Lose nothing more, finish everything, and compare what is shown with the true state."""
        self.world.lossy = False
        self.machine.has_routes = self.machine.announces = self._tossed()
        self.machine.lists_code = True
        for _ in range(_CALM_ROUNDS):
            while self.world.let_one_go():
                await self._drain()
            await self._drain()
            if not (self.plane.effects or self.plane.folded.state.decisions):
                break
            due = self.plane.folded.alarm_ms
            open_ = [d for d in self.plane.folded.state.decisions if d.status in OPEN]
            if not open_ or due is None:
                break
            self._advance(max(0, due - self.clock.now_ms()))
            self.plane.run()
        self._begin_list(refresh=True)
        while not self.queries[-1].done():
            self.world.let_one_go()
            await self._drain()
        self._compare()

    def _compare(self) -> None:
        """Check that every undecided request is shown."""
        now_ms = self.clock.now_ms()
        found = {self._identity(one.request) for one in self.plane.inbox.waiting(self.plane.place)}
        state = self.plane.folded.state
        for number, row in self.machine.store.items():
            decision = decided(state, self._marks_of(row))
            hidden = decision is not None and decision.status in {"done", "doubted"}
            if row.ends_ms() >= now_ms and not hidden and number not in found:
                self.trace.wrong.append(f"request {number} waits and is not shown")
        for number, times in self.machine.approved.items():
            if times > 1 and not self._was_set_back():
                self.trace.wrong.append(f"request {number} was approved {times} times")

    def _look_at_failures(self) -> None:
        """Check that no decision is reported as failed whose order was executed."""
        if self._was_set_back():
            return
        for number, carried_ms in self.machine.carried.items():
            decision = decided(self.plane.folded.state, self._marks_of(self.rows[number]))
            if decision is None or decision.status != "failed" or number in self.over:
                continue
            if decision.at_ms <= carried_ms:  # else an old page concerned an expired request
                self.trace.wrong.append(f"request {number} is called failed and was carried out")

    def _was_set_back(self) -> bool:
        """Return whether a store was set back: what was done may then have to be repeated."""
        return "set_back" in self.trace.steps


async def _spin(count: int) -> None:
    """Let ready tasks run, so many iterations."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(seeds: Sequence[int]) -> list[Trace]:
    """Run one interleaving for each seed, in one loop; the same seed always does the same."""

    async def all_of() -> list[Trace]:
        return [await Interleaving(seed).run() for seed in seeds]

    return asyncio.run(all_of())
