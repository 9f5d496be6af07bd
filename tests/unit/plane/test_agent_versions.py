"""Instances of before get a version and a status, in few reads, and only they."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from holdfast.actors.ports import Arrival, Reader
from holdfast.instances.definition import INSTANCE
from holdfast.instances.events import ConfigChanged
from holdfast.instances.views import DETAIL_VIEW, INSTANCE_VIEW, DetailRow
from holdfast.kernel.ids import Address
from holdfast.plane.wiring.agent_versions import bring_up_to_date, version_uses
from holdfast.wire.health import Health
from tests.support.runnable import Runnable
from tests.unit.web.shapes import view

OLD, NEW = "2026.9.6-node-24", "2026.10.1-node-24"
READY = Health(code="ready", text="its agent runs and is ready")


class Journal:
    """Rows of instances, by view; and what was accepted."""

    def __init__(self, *made: tuple[str, str, str, Health]) -> None:
        self.rows: dict[str, dict[str, bytes]] = {INSTANCE_VIEW: {}, DETAIL_VIEW: {}}
        self.reads = 0
        self.accepted: list[tuple[str, ConfigChanged]] = []
        for key, agent, version, health in sorted(made):
            row = DetailRow(sandbox_id="s", provider="p", agent_version=version)
            shown = view(id=key, agent=agent, health=health)
            self.rows[INSTANCE_VIEW][key] = msgspec.json.encode(shown)
            self.rows[DETAIL_VIEW][key] = msgspec.json.encode(row)

    async def views(
        self, name: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert account is None
        self.reads += 1
        found = [(key, body, 1) for key, body in self.rows[name].items() if key > after]
        return found[:limit]

    async def accept(self, rows: Iterable[tuple[Address, Arrival]]) -> None:
        for actor, row in rows:
            event = INSTANCE.decode_event(row.body, row.version)
            assert isinstance(event, ConfigChanged)
            self.accepted.append((actor.id, event))


async def test_versions_are_counted_in_as_many_reads_as_there_are_pages() -> None:
    journal = Journal(*((f"i{n:04}", "openclaw", OLD, READY) for n in range(2_500)))
    assert await version_uses(cast("Reader", journal)) == {("openclaw", OLD): 2_500}
    assert journal.reads == 8


async def test_one_that_is_made_or_removed_meanwhile_is_not_counted() -> None:
    journal = Journal(("a", "openclaw", OLD, READY), ("b", "openclaw", OLD, READY))
    del journal.rows[DETAIL_VIEW]["a"], journal.rows[INSTANCE_VIEW]["b"]
    assert await version_uses(cast("Reader", journal)) == {}


async def test_only_instances_of_before_are_given_what_they_lack() -> None:
    journal = Journal(
        ("kept", "openclaw", OLD, READY),
        ("unkept", "openclaw", "", READY),
        ("unstated", "openclaw", OLD, Health()),
        ("bundled", "demo", "", Health()),
        ("new", "demo", "", READY),
    )
    core: Any = SimpleNamespace(stores=SimpleNamespace(reader=journal, journal=journal))
    await bring_up_to_date(core, Runnable({"demo": (), "openclaw": (OLD, NEW)}))
    assert dict(journal.accepted) == {
        "bundled": ConfigChanged(),
        "unkept": ConfigChanged(agent_version=NEW),
        "unstated": ConfigChanged(),
    }
