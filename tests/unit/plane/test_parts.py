"""Parts are folded into one process: a clash, a gap or a letter without receiver is found."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import ViewRow
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import load_kinds, make_kind, make_kinds, recipes
from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import EventOutcome, Stamp
from holdfast.actors.probing import Lookout
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import Policy
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import EventId
from holdfast.plane.wiring.consent import node_kind
from holdfast.plane.wiring.engine import make_engine
from holdfast.plane.wiring.instances import instance_kind
from holdfast.plane.wiring.pairing import pairing_kind
from holdfast.plane.wiring.part import (
    Part,
    Tables,
    Tasks,
    WiringError,
    bind,
    check_routes,
    every,
    join,
    publish_views,
)
from holdfast.plane.wiring.towns import town_kind
from holdfast.sim.loop import SimClock, SimLoop, run
from holdfast.stores.memory.journal import MemoryJournal, MemoryStore
from holdfast.towns.policy import Policy as TownPolicy
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.api.table import ENDPOINTS
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.toys.lamp import LAMP, BulbAdded, Made, SwitchedOn
from tests.support.toys.lamp import Policy as LampPolicy
from tests.unit.actors.rig import Figures, Grid, arrive, lamp
from tests.unit.instances.driver import Driver

ROWS = tuple(row for row in ENDPOINTS if row.name in {"plane.health", "plane.metrics"})


async def answer(_call: Call) -> Reply:
    return Reply(None)


async def outside(_call: Any) -> Any:
    raise NotImplementedError


def provider() -> Provider:
    return Provider(execute=outside, gate=Limiter(ManualClock()))


def lookout() -> Lookout:
    return Lookout(look=outside, gate=Limiter(ManualClock()))


class NobodyListens:
    """The owner of `join`, where only what is given to the engine matters."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []

    def listen(self, listener: Any) -> None:
        self.listeners.append(listener)


def joined(*parts: Part) -> Tables:
    tables = Tables()
    join(parts, tables, NobodyListens(), lambda *_: None)  # type: ignore[arg-type]
    return tables


def test_what_parts_give_is_put_together() -> None:
    tables = joined(
        Part(name="one", kinds=(pairing_kind(),), providers={"a": provider()}),
        Part(name="two", providers={"b": provider()}, lookouts={"a": lookout()}),
    )
    assert (set(tables.kinds), set(tables.providers), set(tables.lookouts)) == (
        {"pairing"}, {"a", "b"}, {"a"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"kinds": (pairing_kind(),)}, "kind 'pairing'"),
        ({"providers": {"a": provider()}}, "provider 'a'"),
        ({"lookouts": {"a": lookout()}}, "lookout 'a'"),
        ({"topics": {"row": "instance"}}, "view 'row'"),
    ],
)
def test_two_parts_that_give_the_same_are_both_named(given: dict[str, Any], what: str) -> None:
    with pytest.raises(WiringError, match=f"{what}: given by part 'one' and by part 'two'"):
        joined(Part(name="one", **given), Part(name="two", **given))


def test_each_row_is_answered_by_exactly_one_part() -> None:
    health, metrics = {"plane.health": answer}, {"plane.metrics": answer}
    bound = bind((Part(name="one", handlers=health), Part(name="two", handlers=metrics)), ROWS)
    assert bound == health | metrics
    with pytest.raises(WiringError, match=re.escape("no part answers: ['plane.metrics']")):
        bind((Part(name="one", handlers=health),), ROWS)
    with pytest.raises(WiringError, match=re.escape("have no row: ['plane.halth']")):
        bind((Part(name="one", handlers=health | metrics | {"plane.halth": answer}),), ROWS)
    twice = (Part(name="one", handlers=health), Part(name="two", handlers=health))
    with pytest.raises(WiringError, match=r"'plane.health': given by part 'one' and by part 'two'"):
        bind(twice, ROWS)


def test_who_is_written_to_must_be_there_and_take_letters() -> None:
    instance, town = instance_kind(Policy()), town_kind(TownPolicy())
    check_routes(make_kinds(instance, pairing_kind(), node_kind(), town))
    check_routes({})
    with pytest.raises(WiringError, match="'instance' writes InstanceDestroyed to 'pairing'"):
        joined(Part(name="instances", kinds=(instance,)))
    deaf = replace(pairing_kind(), definition=replace(pairing_kind().definition, received=None))
    with pytest.raises(WiringError, match="accepts no letters"):
        check_routes(make_kinds(instance, deaf, node_kind(), town))


def test_what_is_given_late_is_found_by_the_engine() -> None:
    """Parts need the engine's mailbox, and the engine the parts: its tables are filled after."""

    async def main(_loop: SimLoop, clock: SimClock) -> None:
        tables, grid = Tables(), Grid()
        engine = make_engine(
            MemoryJournal(MemoryStore(), clock=clock),
            tables.kinds,
            providers=tables.providers,
            lookouts=tables.lookouts,
            clock=clock,
            log=Lines(),
            meter=Figures(),
            holder="test",
            code="test",
        )
        gate = Limiter(clock)
        part = Part(
            name="lamps",
            kinds=(make_kind(LAMP, LampPolicy()),),
            providers={"grid": Provider(execute=grid.execute, gate=gate)},
            lookouts={"grid": Lookout(look=grid.look, gate=gate)},
        )
        published: list[tuple[str, str, str | None]] = []
        join((part,), tables, engine.owner, lambda *change: published.append(change))
        await engine.start()
        for n, event in enumerate((Made("sun"), BulbAdded("a"), SwitchedOn())):
            await engine.mailbox.ask(lamp("hall"), arrive(event, str(n)), wait_ms=2_000)
        async with asyncio.timeout(patience(60)):
            while not grid.lit():  # noqa: ASYNC110  nothing else tells of it
                await asyncio.sleep(0.1)
        await engine.stop()
        assert ("operation", "hall", "acme") in published

    run(0, main)


# -- open pages -----------------------------------------------------------------------------------


def committed(*, commit: bool = True, outcome: EventOutcome = "applied") -> CommittedTick:
    """Return an instance's tick that changed two rows."""
    driver = Driver().running()
    rows = (
        ViewRow("instance", "in-1", "acme", b"{}"),
        ViewRow("machine", "ki_1", "acme", None),
    )
    stamp = Stamp(id=EventId("e"), seq=1, tick=1, at_ms=1, outcome=outcome, code="", message="")
    tick = driver.ticks[-1]
    values = {name: getattr(tick, name) for name in tick.__struct_fields__}
    made: Any = type(tick)(**(values | {"views": rows, "stamps": (stamp,)}))
    told: Any = type("Written", (), {"account": "acme"})() if commit else None
    return CommittedTick(make_kind(INSTANCE, driver.policy), made, told)


def told(what: CommittedTick) -> list[tuple[str, str, str | None]]:
    kept: list[tuple[str, str, str | None]] = []
    publish_views(lambda *change: kept.append(change), {"instance": "instance"})(what)
    return kept


def test_a_commit_names_its_rows_with_a_topic_and_its_actor() -> None:
    where = committed().tick.after.address.id
    assert told(committed()) == [("instance", "in-1", "acme"), ("operation", where, "acme")]
    assert told(committed(outcome="quarantined"))[-1] == ("quarantine", where, "acme")


def test_what_was_not_committed_is_not_published() -> None:
    assert told(committed(commit=False)) == []


# -- tasks ----------------------------------------------------------------------------------------


async def test_a_task_that_ends_with_an_error_is_logged_by_its_name() -> None:
    log = Lines()
    tasks = Tasks(log)

    async def broken() -> None:
        raise RuntimeError("no more")

    tasks.run(broken(), "watch")
    async with asyncio.timeout(patience(20)):
        while not log.named("task.failed"):  # noqa: ASYNC110  nothing else tells of it
            await asyncio.sleep(0)
    assert log.named("task.failed")[0]["task"] == "holdfast-watch"
    await tasks.cancel()


async def test_what_runs_is_ended_and_is_no_error() -> None:
    log = Lines()
    tasks = Tasks(log)
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks.run(forever())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended.is_set()
    assert log.lines == []


def test_a_job_that_fails_is_logged_and_done_again() -> None:
    log, done = Lines(), list[float]()

    async def main(loop: SimLoop, _clock: SimClock) -> None:
        async def job() -> None:
            done.append(loop.time())
            raise OSError("disk")

        repeated = asyncio.ensure_future(every("purge", job, 60.0, log).work())
        await asyncio.sleep(150)
        repeated.cancel()

    run(0, main)
    assert len(done) == 2
    assert [line["job"] for line in log.named("housekeeping.failed")] == ["purge", "purge"]


# -- the rehearsal process ------------------------------------------------------------------------


def test_another_process_makes_the_same_kinds() -> None:
    kinds = make_kinds(instance_kind(Policy(start_timeout_ms=7)), pairing_kind(), node_kind())
    assert load_kinds(recipes(kinds)) == kinds


@pytest.mark.parametrize("found_at", ["", "holdfast.instances.definition:KIND", "no.such:THING"])
def test_a_definition_that_is_not_where_it_says_is_refused(found_at: str) -> None:
    moved = replace(INSTANCE, found_at=found_at)
    with pytest.raises(ValueError, match="definition 'instance': found_at"):
        recipes(make_kinds(make_kind(moved, Policy())))
