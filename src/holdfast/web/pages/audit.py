"""Who did what, and when."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.limits import AUDIT_ITEMS
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.accounts import AuditList, AuditView
from holdfast.wire.api.call import Call

_FAILED: Final = 400
_UNKNOWN: Final = 0


class AuditRow(NamedTuple):
    """One audited call."""

    seq: int
    at: Moment | None
    who: str
    how: str
    account: str
    endpoint: str
    target: str
    name: str
    peer: str
    badge: Badge


def audit_row(found: AuditView, *, now_ms: int) -> AuditRow:
    """Return an audited call; its status in words where it has none."""
    if found.status == _UNKNOWN:
        badge = Badge("unknown", "warn", "The plane ended before it could write the answer.")
    else:
        badge = Badge(str(found.status), "ok" if found.status < _FAILED else "warn")
    return AuditRow(
        seq=found.seq,
        at=moment(found.at, now_ms),
        who=found.who,
        how=found.how.partition(":")[0],
        account=found.account or "",
        endpoint=found.endpoint,
        target=found.target,
        name=found.target_name,
        peer=found.peer,
        badge=badge,
    )


async def load(context: Context, call: Call) -> Names:
    """Return a page of the audit."""
    given = {name: call.query.get(name, "").strip() for name in ("who", "instance")}
    query = paging(call, AUDIT_ITEMS) | {name: value for name, value in given.items() if value}
    found = await context.api.ask(call, "audit.list", AuditList, query=query)
    rows = tuple(audit_row(item, now_ms=call.now_ms) for item in found.items)
    return {"rows": rows, "next": found.next, **given}


PAGE: Final = Page("audit", "audit.html", load)
