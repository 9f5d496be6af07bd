"""What the engine does a second: `python tests/bench/bench_engine.py [--json]`.

Ticks over SQLite are durable (synchronous=FULL), with record, view and alarm. Folding, replay and
dry run are measured over the real rules of an instance, in memory. All figures are of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from holdfast.actors.commit import compose, fold_rows
from holdfast.actors.definition import EffectCall
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import Arrival, Logged, Pending
from holdfast.actors.probing import Lookout, ProbeCall
from holdfast.actors.record import decode_record
from holdfast.actors.rehearse import History, Replay, dry_run, replay
from holdfast.actors.tick import Folded, begin, tick
from holdfast.instances import events
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import Policy
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.monitoring.logs import set_up
from holdfast.monitoring.prometheus_exporter import Metrics
from holdfast.plane.wiring.engine import make_engine
from holdfast.stores.sqlite.journal import SqliteJournal

NOW = 1_760_000_000_000
KIND = make_kind(INSTANCE, Policy())


def restless(_state: Any, _policy: Any, now_ms: int) -> int:
    """Return another deadline each time, so that every commit writes its alarm."""
    return now_ms + 600_000


def created(n: int) -> events.Event:
    """Return the birth of an instance that wants to stay as it is."""
    return events.InstanceCreated(
        account="acme",
        name=f"bench-{n}",
        sandbox_id=f"s{n}",
        agent="demo",
        provider="none",
        desired="stopped",
        key_hash="0" * 64,
        sealed_key="enc:v1:AAAA",
    )


def variable(n: int) -> events.Event:
    """Return a change of configuration, which always applies and changes the view."""
    return events.ConfigChanged(env={"ROUND": str(n)})


def arrival(event: events.Event, key: str) -> Arrival:
    """Return an event ready to be accepted."""
    body = events.encode_event(event)
    return Arrival(body=body, dedupe=key, version=events.EVENT_VERSION, source="engine")


async def unasked(_call: EffectCall | ProbeCall) -> Outcome[Any]:
    """Carry out every effect at once."""
    return Ok(None)


async def ticks_over_sqlite(actors: int, rounds: int) -> dict[str, float]:
    """Accept, tick and commit one event at a time for many actors side by side.

    Each commit writes stamp, state, record, view and alarm; figures are counted and lines filtered
    as in the plane.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        journal = SqliteJournal(Path(folder) / "journal.db", clock=clock)
        kind = make_kind(replace(INSTANCE, deadline=restless), Policy())
        gate = Limiter(clock, concurrency=64, rate_per_s=1e6)
        engine = make_engine(
            journal,
            {"instance": kind},
            holder="bench",
            clock=clock,
            log=set_up(stream=io.StringIO()),
            meter=Metrics(),
            providers={"none": Provider(execute=unasked, gate=gate)},
            lookouts={"none": Lookout(look=unasked, gate=gate)},
            code="bench",
        )
        await engine.start()
        where = [address("instance", f"i{n}") for n in range(actors)]
        times: list[float] = []

        async def drive(n: int) -> None:
            for turn in range(rounds):
                event = variable(turn) if turn else created(n)
                start = time.perf_counter()
                asked = arrival(event, f"t{turn}")
                answer = await engine.mailbox.ask(where[n], asked, wait_ms=20_000)
                times.append(time.perf_counter() - start)
                assert answer.stamp is not None
                assert answer.stamp.outcome == "applied", answer

        start = time.perf_counter()
        await asyncio.gather(*(drive(n) for n in range(actors)))
        took = time.perf_counter() - start
        await engine.stop()
        await journal.close()
    ordered = sorted(times)
    return {
        "per_s": round(len(times) / took),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 2),
    }


def life(length: int) -> list[events.Event]:
    """Return what happens to an instance that is started and stopped again and again."""
    scenario: list[events.Event] = [created(0)]
    wishes = (events.StartRequested("bench"), variable(1), events.StopRequested("bench"))
    while len(scenario) < length:
        scenario.append(wishes[len(scenario) % 3])
    return scenario


def history(
    kind: Kind, scenario: Sequence[events.Event], per_tick: int
) -> tuple[list[History], Folded[Any]]:
    """Tick through a history as the owner does; return the history and the state."""
    folded: Folded[Any] = begin(kind.definition, address("instance", "i0"))
    past: list[History] = []
    for at in range(0, len(scenario), per_tick):
        rows = [row(event, at + n) for n, event in enumerate(scenario[at : at + per_tick])]
        now_ms = NOW + at * 1_000
        result = tick(kind.definition, kind.policy, folded, rows, now_ms, folded.number + 1)
        folded = result.after
        commit = compose(kind, result, lease_epoch=1, code="bench", letters=(), state=None)
        bodies = {one.id: one for one in rows}
        logged = [
            Logged(
                id=stamp.id,
                seq=stamp.seq,
                tick=stamp.tick,
                at_ms=stamp.at_ms,
                outcome=stamp.outcome,
                body=bodies[stamp.id].body,
                version=bodies[stamp.id].version,
                source="api",
            )
            for stamp in commit.stamps
        ]
        assert commit.record is not None
        past.append(History(decode_record(commit.record), [*logged, *commit.intents]))
    return past, folded


def row(event: events.Event, n: int) -> Pending:
    """Return an accepted event."""
    return Pending(
        id=EventId(f"e{n:08}"),
        body=events.encode_event(event),
        version=events.EVENT_VERSION,
        source="api",
        accepted_ms=NOW,
    )


def fold_rate(length: int) -> dict[str, float]:
    """Fold the log of one instance."""
    past, folded = history(KIND, life(length), 64)
    rows = [one for span in past for one in span.rows]
    start = time.perf_counter()
    state, notes = fold_rows(INSTANCE, INSTANCE.empty("i0"), rows)
    took = time.perf_counter() - start
    assert not notes
    assert state == folded.state
    return {"per_s": round(len(rows) / took), "events": len(rows)}


async def _replay(start: Folded[Any], past: Sequence[History]) -> Replay:
    async def spans() -> AsyncIterator[History]:
        for span in past:
            yield span

    async def policy_of(_hash: str) -> Any:
        return KIND.policy

    return await replay(KIND, start, spans(), policy_of=policy_of)


def replay_rate(length: int, per_tick: int) -> dict[str, float]:
    """Decide every tick of one instance's past again and compare it."""
    past, folded = history(KIND, life(length), per_tick)
    start = time.perf_counter()
    answer = asyncio.run(_replay(begin(INSTANCE, folded.address), past))
    took = time.perf_counter() - start
    assert answer.match, answer
    assert answer.bit_equal
    return {
        "per_s": round(answer.events / took),
        "ticks_per_s": round(answer.ticks / took),
        "events": answer.events,
        "ticks": answer.ticks,
    }


def dry_run_ms() -> dict[str, float]:
    """Preview the next tick of an instance for which 1,000 events wait."""
    _, folded = history(KIND, life(100), 10)
    waiting = [row(event, 10_000 + n) for n, event in enumerate(life(1_000)[1:])]
    times = []
    for _ in range(50):
        start = time.perf_counter()
        answer = dry_run(KIND, folded, waiting, now_ms=NOW + 10_000_000)
        times.append((time.perf_counter() - start) * 1e3)
        assert len(answer.steps[0].inputs) == 64
    ordered = sorted(times)
    return {"p50_ms": round(ordered[25], 3), "max_ms": round(ordered[-1], 3)}


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--scale", type=float, default=1.0, help="how much work, 1 by default")
    asked = parser.parse_args()
    gc.set_threshold(50_000, 20, 100)  # as the plane and its rehearsal process do
    figures = {
        "accepted, ticked, committed": uvloop.run(ticks_over_sqlite(256, int(80 * asked.scale))),
        "fold": fold_rate(int(60_000 * asked.scale)),
        "replay, 1 event a tick": replay_rate(int(6_000 * asked.scale), 1),
        "replay, 8 events a tick": replay_rate(int(12_000 * asked.scale), 8),
        "dry run of 64 among 1,000": dry_run_ms(),
    }
    if asked.json:
        print(json.dumps(figures))  # noqa: T201
        return
    for name, figure in figures.items():
        print(f"{name:32}", figure)  # noqa: T201


if __name__ == "__main__":
    main()
