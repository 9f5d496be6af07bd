"""The tick of a large town: `python -m tests.bench towns`.

Ticks of a town of 10,000 live beads and 200 agents with 100 pending events, converged ticks, a dry
run of 1,000 pending events of which one is malformed, and the replay of a day from its snapshots.
Times are of the processor as well as of the wall: on a shared machine the wall tells of others.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from holdfast.actors.kinds import make_kind
from holdfast.actors.ports import Pending
from holdfast.actors.rehearse import dry_run
from holdfast.actors.tick import Folded, full_digest, tick
from holdfast.kernel.ids import EventId, address
from holdfast.sim.towns import decisions_of
from holdfast.towns import events
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.draft import build
from holdfast.towns.policy import Policy
from holdfast.towns.state import Agent, Bead, Config, NewBead, Rig, State, Town, found
from tests.bench.figures import parser, percentiles, tell

RIGS: Final = 10
NOW_MS: Final = 1_700_000_000_000
STEP_MS: Final = 5_000
POLICY: Final = Policy()


def make_town(beads: int, agents: int) -> Folded[State]:
    """Return a town with its agents at work, and the rest of its beads ready or waiting."""
    chance = Random(1)
    config = Config(town_agents_max=agents + RIGS)
    town = Town(id="big", account="acme", name="big", created_ms=NOW_MS, config=config)
    made: list[Any] = [Rig(id=f"r{number}", gates=("test",)) for number in range(RIGS)]
    made += [
        Agent(id=f"a{number:04}", role="polecat", rig=f"r{number % RIGS}", name=f"Polecat-{number}")
        for number in range(agents)
    ]
    made += [Agent(id=f"refinery-r{one}", role="refinery", rig=f"r{one}") for one in range(RIGS)]
    for number in range(beads):
        blocker = f"b{chance.randrange(number):05}" if number and chance.random() < 0.3 else ""
        made.append(
            Bead(
                id=f"b{number:05}",
                type="issue",
                rig=f"r{chance.randrange(RIGS)}",
                priority=chance.randrange(4),
                content=f"{chance.getrandbits(128):032x}",
                blocked_by=(blocker,) if blocker else (),
                blockers=int(bool(blocker)),
                created_ms=NOW_MS + number,
                updated_ms=NOW_MS + number,
            )
        )
    state = build(town, made)
    where = address(KIND, "big")
    folded = Folded(address=where, state=state, digest=full_digest(TOWN, state))
    return settle(folded, NOW_MS)


def settle(folded: Folded[State], now_ms: int) -> Folded[State]:
    """Tick without events until nothing is left to do."""
    while True:
        result = tick(TOWN, POLICY, folded, (), now_ms, folded.number + 1)
        if result.silent:
            return folded
        folded = result.after
        if result.deadline_ms != now_ms:
            return folded


def pending(state: State, chance: Random, count: int, serial: int) -> list[Pending]:
    """Return a plausible mix: agents that finish or fail, gates, landings, and arrivals."""
    made: list[events.Event] = []
    working = [state.agents[one] for one in sorted(found(state, "busy"))]
    chance.shuffle(working)
    for agent in working[: count // 2]:
        said = {"agent": agent.id, "attempt": agent.attempt}
        if chance.random() < 0.9:
            made.append(events.AgentDone(**said, branch=f"bead/{agent.hook}", commit="c"))
        else:
            made.append(events.AgentExited(**said, status="failed"))
    for number in range(RIGS):
        for one in sorted(found(state, "gating", f"r{number}")):
            review = state.beads[one].review
            assert review is not None
            made.append(events.GatesFinished(mr=one, call=review.call, commit="c"))
        for one in sorted(found(state, "landing", f"r{number}")):
            review = state.beads[one].review
            assert review is not None
            made.append(events.Landed(mr=one, call=review.call, commit="c"))
    while len(made) < count:
        new = NewBead(id=f"n{serial}-{len(made)}", rig=f"r{chance.randrange(RIGS)}")
        made.append(events.BeadCreated(bead=new, by="bench"))
    return [
        Pending(
            id=EventId(f"e{serial}-{place}"),
            body=events.encode_event(event),
            version=TOWN.version,
            source="api",
            accepted_ms=0,
        )
        for place, event in enumerate(made[:count])
    ]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what work returns, with milliseconds of the wall and of the processor."""
    wall, own = time.perf_counter(), time.process_time()
    value = work()
    return value, (time.perf_counter() - wall) * 1e3, (time.process_time() - own) * 1e3


def measure_ticks(ticks: int) -> dict[str, Any]:
    """Measure ticks of 100 events, and converged ones."""
    folded, chance, now_ms = make_town(10_000, 200), Random(7), NOW_MS
    gc.collect()
    gc.freeze()
    busy, own, decided, idle = [], [], 0, []
    for serial in range(ticks):
        now_ms += STEP_MS
        rows = pending(folded.state, chance, 100, serial)
        number = folded.number + 1
        made = partial(tick, TOWN, POLICY, folded, rows, now_ms, number)
        result, wall_ms, own_ms = timed(made)
        assert not result.notes, result.notes[:3]
        busy.append(wall_ms)
        own.append(own_ms)
        decided += len(result.decisions)
        folded = settle(result.after, now_ms)
    for _ in range(200):
        made = partial(tick, TOWN, POLICY, folded, (), now_ms, 1)
        result, _wall_ms, own_ms = timed(made)
        assert result.silent
        idle.append(own_ms)
    gc.unfreeze()
    return {
        "beads": len(folded.state.beads),
        "decisions per tick": round(decided / ticks, 1),
        "tick of 100 events, processor ms": percentiles(own),
        "tick of 100 events, wall ms": percentiles(busy),
        "converged tick, processor ms": percentiles(idle),
        "converged tick": "0 rows",
    }


def measure_dry_run() -> dict[str, Any]:
    """Measure the dry run of 1,000 pending events, one of them malformed."""
    folded = make_town(10_000, 200)
    rows = pending(folded.state, Random(3), 1_000, 1)
    rows[500] = Pending(
        id=EventId("torn"), body=b"{torn", version=TOWN.version, source="api", accepted_ms=0
    )
    kind = make_kind(TOWN, POLICY)
    now_ms = NOW_MS + STEP_MS
    own = []
    for _ in range(10):
        ahead, _wall_ms, own_ms = timed(
            partial(dry_run, kind, folded, rows, now_ms=now_ms, until="drained")
        )
        taken = [one for step in ahead.steps for one in step.inputs]
        assert len(taken) == len(rows)
        assert sum(one.outcome == "quarantined" for one in taken) == 1
        own.append(own_ms)
    return {"dry run of 1,000 pending, processor ms": percentiles(own)}


def measure_replay(wanted: int) -> dict[str, Any]:
    """Make a day of events, then make it again from its first snapshot."""
    first = make_town(2_000, 200)
    folded, chance, now_ms = first, Random(9), NOW_MS
    kept: list[tuple[list[Pending], int, int, bytes, int]] = []
    logged, serial = 0, 0
    while logged < wanted:
        now_ms += STEP_MS
        serial += 1
        rows = pending(folded.state, chance, 64, serial)
        result = tick(TOWN, POLICY, folded, rows, now_ms, folded.number + 1)
        folded = result.after
        kept.append((rows, now_ms, folded.number, decisions_of(result), folded.digest))
        logged += len(result.stamps) + len(result.intents)
    again = first
    body = TOWN.encode_state(first.state)

    def repeat() -> None:
        nonlocal again
        state = TOWN.decode_state(body, TOWN.version)
        again = Folded(address=first.address, state=state, digest=first.digest, number=first.number)
        for rows, at_ms, number, decisions, digest in kept:
            made = tick(TOWN, POLICY, again, rows, at_ms, number)
            assert made.after.digest == digest
            assert decisions_of(made) == decisions
            again = made.after

    _, wall_ms, own_ms = timed(repeat)
    return {
        "replay, events of the log": logged,
        "replay, ticks": len(kept),
        "replay, processor s": round(own_ms / 1e3, 2),
        "replay, wall s": round(wall_ms / 1e3, 2),
        "replay, digest equal": again.digest == folded.digest,
    }


def main() -> None:
    """Measure all of it; fail when a figure is missed in time of the processor."""
    options = parser(__doc__)
    options.add_argument("--ticks", type=int, default=300)
    options.add_argument("--events", type=int, default=100_000)
    asked = options.parse_args()
    figures = measure_ticks(asked.ticks) | measure_dry_run()
    if asked.events:
        figures |= measure_replay(asked.events)
    tell("towns", figures, as_json=asked.json)
    if figures["tick of 100 events, processor ms"]["p99"] > 10:
        sys.exit(1)


if __name__ == "__main__":
    main()
