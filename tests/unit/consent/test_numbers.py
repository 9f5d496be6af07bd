"""Numbers that nodes report: each is an event once, and a false one silences no later report."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

from holdfast.actors.ports import Arrival
from holdfast.consent import events
from holdfast.consent.handlers import Nodes
from holdfast.consent.index import NodeIndex
from holdfast.kernel.ids import Address
from holdfast.plane.wiring.core import SystemChance
from tests.unit.consent.rig import NODE, Driver, grant, registered

FAR = 2**53 - 1


class Told:
    """A mailbox that hands each event to the node at once, and counts what it was told."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.numbers: list[int] = []
        self.index = NodeIndex(self.driver.clock)
        self.nodes = Nodes(self, self.index, SystemChance(), run)  # type: ignore[arg-type]

    async def tell(self, rows: Sequence[tuple[Address, Arrival]]) -> None:
        for _actor, row in rows:
            event = events.decode_event(row.body, row.version)
            assert isinstance(event, events.NumberSeen)
            self.numbers.append(event.number)
            self.ok(event)

    def ok(self, event: events.Event) -> None:
        self.driver.ok(event)
        committed: Any = SimpleNamespace(
            tick=SimpleNamespace(views=tuple(self.driver.rows.values())), commit=object()
        )
        self.index.on_commit(committed)

    def seen(self, number: int) -> None:
        self.nodes.numbers_seen(NODE, number)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def ready() -> Told:
    told = Told()
    told.seen(7)
    assert told.numbers == [], "an unknown node"
    told.ok(registered())
    told.ok(grant("logs"))
    return told


def test_a_number_of_this_plane_is_no_event_and_one_above_is_one_event() -> None:
    told = ready()
    told.seen(told.driver.state.number)
    assert told.numbers == []
    for _ in range(3):
        told.seen(9)
    assert told.numbers == [9]
    for _ in range(3):
        told.seen(FAR)
    assert told.numbers == [9, FAR]


def test_a_false_number_silences_no_honest_report_after_it() -> None:
    told = ready()
    told.seen(FAR)
    told.ok(grant("logs"))
    assert told.driver.in_force() == ("logs",)
    honest = told.driver.state.number + 5
    assert honest < FAR
    told.seen(honest)
    assert told.numbers == [FAR, honest]
    assert told.driver.in_force() == ()
