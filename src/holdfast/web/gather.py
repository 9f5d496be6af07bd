"""What each page shows, gathered from the API: the same for a page and for its live stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from holdfast.web.api import Asking, Missing
from holdfast.web.gather_brains import GatherBrains
from holdfast.web.gather_pairing import GatherPairing
from holdfast.web.limits import LOG_LINES, TIMELINE_ENTRIES
from holdfast.web.models.care import doctor, versions
from holdfast.web.models.fleet import Fleet, FleetQuery, Row, fleet_page, fleet_row
from holdfast.web.models.instance import Header, header, what_next, why
from holdfast.web.models.lists import (
    OperationRow,
    audit_row,
    operation_row,
    quarantine_row,
    token_row,
)
from holdfast.web.models.moments import moment
from holdfast.web.models.recovery import Recovery, recovery
from holdfast.web.models.start import Start, start
from holdfast.web.models.timeline import stories
from holdfast.wire.api.accounts import AuditList, SessionView, TokenList
from holdfast.wire.api.call import Call
from holdfast.wire.api.instances import Explanation, InstanceDetail, InstanceList, LogTail, Timeline
from holdfast.wire.api.maintenance import ConfigVersions, DoctorRun
from holdfast.wire.api.operations import Operation, OperationList, QuarantineList
from holdfast.wire.api.plane import AgentList
from holdfast.wire.api.rehearsals import DryRunRequest, Rehearsal

LIST_ITEMS: Final = 50
_NO_AGENTS: Final = AgentList(items=())


def _paging(query: Mapping[str, str], *, limit: int = LIST_ITEMS) -> dict[str, str]:
    """Return the page that an address asks for."""
    after = query.get("after", "")
    return {"limit": query.get("limit", "") or str(limit)} | ({"after": after} if after else {})


class Told(NamedTuple):
    """What an instance's page shows of its machine's check-ins."""

    header: Header
    start: Start | None
    recovery: Recovery | None


class Gather:
    """Asks the API for what a page needs and makes the page's models of it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self.pairing = GatherPairing(asking)
        self.brains = GatherBrains(asking)

    async def fleet(self, call: Call, query: FleetQuery) -> Fleet:
        """Return the fleet page; only the list itself is indispensable."""
        listed = await self._asking.ask(call, "instance.list", InstanceList, query=query.asked())
        agents = await self._asking.attempt(call, "agent.list", AgentList)
        waiting = await self.pairing.waiting(call)
        return fleet_page(
            query,
            listed,
            _NO_AGENTS if isinstance(agents, Missing) else agents,
            now_ms=call.now_ms,
            operator=call.principal.scope == "operator",
            waiting=waiting.counts,
        )

    async def row(self, call: Call, instance_id: str) -> Row:
        """Return one row of the fleet."""
        found = await self._asking.ask(
            call, "instance.get", InstanceDetail, path={"id": instance_id}
        )
        waiting = await self.pairing.waiting(call)
        return fleet_row(
            found.instance, now_ms=call.now_ms, waiting=waiting.counts.get(instance_id, 0)
        )

    async def told(self, call: Call, instance_id: str) -> Told:
        """Return what an instance's page shows of a check-in."""
        detail, now_ms = await self.detail(call, instance_id), call.now_ms
        return Told(
            header(detail, now_ms=now_ms), start(detail, now_ms=now_ms),
            recovery(detail, now_ms=now_ms),
        )  # fmt: skip

    async def detail(self, call: Call, instance_id: str) -> InstanceDetail:
        """Return what the API says of an instance."""
        path = {"id": instance_id}
        return await self._asking.ask(call, "instance.get", InstanceDetail, path=path)

    async def instance(self, call: Call, instance_id: str) -> dict[str, Any]:
        """Return what changes on an instance's page; a part that fails says so in its place."""
        detail = await self.detail(call, instance_id)
        found = await self._asking.attempt(
            call, "instance.explain", Explanation, path={"id": instance_id}
        )
        return {
            "header": header(detail, now_ms=call.now_ms),
            "recovery": recovery(detail, now_ms=call.now_ms),
            "start": start(detail, now_ms=call.now_ms),
            "detail": detail,
            "why": found
            if isinstance(found, Missing)
            else why(found, detail.instance, now_ms=call.now_ms),
            "timeline": await self.timeline(call, instance_id),
            "pairing": await self.pairing.panels(call, instance_id, detail.instance.name),
        }

    async def timeline(
        self, call: Call, instance_id: str, *, after: str = "", cause: str = ""
    ) -> Any:
        """Return some of a timeline: its stories and where it goes on."""
        query = {"limit": str(TIMELINE_ENTRIES)}
        query |= {name: value for name, value in (("after", after), ("cause", cause)) if value}
        found = await self._asking.attempt(
            call, "instance.timeline", Timeline, path={"id": instance_id}, query=query
        )
        if isinstance(found, Missing):
            return found
        return {
            "stories": stories(found.entries, now_ms=call.now_ms),
            "next": found.next,
            "is_first": not after,
        }

    async def next(self, call: Call, instance_id: str) -> Any:
        """Return what the next tick would do; operators only, and audited."""
        found = await self._asking.attempt(
            call,
            "rehearse.dry-run",
            Rehearsal,
            path={"kind": "instance", "id": instance_id},
            body=DryRunRequest(),
        )
        return found if isinstance(found, Missing) else what_next(found, now_ms=call.now_ms)

    async def care(self, call: Call, instance_id: str) -> dict[str, Any]:
        """Return what only an instance's machine knows, which may take it its time."""
        path = {"id": instance_id}
        found = await self._asking.attempt(call, "config.versions", ConfigVersions, path=path)
        run = await self._asking.attempt(call, "doctor.run", DoctorRun, path=path)
        return {
            "versions": found
            if isinstance(found, Missing)
            else versions(found, now_ms=call.now_ms),
            "doctor": run if isinstance(run, Missing) else doctor(run, now_ms=call.now_ms),
        }

    async def logs(self, call: Call, instance_id: str) -> LogTail | Missing:
        """Return the newest lines of an instance."""
        return await self._asking.attempt(
            call,
            "instance.logs",
            LogTail,
            path={"id": instance_id},
            query={"lines": str(LOG_LINES)},
        )

    async def operations(self, call: Call) -> dict[str, Any]:
        """Return the list of operations."""
        query = _paging(call.query)
        if call.query.get("instance"):
            query["instance"] = call.query["instance"]
        found = await self._asking.ask(call, "operation.list", OperationList, query=query)
        rows = tuple(operation_row(item, now_ms=call.now_ms) for item in found.items)
        return {"rows": rows, "next": found.next, "instance": call.query.get("instance", "")}

    async def operation(self, call: Call, event: str) -> OperationRow:
        """Return one operation with its steps."""
        found = await self._asking.ask(call, "operation.get", Operation, path={"event": event})
        return operation_row(found, now_ms=call.now_ms)

    async def quarantine(self, call: Call) -> dict[str, Any]:
        """Return the events in quarantine."""
        query = _paging(call.query)
        found = await self._asking.ask(call, "quarantine.list", QuarantineList, query=query)
        rows = tuple(quarantine_row(item, now_ms=call.now_ms) for item in found.items)
        return {"rows": rows, "next": found.next}

    async def tokens(self, call: Call) -> dict[str, Any]:
        """Return the tokens, live ones first."""
        found = await self._asking.ask(call, "token.list", TokenList)
        rows = [token_row(item, now_ms=call.now_ms) for item in found.items]
        return {"rows": sorted(rows, key=lambda row: not row.is_live)}

    async def audit(self, call: Call) -> dict[str, Any]:
        """Return a page of the audit."""
        query = _paging(call.query, limit=100)
        found = await self._asking.ask(call, "audit.list", AuditList, query=query)
        rows = tuple(audit_row(item, now_ms=call.now_ms) for item in found.items)
        return {"rows": rows, "next": found.next}

    async def session(self, call: Call) -> dict[str, Any]:
        """Return who is signed in."""
        found = await self._asking.ask(call, "session.get", SessionView)
        return {"session": found, "expires": moment(found.expires_at, call.now_ms)}
