"""Which version of its agent each instance keeps, and what instances of before are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple

from holdfast.actors.ports import Reader
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.ports import Agents
from holdfast.instances.views import DETAIL_VIEW, INSTANCE_VIEW, read_detail, read_instance
from holdfast.kernel.ids import address
from holdfast.plane.wiring.core import Core
from holdfast.wire.health import Health

_PAGE: Final = 1_000


class _Kept(NamedTuple):
    """An instance: its agent, the version that it keeps, and those that it may yet go back to."""

    instance: str
    agent: str
    version: str
    before: tuple[str, ...]
    has_status: bool


async def version_uses(reader: Reader) -> Mapping[tuple[str, str], int]:
    """Return how many instances keep each version of each agent, or may yet go back to it."""
    return Counter(
        [(one.agent, kept) async for one in _kept(reader) for kept in (one.version, *one.before)]
    )


async def bring_up_to_date(core: Core, agents: Agents | None) -> None:
    """Give instances of before what newer ones have: a version that they keep, and a status.

    An instance of which nothing new is reported would otherwise be shown without a status for
    ever: its row is written when an event is folded.
    """
    async for one in _kept(core.stores.reader):
        given = "" if one.version or agents is None else agents.default(one.agent)
        if given or not one.has_status:
            event = events.ConfigChanged(agent_version=given or None)
            row = arrival(event, dedupe=f"version:{one.instance}:{given}", source="engine")
            await core.stores.journal.accept([(address(KIND, one.instance), row)])


async def _kept(reader: Reader) -> AsyncIterator[_Kept]:
    """Yield each instance that has both rows, whatever is made or removed meanwhile."""
    rows = _rows(reader, INSTANCE_VIEW)
    views = {key: read_instance(key, body) async for key, body in rows}
    async for key, body in _rows(reader, DETAIL_VIEW):
        if key in views:
            view = views[key]
            detail = read_detail(body)
            before = (detail.agent_version_before,) if detail.agent_version_before else ()
            has_status = view.health != Health()
            yield _Kept(key, view.agent, detail.agent_version, before, has_status)


async def _rows(reader: Reader, view: str) -> AsyncIterator[tuple[str, bytes]]:
    after = ""
    while page := await reader.views(view, account=None, after=after, limit=_PAGE):
        for key, body, _seq in page:
            yield key, body
        after = page[-1][0]
