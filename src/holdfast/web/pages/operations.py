"""Orders, and what became of each."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.limits import FOLLOW_S, HEARTBEAT_S, LIST_ITEMS
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge, actor_href, outcome_badge, spoken
from holdfast.wire.api.call import Call
from holdfast.wire.api.operations import Operation, OperationList


class OperationStepRow(NamedTuple):
    """One step of an operation."""

    kind: str
    title: str
    at: Moment | None
    badge: Badge | None
    rule: str
    text: str
    attempts: int


class OperationRow(NamedTuple):
    """An order and what became of it."""

    event: str
    href: str
    title: str
    actor: str
    actor_name: str
    actor_href: str
    by: str
    at: Moment | None
    badge: Badge
    text: str
    seq: int
    is_done: bool
    steps: tuple[OperationStepRow, ...]


def operation_row(found: Operation, *, now_ms: int) -> OperationRow:
    """Return an order; one that was applied is `under way` until all it caused has ended."""
    badge = outcome_badge(found.outcome) or Badge("?", "off")
    if found.outcome == "applied":
        badge = Badge("done", "ok") if found.done else Badge("under way", "busy")
    if any(step.state == "failed" for step in found.steps) and found.done:
        badge = Badge("failed", "bad")
    return OperationRow(
        event=found.event,
        href=f"/operations/{found.event}",
        title=spoken(found.name),
        actor=found.actor,
        actor_name=found.actor_name or found.actor,
        actor_href=actor_href(found.actor),
        by=found.by,
        at=moment(found.accepted_at, now_ms),
        badge=badge,
        text=found.message,
        seq=found.seq,
        is_done=found.done,
        steps=tuple(
            OperationStepRow(
                kind=step.kind,
                title=spoken(step.name),
                at=moment(step.at, now_ms),
                badge=outcome_badge(step.state),
                rule=step.rule,
                text=step.message or step.reason,
                attempts=step.attempts,
            )
            for step in found.steps
        ),
    )


async def load(context: Context, call: Call) -> Names:
    """Return the list of operations."""
    instance = call.query.get("instance", "")
    query = paging(call, LIST_ITEMS) | ({"instance": instance} if instance else {})
    found = await context.api.ask(call, "operation.list", OperationList, query=query)
    rows = tuple(operation_row(item, now_ms=call.now_ms) for item in found.items)
    return {"rows": rows, "next": found.next, "instance": instance}


async def load_operation(context: Context, call: Call) -> Names:
    """Return one operation with its steps."""
    found = await context.api.ask(call, "operation.get", Operation, path=call.path)
    return {"row": operation_row(found, now_ms=call.now_ms)}


_TOPICS: Final = frozenset({topics.INSTANCE, topics.OPERATION})


def _look_s(names: Names, now_ms: int) -> float:  # noqa: ARG001  the form of `look_s`
    """Return the time to the next look: sooner while an order is under way."""
    rows = names["rows"] if "rows" in names else (names["row"],)
    return HEARTBEAT_S if all(row.is_done for row in rows) else FOLLOW_S


PAGE: Final = Page(
    "operations",
    "operations.html",
    load,
    live=Redrawn(_TOPICS, ("operations",), look_s=_look_s),
)
ONE: Final = Page(
    "operation",
    "operation.html",
    load_operation,
    section="operations",
    live=Redrawn(_TOPICS, ("operation",), look_s=_look_s),
)
