"""What handlers about towns share: find what a caller may see, send an event, keep texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from holdfast.actors import calls
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.kernel.chance import Chance
from holdfast.kernel.ids import derive
from holdfast.towns import events
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.ports import Sealer
from holdfast.towns.records import Text, TextKind, TownRecords
from holdfast.towns.state import Agent, Bead, Town, decode_agent, decode_bead, decode_town
from holdfast.towns.views import AGENT_VIEW, BEAD_VIEW, TOWN_VIEW, row_key
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.limits import PAGE_ITEMS_MAX

T = TypeVar("T")

SHORTEST: Final = 4
"""Characters of an id, at least, that may stand for the whole."""
_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of the handlers; `account` is an operator's where none is asked for.

    `find_instance` returns the id of an account's instance by its id or name; empty for none.
    """

    mailboxes: Mailboxes
    reader: Reader
    records: TownRecords
    sealer: Sealer
    chance: Chance
    account: str
    account_exists: Callable[[str], Awaitable[bool]]
    find_instance: Callable[[str, str], Awaitable[str]]


class TownBase:
    """What every group of handlers about towns is made of."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._reader = deps.reader
        self._records = deps.records

    async def _town(self, call: Call) -> Town:
        """Return the town of the path."""
        return await find_town(call, self._reader)

    async def _bead(self, call: Call, town: Town) -> Bead:
        """Return the bead of the path."""
        return await self._find_bead(town, call.path["bead"], field="bead")

    async def _find_bead(self, town: Town, given: str, *, field: str) -> Bead:
        """Return a bead by its id, or by how that begins while only one does."""
        return await find_bead(self._reader, town, given, field=field)

    async def _find_agent(self, town: Town, given: str, *, field: str) -> Agent:
        """Return an agent by its id or name."""
        row = await self._reader.view(AGENT_VIEW, row_key(town.id, given))
        if row is not None:
            return decode_agent(row[0])
        agents = await self._all(AGENT_VIEW, town, decode_agent)
        named = [agent for agent in agents if agent.name == given]
        if len(named) > 1:
            raise ambiguous(field, given, (agent.id for agent in named))
        if not named:
            raise calls.missing("agent", field=field, fix="list the agents of the town")
        return named[0]

    async def _page(
        self, call: Call, town: Town, view: str, read: Callable[[bytes], T]
    ) -> tuple[list[T], str]:
        """Return a page of a town's rows, without damaged ones, and where the next begins."""
        limit, begin = calls.page_limit(call), row_key(town.id, "")
        page = await self._reader.views(
            view, account=town.account, after=begin + call.query.get("after", ""), limit=limit
        )
        mine = [(key, body) for key, body, _ in page if key.startswith(begin)]
        shown = (readable(body, read) for _, body in mine)
        following = mine[-1][0].removeprefix(begin) if len(mine) == limit else ""
        return [one for one in shown if one is not None], following

    async def _all(self, view: str, town: Town, read: Callable[[bytes], T], *parts: str) -> list[T]:
        """Return all rows of a view of a town, or of a part of it, without damaged ones."""
        begin = after = row_key(town.id, *parts, "")
        found: list[T] = []
        while True:
            page = await self._reader.views(
                view, account=town.account, after=after, limit=PAGE_ITEMS_MAX
            )
            mine = [(key, body) for key, body, _ in page if key.startswith(begin)]
            found += [one for _, body in mine if (one := readable(body, read)) is not None]
            if len(mine) < PAGE_ITEMS_MAX:
                return found
            after = mine[-1][0]

    async def _texts(self, town: Town, beads: Iterable[Bead]) -> Mapping[str, Text]:
        """Return the texts of beads that are there, by their ids."""
        ids = tuple(dict.fromkeys(bead.content for bead in beads if bead.content))
        return await self._records.texts(town.id, ids) if ids else {}

    async def _order(
        self, call: Call, town: str, event: events.Event, texts: Sequence[Text] = ()
    ) -> Reply | None:
        """Send an event, with the texts that it names; return 202, or None once it is taken.

        Texts are kept before: who reads the bead finds them. A refusal erases them again.
        """
        for text in texts:
            await self._records.put_text(town, text)
        answer = await calls.ask(
            call,
            event,
            mailboxes=self._deps.mailboxes,
            chance=self._deps.chance,
            actor=calls.actor_of(KIND, town, noun="town"),
            arrival=arrival,
            dedupe=call.endpoint,
        )
        if answer.stamp is None:
            return calls.pending(answer)
        if answer.stamp.outcome != "applied":
            for text in texts:
                await self._records.drop_text(town, text.id)
        calls.refuse_if_refused(answer)
        return None

    def _new(self, call: Call, prefix: str) -> str:
        """Return the id of something new: the same for the same Idempotency-Key of a caller."""
        key = call.idempotency_key
        made = derive(calls.caller(call.principal), call.endpoint, key or self._deps.chance.uuid())
        return f"{prefix}-{made}"


async def find_town(call: Call, reader: Reader) -> Town:
    """Return the town of the path, by id or name; refuse (404) what the caller may not see.

    An operator's name may be of towns of several accounts, which is refused (409).
    """
    given, account = call.path["id"], call.principal.account
    row = await reader.view(TOWN_VIEW, given)
    if row is not None:
        if account not in {None, row[1]}:
            raise calls.missing("town")
        return decode_town(row[0])
    named, after = list[Town](), ""
    while page := await reader.views(TOWN_VIEW, account=account, after=after, limit=PAGE_ITEMS_MAX):
        towns = (readable(body, decode_town) for _, body, _ in page)
        named += [one for one in towns if one is not None and one.name == given]
        after = page[-1][0]
    live = [one for one in named if not one.closed_ms] or named
    if len(live) > 1:
        raise ambiguous("id", given, (one.id for one in live))
    if not live:
        raise calls.missing("town")
    return live[0]


async def find_bead(reader: Reader, town: Town, given: str, *, field: str) -> Bead:
    """Return a bead by its id, or by how that begins while only one does."""
    row = await reader.view(BEAD_VIEW, row_key(town.id, given))
    if row is not None:
        return decode_bead(row[0])
    begin = row_key(town.id, given)
    found = await reader.views(BEAD_VIEW, account=town.account, after=begin, limit=_NAMED_MAX)
    fits = [body for key, body, _ in found if key.startswith(begin)]
    if len(given) < SHORTEST or not fits:
        raise calls.missing("bead", field=field, fix="list the beads of the town")
    if len(fits) > 1:
        raise ambiguous(field, given, (decode_bead(body).id for body in fits))
    return decode_bead(fits[0])


def text_of(call: Call, text: str, kind: TextKind, title: str, body: str = "") -> Text:
    """Return a text that is to be kept."""
    return Text(id=text, kind=kind, title=title, body=body, made_ms=call.now_ms)


def ambiguous(field: str, given: str, ids: Iterable[str]) -> Refusal:
    """Return the refusal (409) of a name, or beginning of an id, that several have."""
    shown = ", ".join(list(ids)[:_NAMED_MAX])
    return Refusal(
        409, "ambiguous", f"{field}: {given!r} could be any of {shown}.", field=field,
        fix="Give the whole id.",
    )  # fmt: skip


def readable(body: bytes, read: Callable[[bytes], T]) -> T | None:
    """Return what a row says; None for a damaged one, which spoils no list."""
    try:
        return read(body)
    except ValueError:  # msgspec's are ValueErrors too
        return None
