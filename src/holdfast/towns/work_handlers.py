"""Handlers about the work of a town: beads, escalations, mail, nudges; convoys are beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.actors import calls
from holdfast.towns import events, presenters
from holdfast.towns.calls import readable, text_of
from holdfast.towns.convoy_handlers import ConvoyHandlers
from holdfast.towns.state import TERMINAL, Bead, NewBead, Town, decode_bead
from holdfast.towns.views import BEAD_VIEW, ESCALATION_VIEW, row_key
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.town_work import (
    BeadCancel,
    BeadList,
    BeadSling,
    BeadWaive,
    EscalationList,
    MailSend,
    NudgeSend,
    PullRequestAdopt,
    Sent,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX

SCANNED_MAX: Final = 5_000
"""Rows that one page of a filtered list reads at most; its `next` goes on from there."""


class WorkHandlers(ConvoyHandlers):
    """One method for each endpoint about work."""

    def by_endpoint(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their endpoints."""
        return {
            "towns.sling": self.sling,
            "towns.beads": self.list_beads,
            "towns.bead": self.show_bead,
            "towns.cancel": self.cancel,
            "towns.hold": self.hold,
            "towns.release": self.release,
            "towns.waive": self.waive,
            "towns.text": self.text,
            "towns.convoys": self.list_convoys,
            "towns.convoy": self.create_convoy,
            "towns.get-convoy": self.show_convoy,
            "towns.start-convoy": self.start_convoy,
            "towns.cancel-convoy": self.cancel_convoy,
            "towns.escalations": self.escalations,
            "towns.acknowledge": self.acknowledge,
            "towns.mail": self.mail,
            "towns.nudge": self.nudge,
            "towns.adopt": self.adopt,
        }

    # -- beads

    async def list_beads(self, call: Call) -> Reply:
        """Show the beads of a town by id: those that the query asks for."""
        town, limit = await self._town(call), calls.page_limit(call)
        begin, after = row_key(town.id, ""), call.query.get("after", "")
        found, scanned = list[Bead](), 0
        while len(found) < limit and scanned < SCANNED_MAX:
            page = await self._reader.views(
                BEAD_VIEW, account=town.account, after=begin + after, limit=PAGE_ITEMS_MAX
            )
            mine = [(key, body) for key, body, _ in page if key.startswith(begin)]
            if not mine:
                return await self._listed(town, found, "")
            for key, body in mine:
                bead = readable(body, decode_bead)
                if bead is not None and _fits(bead, call.query):
                    found.append(bead)
                after, scanned = key.removeprefix(begin), scanned + 1
                if len(found) == limit:
                    break
        return await self._listed(town, found, after)

    async def _listed(self, town: Town, found: list[Bead], following: str) -> Reply:
        texts = await self._texts(town, found)
        items = tuple(presenters.bead_view(bead, texts) for bead in found)
        return Reply(BeadList(items=items, next=following))

    async def show_bead(self, call: Call) -> Reply:
        """Show one bead with its text and what it depends on."""
        town = await self._town(call)
        bead = await self._bead(call, town)
        others = list[Bead]()
        for one in presenters.depends_on(bead):
            row = await self._reader.view(BEAD_VIEW, row_key(town.id, one))
            if row is not None and (known := readable(row[0], decode_bead)) is not None:
                others.append(known)
        ids = [one.content for one in (bead, *others)]
        if bead.review is not None:
            ids.append(bead.review.content)
        texts = await self._records.texts(town.id, tuple(one for one in ids if one))
        return Reply(presenters.bead_detail(bead, others, texts))

    async def sling(self, call: Call) -> Reply:
        """Give a town an issue to do."""
        body: BeadSling = call.body
        town, bead = await self._town(call), self._new(call, "bead")
        waits = [(await self._find_bead(town, one, field="blocked_by")).id
                 for one in body.blocked_by]  # fmt: skip
        new = NewBead(
            id=bead,
            rig=body.rig,
            content=bead,
            priority=body.priority,
            blocked_by=tuple(dict.fromkeys(waits)),
            held=body.held,
        )
        text = text_of(call, bead, "bead", body.title, body.body)
        event = events.BeadCreated(bead=new, by=call.principal.name, bounded=True)
        return await self._order(call, town.id, event, [text]) or await self._show(town, bead)

    async def cancel(self, call: Call) -> Reply:
        """End a bead, and what hangs on it."""
        body: BeadCancel = call.body
        town = await self._town(call)
        bead = (await self._bead(call, town)).id
        event = events.BeadCancelled(bead, body.status, call.principal.name)
        return await self._order(call, town.id, event) or await self._show(town, bead)

    async def hold(self, call: Call) -> Reply:
        """Keep an issue from being handed out."""
        return await self._hold(call, held=True)

    async def release(self, call: Call) -> Reply:
        """Let a held issue go."""
        return await self._hold(call, held=False)

    async def _hold(self, call: Call, *, held: bool) -> Reply:
        town = await self._town(call)
        bead = (await self._bead(call, town)).id
        event = events.BeadHeld(bead, held)
        return await self._order(call, town.id, event) or await self._show(town, bead)

    async def waive(self, call: Call) -> Reply:
        """Let a bead go on without one that it waits for."""
        body: BeadWaive = call.body
        town = await self._town(call)
        bead = (await self._bead(call, town)).id
        blocker = (await self._find_bead(town, body.blocker, field="blocker")).id
        event = events.BlockerWaived(bead, blocker)
        return await self._order(call, town.id, event) or await self._show(town, bead)

    async def adopt(self, call: Call) -> Reply:
        """Watch and merge a pull request of others."""
        body: PullRequestAdopt = call.body
        town, bead = await self._town(call), self._new(call, "bead")
        event = events.PullRequestAdopted(
            bead=bead, rig=body.rig, branch=body.branch, pr_url=body.pr_url, content=bead
        )
        text = text_of(call, bead, "bead", body.title, body.body)
        return await self._order(call, town.id, event, [text]) or await self._show(town, bead)

    async def text(self, call: Call) -> Reply:
        """Show a text by its id."""
        town = await self._town(call)
        found = await self._records.text(town.id, call.path["text"])
        if found is None:
            raise calls.missing("text", field="text", fix="it may have been erased")
        return Reply(presenters.text_view(found))

    # -- escalations, mail and nudges

    async def escalations(self, call: Call) -> Reply:
        """Show the escalations of a town."""
        town = await self._town(call)
        found, following = await self._page(call, town, ESCALATION_VIEW, decode_bead)
        texts = await self._texts(town, found)
        shown = (bead for bead in found if bead.escalation is not None)
        items = tuple(presenters.escalation_view(bead, texts) for bead in shown)
        return Reply(EscalationList(items=items, next=following))

    async def acknowledge(self, call: Call) -> Reply:
        """Take an escalation on."""
        town = await self._town(call)
        bead = (await self._bead(call, town)).id
        event = events.EscalationAcknowledged(bead, call.principal.name)
        return await self._order(call, town.id, event) or await self._show(town, bead)

    async def mail(self, call: Call) -> Reply:
        """Send an agent a message."""
        body: MailSend = call.body
        town, message = await self._town(call), self._new(call, "mail")
        agent = await self._find_agent(town, body.to, field="to")
        event = events.MailSent(
            message=message, to=agent.id, sender=call.principal.name, content=message
        )
        text = text_of(call, message, "mail", body.title, body.body)
        return await self._order(call, town.id, event, [text]) or await self._show(town, message)

    async def nudge(self, call: Call) -> Reply:
        """Poke an agent that works."""
        body: NudgeSend = call.body
        town, nudge = await self._town(call), self._new(call, "nudge")
        agent = await self._find_agent(town, call.path["agent"], field="agent")
        event = events.NudgeSent(nudge=nudge, agent=agent.id, content=nudge)
        text = text_of(call, nudge, "nudge", "", body.message)
        return await self._order(call, town.id, event, [text]) or Reply(Sent(id=nudge))


def _fits(bead: Bead, query: Mapping[str, str]) -> bool:
    """Return whether a bead is one that a list is asked for."""
    status = query.get("status", "")
    return (
        (not status or bead.status == status or (status == "live" and bead.status not in TERMINAL))
        and query.get("type", bead.type) == bead.type
        and query.get("rig", bead.rig) == bead.rig
    )
