"""Shared by handlers of every subject: send an event to an actor, answer, page, refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from msgspec import json, structs

from holdfast.actors.limits import ANSWER_WAIT_MS
from holdfast.actors.ports import (
    Answer,
    Arrival,
    KeyReusedError,
    Mailboxes,
    MailboxFullError,
    Reader,
)
from holdfast.kernel.chance import Chance
from holdfast.kernel.ids import Address, address
from holdfast.wire import parsers
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.api.operations import Pending
from holdfast.wire.limits import PAGE_ITEMS_MAX

AccountExists: TypeAlias = Callable[[str], Awaitable[bool]]
"""Returns whether an account exists."""

PAGE_DEFAULT: Final = 100
"""Rows of a page when the caller names no `limit`."""

CURSOR_MAX: Final = 2**62
"""A number of a cursor beyond every row: a list that goes down begins there."""

_OFFSET_MAX: Final = 10**15 - 1
"""The largest offset of a page: beyond every list there is, and small enough to be added to."""


async def ask(
    call: Call,
    event: Any,
    *,
    mailboxes: Mailboxes,
    chance: Chance,
    actor: Address,
    arrival: Callable[..., Arrival],
    dedupe: str,
) -> Answer:
    """Send an event to an actor, once for each Idempotency-Key of the caller.

    `arrival` makes the row of the actor's kind. Refuse (429) when too many wait, and (422)
    a key that came before with another body.
    """
    key = call.idempotency_key
    unique = f"{caller(call.principal)}:{key}" if key else chance.uuid()
    row = arrival(
        event,
        dedupe=f"{dedupe}:{unique}",
        source="cli" if call.principal.kind == "local" else "api",
        by=call.principal.name,
    )
    if key:
        row = structs.replace(row, asked=_digest(key, call.body))
    try:
        return await mailboxes.ask(actor, row, wait_ms=ANSWER_WAIT_MS)
    except MailboxFullError as error:
        text = f"Too many orders wait for this {actor.kind}."
        raise Refusal(429, "mailbox_full", text, fix="Wait a second.", retry_after_s=1) from error
    except KeyReusedError as error:
        raise Refusal(
            422, "idempotency_key_reused", "This Idempotency-Key came before with another body.",
            field="idempotency-key", fix="Send a new key with a new body, or the same body again.",
        ) from error  # fmt: skip


def _digest(key: str, body: Any) -> str:
    """Return a keyed digest of a body. The key is not stored, so no secret can be guessed."""
    said = json.encode(body, order="deterministic")
    return hashlib.blake2b(said, digest_size=16, key=key.encode()[:64]).hexdigest()


def caller(who: Principal) -> str:
    """Return who a caller is, as receipts and the scope of its Idempotency-Keys name it.

    A token is named by its id, since names may repeat; a session by its person, since its id is the
    hash of its secret.
    """
    return f"{who.kind}:{who.token_id if who.kind == 'token' else who.name}"


def pending(answer: Answer) -> Reply:
    """Return 202 with the path of the operation."""
    url = f"/api/operations/{answer.event}"
    return Reply(Pending(operation=answer.event, url=url), status=202, headers={"location": url})


def refuse_if_refused(answer: Answer) -> None:
    """Raise the refusal of the fold, if it refused."""
    stamp = answer.stamp
    if stamp is None:
        return
    if stamp.outcome == "refused":
        raise Refusal(409, stamp.code, stamp.message)
    if stamp.outcome in {"quarantined", "dropped"}:
        text = f"The order raised {stamp.code} and is in quarantine."
        raise Refusal(500, "quarantined", text, fix="An operator can look at it and retry.")


def page_limit(call: Call) -> int:
    """Return how many rows a page may have: as many as the caller names, within bounds."""
    return min(call.number("limit", PAGE_DEFAULT), PAGE_ITEMS_MAX)


def bad_cursor() -> Refusal:
    """Return the refusal (400) of a cursor that no page of the list has."""
    return Refusal(
        400, "bad_parameter", "`after` is not a cursor of this list", field="after",
        fix="send `next` of the page before",
    )  # fmt: skip


def cursor(call: Call, parts: int, start: int = CURSOR_MAX) -> tuple[int, ...]:
    """Return the numbers of a page's cursor, `start` for each where there is none."""
    given = call.query.get("after", "")
    numbers = parsers.wholes(given, parts) if given else (start,) * parts
    if numbers is None:
        raise bad_cursor()
    return numbers


def page_offset(cursor: str) -> int:
    """Return where a page begins; refuse (400) an invalid cursor."""
    if not cursor:
        return 0
    offset = parsers.whole(cursor.removeprefix("o"), most=_OFFSET_MAX)
    if cursor[0] != "o" or offset is None:
        raise Refusal(400, "bad_cursor", "This is not the `next` of a page.", field="after")
    return offset


def page_cursor(offset: int) -> str:
    """Return the `next` of a page after which `offset` follows."""
    return f"o{offset}"


def missing(noun: str, *, field: str = "", fix: str = "") -> Refusal:
    """Return the refusal (404) of what does not exist or is not visible to the caller."""
    return Refusal(404, f"no_such_{noun}", f"There is no such {noun}.", field=field, fix=fix)


async def visible(
    call: Call, reader: Reader, view: str, key: str, *, noun: str
) -> tuple[bytes, str, int]:
    """Return a view's row as (body, account, seq); refuse (404) what the caller may not see."""
    row = await reader.view(view, key)
    if row is None or call.principal.account not in {None, row[1]}:
        raise missing(noun)
    return row


def listed_account(call: Call) -> str | None:
    """Return whose things a list shows: the caller's, or an operator's choice, None for all.

    Refuse (404) another account's.
    """
    own, asked = call.principal.account, call.query.get("account")
    if asked and own not in {None, asked}:
        raise missing("account", field="account")
    return own or asked


async def account_to_create_in(
    call: Call, asked: str, *, default: str, exists: AccountExists
) -> str:
    """Return the account that something new belongs to; refuse (404) another's or an unknown one.

    `default` is an operator's where none is asked for.
    """
    own = call.principal.account
    account = asked or own or default
    if own not in {None, account} or not await exists(account):
        raise missing("account", field="account")
    return account


def actor_of(kind: str, name: str, *, noun: str) -> Address:
    """Return the address of the actor that a caller named; refuse (404) a malformed id."""
    try:
        return address(kind, name)
    except ValueError:
        raise missing(noun) from None
