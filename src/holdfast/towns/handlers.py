"""Handlers about towns: each sends an event to the town and answers with the committed row.

Only the fold decides whether something is allowed. What is not visible is answered with 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from holdfast.actors import calls
from holdfast.actors.ports import Answer, Mailboxes, Reader
from holdfast.kernel.chance import Chance
from holdfast.kernel.ids import derive
from holdfast.towns import events, presenters
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.state import Config, NewBead, decode_bead, decode_town
from holdfast.towns.views import BEAD_VIEW, TOWN_VIEW, row_key
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.towns import (
    BeadList,
    BeadSling,
    BeadView,
    RigAdd,
    TownCreate,
    TownList,
    TownView,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of the handlers; `account` is an operator's where none is asked for."""

    mailboxes: Mailboxes
    reader: Reader
    chance: Chance
    account: str
    account_exists: Callable[[str], Awaitable[bool]]


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints."""
    made = TownHandlers(deps)
    return {
        "towns.list": made.list_towns,
        "towns.create": made.create,
        "towns.get": made.show,
        "towns.rig": made.add_rig,
        "towns.sling": made.sling,
        "towns.beads": made.list_beads,
        "towns.bead": made.show_bead,
    }


class TownHandlers:
    """One method for each endpoint about towns."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    # -- reads

    async def list_towns(self, call: Call) -> Reply:
        """Show towns by id."""
        limit = calls.page_limit(call)
        page = await self._deps.reader.views(
            TOWN_VIEW,
            account=calls.listed_account(call),
            after=call.query.get("after", ""),
            limit=limit,
        )
        shown = (_readable(body, _town) for _key, body, _seq in page)
        items = tuple(one for one in shown if one is not None)
        return Reply(TownList(items=items, next=page[-1][0] if len(page) == limit else ""))

    async def show(self, call: Call) -> Reply:
        """Show a town."""
        return Reply(await self._visible(call))

    async def list_beads(self, call: Call) -> Reply:
        """Show the beads of a town by id."""
        town, limit = await self._visible(call), calls.page_limit(call)
        begin = row_key(town.id, "")
        page = await self._deps.reader.views(
            BEAD_VIEW, account=town.account, after=begin + call.query.get("after", ""), limit=limit
        )
        mine = [(key, body) for key, body, _seq in page if key.startswith(begin)]
        shown = (_readable(body, _bead) for _key, body in mine)
        items = tuple(one for one in shown if one is not None)
        following = mine[-1][0].removeprefix(begin) if len(mine) == limit else ""
        return Reply(BeadList(items=items, next=following))

    async def show_bead(self, call: Call) -> Reply:
        """Show one bead."""
        town = await self._visible(call)
        return Reply(await self._bead_of(call, town, call.path["bead"]))

    async def _visible(self, call: Call) -> TownView:
        body, _, _ = await calls.visible(
            call, self._deps.reader, TOWN_VIEW, call.path["id"], noun="town"
        )
        return _town(body)

    async def _bead_of(self, call: Call, town: TownView, bead: str) -> BeadView:
        key = row_key(town.id, bead)
        body, _, _ = await calls.visible(call, self._deps.reader, BEAD_VIEW, key, noun="bead")
        return _bead(body)

    # -- orders

    async def create(self, call: Call) -> Reply:
        """Make a town."""
        body: TownCreate = call.body
        account = await calls.account_to_create_in(
            call, body.account, default=self._deps.account, exists=self._deps.account_exists
        )
        town = f"town-{self._new(call)}"
        config = Config(code_review=body.code_review, town_agents_max=body.agents_max)
        event = events.TownCreated(
            account=account, name=body.name, by=call.principal.name, config=config
        )
        answer = await self._ask(call, town, event)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        row, _, _ = await calls.visible(call, self._deps.reader, TOWN_VIEW, town, noun="town")
        return Reply(_town(row))

    async def add_rig(self, call: Call) -> Reply:
        """Add a repository."""
        body: RigAdd = call.body
        town = await self._visible(call)
        event = events.RigAdded(rig=body.name, name=body.name, branch=body.branch, gates=body.gates)
        answer = await self._ask(call, town.id, event)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        return await self.show(call)

    async def sling(self, call: Call) -> Reply:
        """Give a town an issue to do."""
        body: BeadSling = call.body
        town = await self._visible(call)
        new = NewBead(
            id=f"bead-{self._new(call)}",
            rig=body.rig,
            content=body.content,
            priority=body.priority,
            blocked_by=body.blocked_by,
        )
        event = events.BeadCreated(bead=new, by=call.principal.name)
        answer = await self._ask(call, town.id, event)
        if answer.stamp is None:
            return calls.pending(answer)
        calls.refuse_if_refused(answer)
        return Reply(await self._bead_of(call, town, new.id))

    def _new(self, call: Call) -> str:
        """Return the id of something new: the same for the same Idempotency-Key of a caller."""
        key = call.idempotency_key
        return derive(calls.caller(call.principal), call.endpoint, key or self._deps.chance.uuid())

    async def _ask(self, call: Call, town: str, event: events.Event) -> Answer:
        return await calls.ask(
            call,
            event,
            mailboxes=self._deps.mailboxes,
            chance=self._deps.chance,
            actor=calls.actor_of(KIND, town, noun="town"),
            arrival=arrival,
            dedupe=call.endpoint,
        )


def _town(body: bytes) -> TownView:
    return presenters.town_view(decode_town(body))


def _bead(body: bytes) -> BeadView:
    return presenters.bead_view(decode_bead(body))


def _readable(body: bytes, read: Callable[[bytes], T]) -> T | None:
    """Return what a row says; None for a damaged one, which spoils no list."""
    try:
        return read(body)
    except ValueError:  # msgspec's are ValueErrors too
        return None
