"""1,000 towns of 100 beads on one engine over SQLite, a tenth of them at work.

In each active town four polecats finish a bead every half minute, which goes through gates and
landing. Every active town is looked at each 5 s at a time of its own: measured is by how
much a look is late, and what the process uses of a processor. The outside answers at once.
"""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import EffectCall
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import Arrival
from holdfast.actors.probing import Lookout
from holdfast.kernel.backoff import spread_ms
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import Address, address
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.monitoring.logs import set_up
from holdfast.monitoring.prometheus_exporter import Metrics
from holdfast.plane.serve import GC_THRESHOLD
from holdfast.plane.wiring.engine import Engine, make_engine
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.towns import events, ports
from holdfast.towns.definition import KIND, TOWN, arrival
from holdfast.towns.outgoing import FORGES, GATES, HOSTS, NOTICES
from holdfast.towns.policy import Policy
from holdfast.towns.state import Config, NewBead
from tests.bench.figures import parser, percentiles, tell

BEADS: Final = 100
POLECATS: Final = 4
WORK_S: Final = (20.0, 40.0)
LATE_MS_MAX: Final = 1_000
CORES_MAX: Final = 1.0
SETTLE_S: Final = 10.0
POLICY: Final = Policy()


class Outside:
    """Hosts and forges that answer at once; agents say that they are done after a while."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.chance = Random(3)
        self.told: set[asyncio.Task[Any]] = set()
        self.done = self.landed = 0

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        """Answer."""
        match call.body:
            case ports.StartCall() as body:
                self.told.add(task := asyncio.create_task(self.work(call.actor, body)))
                task.add_done_callback(self.told.discard)
                return Ok(ports.Begun())
            case ports.GatesCall(commit=commit):
                return Ok(ports.GatesRan(commit=commit))
            case ports.LandCall():
                self.landed += 1
                return Ok(ports.Merged("c"))
            case _:
                return Ok(ports.Ended())

    async def look(self, _probe: Any) -> Outcome[Any]:
        """Answer no probe: nothing asks."""
        return Ok(None)

    async def work(self, town: Address, body: ports.StartCall) -> None:
        """Be heard, and be done after a while."""
        said = {"agent": body.agent, "attempt": body.attempt}
        await asyncio.sleep(1)
        await self.tell(town, events.AgentHeard(**said), "heard")
        await asyncio.sleep(self.chance.uniform(*WORK_S))
        done = events.AgentDone(**said, branch=body.branch, commit="c")
        await self.tell(town, done, "done")
        self.done += 1

    async def tell(self, town: Address, event: Any, what: str) -> None:
        """Have one event accepted."""
        assert self.engine is not None
        key = f"{event.attempt}:{what}"
        row: Arrival = arrival(event, dedupe=key, source="contact")
        await self.engine.mailbox.tell([(town, row)])


class Looks:
    """By how much looks at active towns were late: from the time that is theirs to their tick."""

    def __init__(self, clock: SystemClock, engine: Engine, active: set[Address]) -> None:
        self.clock = clock
        self.wake = engine.owner.wake
        self.active = active
        self.due: dict[Address, float] = {}
        self.late: list[float] = []
        self.rows = 0
        self.seen: dict[Address, int] = {}
        engine.cadence._wake = self.look
        engine.owner.listen(self.hear)

    def look(self, actor: Address) -> None:
        """Note whose time has come."""
        if actor in self.active:
            phase_ms = spread_ms(POLICY.active_ms, "cadence", str(actor))
            now_ms = self.clock.steady_ms()
            self.due.setdefault(actor, now_ms - (now_ms - phase_ms) % POLICY.active_ms)
        self.wake(actor)

    def hear(self, committed: CommittedTick) -> None:
        """Take a tick: it is the look that was due."""
        actor = committed.tick.after.address
        self.rows += committed.commit is not None
        if actor in self.due:
            self.late.append(self.clock.steady_ms() - self.due.pop(actor))
            self.seen[actor] = self.seen.get(actor, 0) + 1


def beginning(number: int, *, works: bool) -> list[events.Event]:
    """Return the first events of a town; one that does not work has a convoy that waits."""
    config = Config(polecats_max=POLECATS, code_review=False)
    beads = tuple(NewBead(id=f"b{one}", rig="r") for one in range(BEADS))
    return [
        events.TownCreated(account="acme", name=f"t{number}", by="ann", config=config),
        events.RigAdded(rig="r", name="r", gates=("test",)),
        events.ConvoyCreated(convoy="cv", beads=beads, branch="convoy/x", staged=not works),
    ]


async def run(towns: int, seconds: float) -> dict[str, Any]:
    """Measure for a while."""
    clock, outside = SystemClock(), Outside()
    gate = Limiter(clock, concurrency=64, rate_per_s=1e6)
    provider = Provider(execute=outside.execute, gate=gate)
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db", clock=clock)
        engine = make_engine(
            journal,
            {KIND: make_kind(TOWN, POLICY)},
            holder="bench",
            clock=clock,
            log=set_up(stream=io.StringIO()),
            meter=Metrics(),
            providers=dict.fromkeys((HOSTS, FORGES, GATES, NOTICES), provider),
            lookouts={FORGES: Lookout(look=outside.look, gate=gate)},
            code="bench",
        )
        outside.engine = engine
        await engine.start()
        active = {address(KIND, f"t{number}") for number in range(0, towns, 10)}
        for number in range(towns):
            where = address(KIND, f"t{number}")
            happened = beginning(number, works=where in active)
            await engine.mailbox.tell(
                [
                    (where, arrival(event, dedupe=f"begin{place}", source="api"))
                    for place, event in enumerate(happened)
                ]
            )
        while len(engine.cadence) < towns:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLE_S)
        gc.collect()
        gc.freeze()
        looks = Looks(clock, engine, active)
        done, landed = outside.done, outside.landed
        own, wall = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        own, wall = time.process_time() - own, time.monotonic() - wall
        found = {
            "towns": towns,
            "active": len(active),
            "s": round(wall, 1),
            "beads done, landed": [outside.done - done, outside.landed - landed],
            "ticks that wrote": looks.rows,
            "looks at active towns": len(looks.late),
            "looks at the least looked at": min(looks.seen.get(one, 0) for one in active),
            "late by, ms": percentiles(looks.late),
            "cores": round(own / wall, 2),
        }
        for task in outside.told:
            task.cancel()
        await engine.stop()
        await journal.close()
        gc.unfreeze()
    return found


def main() -> None:
    """Measure; fail when a figure is missed."""
    options = parser(__doc__)
    options.add_argument("--towns", type=int, default=1_000)
    options.add_argument("--seconds", type=float, default=60.0)
    asked = options.parse_args()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    figures = uvloop.run(run(asked.towns, asked.seconds))
    tell("town fleet", figures, as_json=asked.json)
    wanted = int(asked.seconds * 1_000 / POLICY.active_ms) - 1
    if (
        figures["late by, ms"]["max"] > LATE_MS_MAX
        or figures["cores"] > CORES_MAX
        or figures["looks at the least looked at"] < wanted
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
