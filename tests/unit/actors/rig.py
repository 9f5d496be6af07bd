"""The engine over a memory journal in virtual time, with a grid whose answers a test writes."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

from holdfast.actors.definition import Definition, EffectCall
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind, make_kinds
from holdfast.actors.limiter import Limiter
from holdfast.actors.limits import RESIDENT_MAX
from holdfast.actors.ports import Answer, Arrival, Journal, Logged
from holdfast.actors.probing import Lookout, ProbeCall
from holdfast.kernel import metrics
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, address
from holdfast.kernel.metrics import TotalMeter
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.plane.wiring.engine import make_engine
from holdfast.sim.loop import SimClock, run
from holdfast.stores.memory.journal import MemoryJournal, MemoryReader, MemoryStore
from tests.support.logs import Lines
from tests.support.toys.lamp import LAMP, Event, Lamp, Policy, encode_event

T = TypeVar("T")


class Figures:
    """A meter that keeps its figures."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.names: dict[str, set[tuple[str, ...]]] = defaultdict(set)

    def count(self, metric: metrics.Counter, by: float = 1, **labels: str) -> None:
        self.counts[metric.name] += int(by)
        self.names[metric.name].add(tuple(sorted(labels)))

    def gauge(self, metric: metrics.Gauge, value: float, **labels: str) -> None:
        self.names[metric.name].add(tuple(sorted(labels)))

    def observe(self, metric: metrics.Histogram, value: float, **labels: str) -> None:
        self.names[metric.name].add(tuple(sorted(labels)))


Answerer = Callable[[EffectCall], Awaitable[Outcome[Any]]]


class Grid:
    """The executor of lamps. `answers` is looked up per bulb; others are lit at once."""

    def __init__(self) -> None:
        self.calls: list[EffectCall] = []
        self.running = 0
        self.most = 0
        self.answers: dict[str, Answerer] = {}
        self.default: Answerer | None = None
        self.looks: list[ProbeCall] = []
        self.seen: Outcome[Any] = Ok("humming")

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        self.calls.append(call)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = self.answers.get(call.lane.removeprefix("bulb/"), self.default)
            return Ok(None) if answer is None else await answer(call)
        finally:
            self.running -= 1

    async def look(self, call: ProbeCall) -> Outcome[Any]:
        self.looks.append(call)
        return self.seen

    def lit(self) -> list[str]:
        return [call.lane.removeprefix("bulb/") for call in self.calls]


def lamp(name: str) -> Address:
    return address("lamp", name)


class Rig:
    """One plane over a store; `crash` drops all but the store, `again` is the next plane."""

    def __init__(
        self,
        clock: Clock,
        store: MemoryStore | None = None,
        *,
        policy: Policy | None = None,
        definition: Definition[Any, Any, Any, Any] = LAMP,
        gate: Callable[[Clock], Limiter] | None = None,
        timeout_ms: int = 60_000,
        settling: frozenset[str] = frozenset(),
        wrap: Callable[[Journal], Journal] | None = None,
        resident_max: int = RESIDENT_MAX,
        instruments: Callable[[Rig], tuple[Any, Any]] | None = None,
    ) -> None:
        self.clock = clock
        self.store = store if store is not None else MemoryStore()
        self.raw = MemoryJournal(self.store, clock=clock)
        self.journal: Journal = self.raw if wrap is None else wrap(self.raw)
        self.reader = MemoryReader(self.store)
        self.log, self.meter, self.grid = Lines(), Figures(), Grid()
        log, meter = (self.log, self.meter) if instruments is None else instruments(self)
        self.total = TotalMeter(meter)
        self.kind: Kind = make_kind(definition, policy or Policy())
        made_gate = gate(clock) if gate is not None else Limiter(clock, rate_per_s=1e6)
        self.engine = make_engine(
            self.journal,
            make_kinds(self.kind),
            holder="rig",
            clock=clock,
            log=log,
            meter=self.total,
            providers={
                "grid": Provider(
                    execute=self.grid.execute,
                    gate=made_gate,
                    timeout_ms=timeout_ms,
                    settling=settling,
                )
            },
            lookouts={"grid": Lookout(look=self.grid.look, gate=made_gate)},
            code="test",
        )
        self.engine.owner._cache._most = resident_max
        self.asked = 0

    async def __aenter__(self) -> Self:
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop()

    async def ask(self, name: str, event: Event, *, wait_ms: int = 2_000, key: str = "") -> Answer:
        self.asked += 1
        key = key or f"{self.engine.lease.epoch}:{self.asked}"
        return await self.engine.mailbox.ask(lamp(name), arrive(event, key), wait_ms=wait_ms)

    async def say(self, name: str, *events: Event) -> list[str]:
        """Send events one after the other and return the outcomes."""
        outcomes: list[str] = []
        for event in events:
            answer = await self.ask(name, event)
            assert answer.stamp is not None, f"{event} was not stamped"
            outcomes.append(answer.stamp.outcome)
        return outcomes

    def log_of(self, actor: Address, *, limit: int = 1_000) -> list[Logged]:
        """Look into the store, from within a condition that cannot await."""
        return self.store.log.get(actor, [])[:limit]

    def ticks_of(self, actor: Address) -> list[bytes]:
        """Return the tick records that are kept, from within a condition that cannot await."""
        ended = self.store.ticks.get(actor, {}).values()
        return [tick.record for tick in ended if tick.record is not None]

    async def state(self, name: str) -> Lamp:
        folded = await self.engine.owner.state(lamp(name))
        assert folded is not None
        assert isinstance(folded.state, Lamp)
        return folded.state


def arrive(event: Event, key: str) -> Arrival:
    return Arrival(
        body=encode_event(event), dedupe=key, version=LAMP.version, source="api", by="test"
    )


async def until(
    condition: Callable[[], bool], *, within_s: float = 120.0, step_s: float = 0.01
) -> None:
    """Let virtual time pass, a step at a time, until something holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  virtual time passes only during a sleep
            await asyncio.sleep(step_s)


def play(main: Callable[[SimClock], Coroutine[Any, Any, T]], *, seed: int = 1) -> T:
    """Run a scenario in virtual time."""
    return run(seed, lambda _loop, clock: main(clock))
