"""Handlers about convoys: tasks of a rig that land together."""

from __future__ import annotations

import re
from typing import Final

from holdfast.actors import calls
from holdfast.towns import events, presenters
from holdfast.towns.calls import TownBase, text_of
from holdfast.towns.state import Bead, NewBead, Town, decode_bead
from holdfast.towns.views import BEAD_VIEW, CONVOY_VIEW, TASK_VIEW, row_key
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.town_work import BeadCancel, ConvoyCreate, ConvoyList

SLUG_MAX: Final = 40
_HEX: Final = 8
_NOT_IN_BRANCHES: Final = re.compile(r"[^a-z0-9]+")


class ConvoyHandlers(TownBase):
    """One method for each endpoint about convoys."""

    async def list_convoys(self, call: Call) -> Reply:
        """Show the convoys of a town, without their tasks."""
        town = await self._town(call)
        found, following = await self._page(call, town, CONVOY_VIEW, decode_bead)
        texts = await self._texts(town, found)
        shown = (bead for bead in found if bead.convoy_of is not None)
        items = tuple(presenters.convoy_view(bead, (), texts) for bead in shown)
        return Reply(ConvoyList(items=items, next=following))

    async def show_convoy(self, call: Call) -> Reply:
        """Show a convoy with its tasks."""
        town = await self._town(call)
        return await self._show_convoy(town, (await self._convoy(call, town)).id)

    async def create_convoy(self, call: Call) -> Reply:
        """Give a town tasks that land together."""
        body: ConvoyCreate = call.body
        town, convoy = await self._town(call), self._new(call, "convoy")
        refuse_bad_places(body)
        ids = [task_id(convoy, place) for place in range(len(body.tasks))]
        beads = tuple(
            NewBead(
                id=one,
                rig=body.rig,
                content=one,
                priority=task.priority,
                blocked_by=tuple(dict.fromkeys(ids[place] for place in task.depends_on)),
            )
            for one, task in zip(ids, body.tasks, strict=True)
        )
        texts = [
            text_of(call, one, "bead", task.title, task.body)
            for one, task in zip(ids, body.tasks, strict=True)
        ]
        event = events.ConvoyCreated(
            convoy=convoy,
            beads=beads,
            branch=branch_of(body.title, convoy),
            mode=body.mode,
            staged=body.staged,
            content=convoy,
            by=call.principal.name,
            bounded=True,
        )
        texts.append(text_of(call, convoy, "convoy", body.title, body.body))
        waits = await self._order(call, town.id, event, texts)
        return waits or await self._show_convoy(town, convoy)

    async def start_convoy(self, call: Call) -> Reply:
        """Let a staged convoy begin."""
        town = await self._town(call)
        convoy = (await self._convoy(call, town)).id
        waits = await self._order(call, town.id, events.ConvoyStarted(convoy))
        return waits or await self._show_convoy(town, convoy)

    async def cancel_convoy(self, call: Call) -> Reply:
        """End a convoy with all its tasks."""
        body: BeadCancel = call.body
        town = await self._town(call)
        convoy = (await self._convoy(call, town)).id
        event = events.BeadCancelled(convoy, body.status, call.principal.name)
        return await self._order(call, town.id, event) or await self._show_convoy(town, convoy)

    async def _convoy(self, call: Call, town: Town) -> Bead:
        """Return the convoy of the path; refuse (404) another bead."""
        bead = await self._bead(call, town)
        if bead.convoy_of is None:
            raise calls.missing("convoy", field="bead", fix="list the convoys of the town")
        return bead

    async def _show_convoy(self, town: Town, convoy: str) -> Reply:
        row = await self._reader.view(BEAD_VIEW, row_key(town.id, convoy))
        if row is None:
            raise calls.missing("convoy")
        bead = decode_bead(row[0])
        tasks = await self._all(TASK_VIEW, town, decode_bead, convoy)
        texts = await self._texts(town, (bead, *tasks))
        return Reply(presenters.convoy_view(bead, tasks, texts))

    async def _show(self, town: Town, bead: str) -> Reply:
        row = await self._reader.view(BEAD_VIEW, row_key(town.id, bead))
        if row is None:
            raise calls.missing("bead")
        found = decode_bead(row[0])
        return Reply(presenters.bead_view(found, await self._texts(town, (found,))))


def refuse_bad_places(body: ConvoyCreate) -> None:
    """Refuse (400) a task that depends on itself or on one that is not there."""
    for place, task in enumerate(body.tasks):
        for other in task.depends_on:
            if other == place or other >= len(body.tasks):
                raise Refusal(
                    400, "bad_dependency", f"tasks[{place}] depends on {other}, which is itself or"
                    " no task of this convoy.", field=f"tasks[{place}].depends_on",
                    fix=f"Name places from 0 to {len(body.tasks) - 1}, other than {place}.",
                )  # fmt: skip


def branch_of(title: str, convoy: str) -> str:
    """Return the name of a convoy's branch: readable, and its own."""
    slug = _NOT_IN_BRANCHES.sub("-", title.lower())[:SLUG_MAX].strip("-") or "work"
    return f"convoy/{slug}/{convoy[-_HEX:]}/head"


def task_id(convoy: str, place: int) -> str:
    """Return the id of a convoy's task: sorted by place, and told apart by its first characters."""
    return f"bead-{place:02d}{convoy.rpartition('-')[2]}"
