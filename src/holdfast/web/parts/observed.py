"""What the pages of a node's content share: contact, who sends for it, and why nothing is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from holdfast.web.page import Context, Names
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import NodeDetail, NodeView, SealedCount, SenderView
from holdfast.wire.consent import ContentClass
from holdfast.wire.observing import bytes_text

_SENDERS: Final = {
    "sends": Badge("sends", "ok"),
    "refused": Badge("refused", "warn", "Nothing of its content is stored."),
    "replaced": Badge("replaced", "off", "The same program came with another key."),
}
_PROGRAMS: Final = {"holdfast-observer": "Holdfast's observer", "clawmetry": "ClawMetry's daemon"}


class NodeRow(NamedTuple):
    """One node; `title` is what people call it."""

    id: str
    title: str
    name: str
    instance: str
    account: str
    badge: Badge
    gate: Badge
    version: str
    refused: str
    stored: str
    heard: Moment | None


class SenderRow(NamedTuple):
    """One program that sends for a node."""

    id: str
    title: str
    version: str
    key: str
    badge: Badge
    sends: bool
    first: Moment | None
    heard: Moment | None


class SealedRow(NamedTuple):
    """How much of a class is sealed without saying what of."""

    of: ContentClass
    rows: int
    size: str
    first: Moment | None
    last: Moment | None


def node_row(found: NodeView, *, now_ms: int) -> NodeRow:
    """Return one node; its gate is what its client is told."""
    granted = ", ".join(found.classes)
    return NodeRow(
        id=found.id,
        title=found.title or found.name,
        name=found.name,
        instance=found.instance,
        account=found.account,
        badge=Badge("Online", "ok") if found.online else Badge("Silent", "off"),
        gate=Badge("Consented", "ok", granted)
        if found.sync_allowed
        else Badge("Waits for consent", "busy", "Nothing of its content is stored."),
        version=found.version,
        refused=bytes_text(found.refused_bytes),
        stored=bytes_text(found.stored_bytes),
        heard=moment(found.heard_at, now_ms),
    )


def sender_row(found: SenderView, *, now_ms: int) -> SenderRow:
    """Return one program that sends for a node."""
    return SenderRow(
        id=found.id,
        title=_PROGRAMS.get(found.program, found.program),
        version=found.version,
        key=found.key,
        badge=_SENDERS[found.state],
        sends=found.state == "sends",
        first=moment(found.first_at, now_ms),
        heard=moment(found.heard_at, now_ms),
    )


def sealed_rows(found: Sequence[SealedCount], *, now_ms: int) -> tuple[SealedRow, ...]:
    """Return how much is sealed, by class."""
    return tuple(
        SealedRow(
            of=one.of,
            rows=one.rows,
            size=bytes_text(one.bytes),
            first=moment(one.first_at, now_ms),
            last=moment(one.last_at, now_ms),
        )
        for one in found
    )


def why_empty(found: NodeDetail, of: ContentClass) -> str:
    """Return what is waited for where nothing of a class is shown."""
    if of not in found.node.classes:
        refused = sum(one.bytes for one in found.refused if one.of == of and one.why == "consent")
        sent = f" Of what it sent, {bytes_text(refused)} were refused." if refused else ""
        return f"Its owner has not let {of} out.{sent}"
    if any(one.of == of for one in found.sealed):
        return "Everything of it is sealed."
    if not found.node.heard_at:
        return f"Its {of} may leave. It waits for the first heartbeat of its machine."
    if not found.node.online:
        return f"Its {of} may leave. Its machine is silent: it sends when it is heard again."
    if found.node.sender_silent:
        return (
            f"Its {of} may leave. The program that was chosen to send it is silent, and what "
            "another sends is refused: choose that one."
        )
    return f"Its {of} may leave, and none has come yet: it is sent as it is written."


async def observed(context: Context, call: Call, of: ContentClass) -> tuple[NodeDetail, Names]:
    """Return a node, and what the head of each page of its content shows."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "content.node", NodeDetail, path=path)
    now_ms = call.now_ms
    senders = tuple(sender_row(one, now_ms=now_ms) for one in found.senders)
    return found, {
        "id": call.path["id"],
        "node": node_row(found.node, now_ms=now_ms),
        "gaps": found.gaps_open,
        "senders": senders if len(senders) > 1 else (),
        "undecided": found.node.second_sender,
        "chosen_is_silent": found.node.sender_silent,
        "chosen": moment(found.sender_chosen_at, now_ms),
        "chosen_by": found.sender_chosen_by,
        "of": of,
        "is_open": of in found.node.classes,
        "empty": why_empty(found, of),
        "sealed": sealed_rows(found.sealed, now_ms=now_ms),
        "sealed_here": next(
            (one for one in sealed_rows(found.sealed, now_ms=now_ms) if one.of == of), None
        ),
    }
