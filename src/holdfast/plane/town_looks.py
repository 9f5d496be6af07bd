"""Handlers about towns that the process of rehearsals answers: how it is, and why a bead waits."""

from __future__ import annotations

from holdfast.actors.ports import Reader
from holdfast.actors.rehearsal_worker import Look, RehearsalWorker, Why
from holdfast.actors.rehearse import Explanation
from holdfast.plane.rehearsals import ask_worker
from holdfast.towns.calls import find_bead, find_town
from holdfast.towns.definition import KIND
from holdfast.towns.glances import STATUS
from holdfast.towns.state import Bead
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.town_work import BeadWhy, Held
from holdfast.wire.limits import PAGE_ITEMS_MAX, REASON_MAX
from holdfast.wire.times import time_text


def town_look_handlers(worker: RehearsalWorker, reader: Reader) -> dict[str, Handler]:
    """Return the handlers, by endpoint."""

    async def status(call: Call) -> Reply:
        town = await find_town(call, reader)
        asked = Look(actor=f"{KIND}/{town.id}", now_ms=call.now_ms, view=STATUS)
        return Reply(await ask_worker(worker.look(asked)))

    async def why(call: Call) -> Reply:
        town = await find_town(call, reader)
        bead = await find_bead(reader, town, call.path["bead"], field="bead")
        asked = Why(actor=f"{KIND}/{town.id}", now_ms=call.now_ms, entity=f"b/{bead.id}")
        return Reply(bead_why(bead, await ask_worker(worker.explain(asked))))

    return {"towns.status": status, "towns.why": why}


def bead_why(bead: Bead, found: Explanation) -> BeadWhy:
    """Return why a bead waits, for the API."""
    waits = [Held(rule=one.rule, reason=one.because[:REASON_MAX]) for one in found.suppressed]
    done = [
        Held(rule=one.rule, reason=f"{one.name}: {one.reason}"[:REASON_MAX])
        for one in found.actions
    ]
    return BeadWhy(
        id=bead.id,
        status=bead.status,
        waits=tuple(waits[:PAGE_ITEMS_MAX]),
        next=tuple(done[:PAGE_ITEMS_MAX]),
        violations=tuple(
            f"invariant {note.number}: {note.text}"[:REASON_MAX] for note in found.violations
        )[:PAGE_ITEMS_MAX],
        next_tick_at=None if found.deadline_ms is None else time_text(found.deadline_ms),
    )
