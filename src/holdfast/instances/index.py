"""The index of the fleet: the columns by which instances are filtered, sorted and counted.

A list cannot decode every committed row for each request, so the index is filled once from the
committed rows, while the plane serves; then each commit and each check-in updates it. It does not
contain the rows: a page consists of ids, and the caller reads their rows. It is only in memory.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Reader
from holdfast.instances.ports import Contacts
from holdfast.instances.views import INSTANCE_VIEW, read_instance
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.letters.machine import LastContact
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.instances import InstanceView
from holdfast.wire.health import RANKS, HealthCode
from holdfast.wire.limits import PAGE_ITEMS_MAX
from holdfast.wire.parsers import from_json

Sort = Literal["name", "status", "health", "agent", "created", "restarts", "contact", "load"]

FILL_ROWS: Final = 100
"""Rows read and decoded before the loop gets a turn: about 2 ms."""

PUT_ROWS: Final = 1_000
"""Rows passed to the store at a time while it is filled."""

HEARD_ROWS: Final = 500
"""Last contacts looked up before the loop gets a turn: about 1 ms."""

FLUSH_S: Final = 1.0
"""Seconds between two updates from check-ins; every list contains all commits."""

RETRY_S: Final = 5.0
"""Seconds until the index is filled again after a failure."""

READY_WAIT_S: Final = 15.0
"""Seconds that a list waits for the index to be filled; 100,000 rows take about 5 s."""

NO_LOAD: Final = -1

TIED_CHARS: Final = 63
"""Characters of a name in a cursor of at most 256; a valid name is never longer."""

_CURSOR: Final = msgspec.json.Decoder(tuple[str, str | int, str, str])


class Row(Struct, frozen=True, array_like=True, gc=False):
    """One instance in the index.

    `name` is in lower case; `load` is in thousandths, NO_LOAD where none is known; `contact_ms` is
    0 for never. `health` is the rank of its status, the worst first.
    """

    id: str
    account: str
    name: str
    status: str
    agent: str
    attention: bool
    created: str
    restarts: int
    contact_ms: int
    load: int
    health: int = RANKS["unreported"]


class Heard(Struct, frozen=True, array_like=True, gc=False):
    """What a check-in changes of a row; `load` counts only while the instance runs."""

    id: str
    restarts: int
    contact_ms: int
    load: int


class Mark(NamedTuple):
    """The sort key of the last row of a page; the next page begins after it."""

    value: str | int
    name: str
    id: str


class Query(NamedTuple):
    """One page of a list: empty texts and None do not filter. Names, then ids, break ties."""

    account: str | None
    limit: int
    statuses: tuple[str, ...] = ()
    agent: str = ""
    attention: bool | None = None
    text: str = ""
    sort: Sort = "name"
    descending: bool = False
    after: Mark | None = None
    healths: tuple[int, ...] = ()


def list_query(given: Mapping[str, str], account: str | None, *, limit: int) -> Query:
    """Return the query for a list's parameters; refuse (400) a cursor of another list or order."""
    order = given.get("sort") or "name"
    attention = given.get("attention")
    sort = cast("Sort", order.removeprefix("-"))  # the endpoint's pattern has these only
    after = given.get("after", "")
    return Query(
        account=account,
        limit=min(limit, PAGE_ITEMS_MAX),
        statuses=_words(given, "status"),
        agent=given.get("agent", ""),
        attention=None if not attention else attention == "true",
        text=given.get("text", ""),
        sort=sort,
        descending=order.startswith("-"),
        after=_mark(after, order) if after else None,
        healths=tuple(RANKS[cast("HealthCode", one)] for one in _words(given, "health")),
    )


def _words(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(one for one in given.get(name, "").split(",") if one)


def list_cursor(query: Query, mark: Mark | None) -> str:
    """Return the cursor of the page after `mark`; empty if there is no mark."""
    if mark is None:
        return ""
    order = f"-{query.sort}" if query.descending else query.sort
    # Names and ids of rows that are not damaged are shorter than this.
    short = (_cut(mark.value), _cut(mark.name), mark.id[:TIED_CHARS])
    return urlsafe_b64encode(msgspec.json.encode((order, *short))).rstrip(b"=").decode()


def _cut(value: str | int) -> str | int:
    return value[:TIED_CHARS] if isinstance(value, str) else value


def _mark(cursor: str, order: str) -> Mark:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        told, value, name, instance = from_json(_CURSOR, urlsafe_b64decode(padded))
    except ValueError:
        told, value, name, instance = "", "", "", ""
    if told != order:
        raise Refusal(
            400, "bad_cursor", "`after` is not the `next` of a page of this list and order.",
            field="after", fix="Send `next` of the page before, or leave it out.",
        )  # fmt: skip
    return Mark(value, name, instance)


class Page(NamedTuple):
    """The ids of a page; `total` counts all matches.

    `counts` counts all rows of the account by status, `healths` by the rank of their health.
    """

    ids: tuple[str, ...]
    following: Mark | None
    total: int
    counts: Mapping[str, int]
    healths: Mapping[int, int] = MappingProxyType({})


class IndexStore(Protocol):
    """The store of the index; calls take effect in the order in which they are made."""

    async def clear(self) -> None:
        """Remove every row, before the index is filled again."""
        ...

    async def settle(self) -> None:
        """Prepare for queries, after the index was filled."""
        ...

    async def apply(self, rows: Sequence[Row], gone: Sequence[str], heard: Sequence[Heard]) -> None:
        """Delete the ids `gone`, insert or replace `rows`, then apply the check-ins `heard`."""
        ...

    async def page(self, query: Query) -> Page:
        """Return one page."""
        ...

    async def agents(self) -> frozenset[str]:
        """Return the agents of all rows."""
        ...


class LiveContacts(Contacts, Protocol):
    """Last contacts, with a callback at each check-in."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the instance's id at each check-in; it must return quickly."""
        ...


class FleetIndex:
    """Fills, updates and queries the index; the task `run` must be running."""

    def __init__(self, store: IndexStore, reader: Reader, contacts: Contacts, *, log: Log) -> None:
        """Index the committed rows of `reader`, with the last contact of their machines."""
        self._store = store
        self._reader = reader
        self._contacts = contacts
        self._log = log
        self._changed: dict[str, Row | None] = {}
        self._heard: set[str] = set()
        self._during_read: set[str] | None = None
        self._filled = asyncio.Event()
        self._read = 0
        self._saw: list[Callable[[str, InstanceView | None], None]] = []

    def listen(self, saw: Callable[[str, InstanceView | None], None]) -> None:
        """Call `saw` with the id of each instance that is read or changed, and its row, if any.

        So who follows all instances needs to read and decode no row; `saw` must return quickly.
        """
        self._saw.append(saw)

    def on_commit(self, committed: CommittedTick) -> None:
        """Note the changed rows of a commit; they are applied with the next flush or page."""
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view != INSTANCE_VIEW:
                continue
            if self._during_read is not None:
                self._during_read.add(view.key)
            self._note(
                view.key,
                None
                if view.body is None
                else read_instance(view.key, view.body, account=view.account),
            )

    def heard(self, instance: str) -> None:
        """Note a check-in; it is applied with the next flush or page."""
        self._heard.add(instance)

    async def run(self) -> None:
        """Fill the index, then apply changes every FLUSH_S; after a failure, fill it again."""
        while True:
            try:
                if not self._filled.is_set():
                    await self.fill()
                await asyncio.sleep(FLUSH_S)
                await self._flush()
            except Exception as error:  # noqa: BLE001  it is logged and the index filled again
                self._filled.clear()
                self._log.error("instances.index_failed", reason=brief(error), exc_info=error)
                await asyncio.sleep(RETRY_S)

    async def fill(self) -> None:
        """Read every committed row; a list that is requested meanwhile waits."""
        self._read, after = 0, ""
        await self._store.clear()
        while True:
            # A row that is committed while a page is read is newer than the row in that page.
            self._during_read = set()
            rows = await self._reader.views(
                INSTANCE_VIEW, account=None, after=after, limit=FILL_ROWS
            )
            newer, self._during_read = self._during_read, None
            for key, body, _seq in rows:
                if key not in newer:
                    view = read_instance(key, body)
                    if not view.account:  # damaged: the account is also stored beside the body
                        found = await self._reader.view(INSTANCE_VIEW, key)
                        view = replace(view, account=found[1] if found else "")
                    if key not in self._changed:
                        self._note(key, view)
            self._read += len(rows)
            if len(rows) < FILL_ROWS:
                break
            after = rows[-1][0]
            if len(self._changed) >= PUT_ROWS:
                await self._flush()
            await asyncio.sleep(0)
        await self._flush()
        await self._store.settle()
        self._filled.set()
        self._log.info("instances.indexed", rows=self._read)

    async def page(self, query: Query) -> Page:
        """Return one page; refuse (503) while the index is still being filled."""
        await self._ready()
        return await self._store.page(query)

    async def agents(self) -> frozenset[str]:
        """Return the agents of all instances; refuse (503) as `page` does."""
        await self._ready()
        return await self._store.agents()

    async def _ready(self) -> None:
        """Wait for the index to be filled, and apply the noted changes."""
        try:
            async with asyncio.timeout(READY_WAIT_S):
                await self._filled.wait()
        except TimeoutError:
            text = f"The list of instances is still being read: {self._read} so far."
            fix = "Ask again in a second."
            raise Refusal(503, "list_not_ready", text, fix=fix, retry_after_s=1) from None
        await self._flush()

    def _note(self, key: str, view: InstanceView | None) -> None:
        """Note a row, or that it is gone."""
        self._changed[key] = None if view is None else self._row(view, key)
        for saw in self._saw:
            saw(key, view)

    async def _flush(self) -> None:
        """Apply the noted changes to the store."""
        changed, self._changed = self._changed, {}
        names, self._heard = self._heard, set()
        heard: list[Heard] = []
        for number, instance in enumerate(names, 1):
            last = self._contacts.contact(instance)
            if last is not None:
                heard.append(Heard(instance, last.restarts, last.heard_ms, _load(last)))
            if number % HEARD_ROWS == 0:
                await asyncio.sleep(0)
        if changed or heard:
            rows = [row for row in changed.values() if row is not None]
            gone = [key for key, row in changed.items() if row is None]
            await self._store.apply(rows, gone, heard)

    def _row(self, view: InstanceView, key: str) -> Row:
        last = self._contacts.contact(key)
        runs = view.status == "running"
        return Row(
            id=key,
            account=view.account,
            name=view.name.lower(),
            status=view.status,
            agent=view.agent,
            attention=bool(view.attention),
            created=view.created_at or "",
            restarts=max(view.restarts, last.restarts) if last else view.restarts,
            contact_ms=last.heard_ms if last else 0,
            load=_load(last) if last and runs else NO_LOAD,
            health=RANKS[view.health.code],
        )


def _load(last: LastContact) -> int:
    return NO_LOAD if last.status is None else round(last.status.load_avg_5m * 1_000)
