"""The inbox of pairing requests: the senders, the possible actions, and lists not complete.

The page of the inbox shows all of it, an instance's page its own, and every page the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from holdfast.web.api import Missing
from holdfast.web.limits import HISTORY_ENTRIES
from holdfast.web.page import Context
from holdfast.web.parts.decisions import DECIDED, DecisionRow, decision_row, newest, settled
from holdfast.web.parts.moments import Moment, deadline, moment, parse_ms
from holdfast.web.parts.words import channel_words, element_id
from holdfast.wire.api.call import Call
from holdfast.wire.api.pairing import (
    PairingHistory,
    PairingInbox,
    PairingRequest,
)
from holdfast.wire.times import parse_time

NOBODY: Final = PairingInbox(items=(), total=0)
"""Shown when the inbox cannot be read."""


class Fact(NamedTuple):
    """A named value of a request; a code is set so that it can be compared letter by letter."""

    name: str
    value: str
    is_code: bool = False


class Order(NamedTuple):
    """Where a decision is sent, and what is sent."""

    url: str
    body: dict[str, Any]


class RequestRow(NamedTuple):
    """One request that waits.

    `deciding` says what is under way, `doubt` why what is shown may not be so.
    """

    key: str
    kind: str
    instance: str
    href: str
    who: str
    said: str
    channel: str
    asked: Moment | None
    expires: Moment | None
    facts: tuple[Fact, ...]
    deciding: str
    doubt: str
    approve: Order
    remember: Order
    dismiss: Order


class Trouble(NamedTuple):
    """An instance of which not everything is known."""

    instance: str
    href: str
    text: str
    at: Moment | None


class Inbox(NamedTuple):
    """The whole page; `more` is how many wait beyond those shown."""

    requests: tuple[RequestRow, ...]
    troubles: tuple[Trouble, ...]
    decisions: tuple[DecisionRow, ...]
    total: int
    more: int

    def ends_ms(self) -> int | None:
        """Return when the first request expires, or None where none does."""
        ends = [
            parse_ms(row.expires.iso) for row in self.requests if row.expires and row.expires.iso
        ]
        return min(ends, default=None)


def request_row(found: PairingRequest, *, now_ms: int, doubt: str = "") -> RequestRow:
    """Return one request; a device has no name of its own, so it is named by what it runs on."""
    is_device = found.kind == "device"
    name = found.sender_name or (found.client or found.platform if is_device else "")
    base = f"/api/instances/{found.instance}/pairing"
    body = {"request_id": found.request_id}
    if found.fingerprint:
        body["fingerprint"] = found.fingerprint  # what is shown is what is decided about
    deciding = DECIDED[found.deciding].text if found.deciding else ""
    return RequestRow(
        key=element_id("ask", found.instance, found.request_id),
        kind=found.kind,
        instance=found.instance_name or found.instance,
        href=f"{f'/instances/{found.instance}'}#pairing",
        who=name or found.sender,
        said=found.sender if name and not is_device else "",
        channel="A device" if is_device else channel_words(found.channel),
        asked=moment(found.created_at, now_ms),
        expires=deadline(found.expires_at, now_ms),
        facts=_facts(found),
        deciding=deciding,
        doubt=f"The last try failed: {found.error}" if found.error else doubt,
        approve=Order(f"{base}/approve", body),
        remember=Order(f"{base}/approve", body | {"remember": True}),
        dismiss=Order(f"{base}/dismiss", body),
    )


def _facts(found: PairingRequest) -> tuple[Fact, ...]:
    """Return what else is known, in a fixed order."""
    listed = (
        Fact("code", found.code, is_code=True),
        Fact("account", found.channel_account),
        Fact("platform", found.platform),
        Fact("client", found.client),
        Fact("role", found.role),
        Fact("may", ", ".join(found.scopes)),
        Fact("device", found.sender if found.kind == "device" else "", is_code=True),
    )
    return tuple(fact for fact in listed if fact.value)


def inbox(
    found: PairingInbox, histories: Mapping[str, tuple[str, PairingHistory]], *, now_ms: int
) -> Inbox:
    """Return the page; `histories` are those of some instances by id, with their names."""
    waiting = [each for each in found.items if not _is_over(each.expires_at, now_ms)]
    doubted = {each.instance for each in found.troubles}
    return Inbox(
        requests=tuple(
            request_row(
                each,
                now_ms=now_ms,
                doubt="Its agent could not be asked again; this may be old."
                if each.instance in doubted
                else "",
            )
            for each in waiting
        ),
        troubles=tuple(
            Trouble(
                instance=each.instance_name or each.instance,
                href=f"/instances/{each.instance}",
                text=each.error,
                at=moment(each.at, now_ms),
            )
            for each in found.troubles
        ),
        decisions=newest(
            decision_row(entry, instance=instance, name=name, now_ms=now_ms)
            for instance, (name, history) in histories.items()
            for entry in settled(history.entries)
        ),
        total=found.total - (len(found.items) - len(waiting)),
        more=max(0, found.total - len(found.items)),
    )


def _is_over(iso: str | None, now_ms: int) -> bool:
    """Return whether a request has expired, also if no event recorded it yet."""
    ends_ms = parse_time(iso)
    return ends_ms is not None and ends_ms <= now_ms


async def waiting(context: Context, call: Call) -> PairingInbox:
    """Return how many wait, in all and for each instance; none where that is unknown."""
    return await context.api.ask_or(call, "pairing.inbox", NOBODY, query={"limit": "1"})


async def history(context: Context, call: Call, instance: str) -> PairingHistory | Missing:
    """Return an instance's newest decisions."""
    return await context.api.attempt(
        call,
        "pairing.history",
        PairingHistory,
        path={"id": instance},
        query={"limit": str(HISTORY_ENTRIES)},
    )
