"""Actions of consent, and their intents and effects."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgspec import Struct

from holdfast.actors.definition import SELF, At, Effect, Work
from holdfast.consent import events, ports
from holdfast.consent.apply import unsigned
from holdfast.consent.limits import DELETE_VALID_MS, SIGN_VALID_MS
from holdfast.consent.state import Node, Waiting, granted
from holdfast.wire.consent import ContentClass, encode_document, to_base64url

SIGNER: Final = "consent-sign"
"""The provider of signatures, apart from that of deletions: those may take minutes each."""
DELETER: Final = "consent-delete"
SIGN_LANE: Final = "sign"
DELETE_LANE: Final = "delete"


class Expect(Struct, frozen=True, gc=False):
    """What a rule saw: a try of a document or deletion, or what is granted or waits to be."""

    tries: int = 0
    classes: tuple[ContentClass, ...] = ()
    waiting: Waiting | None = None


class _Action(Struct, frozen=True, kw_only=True):
    """Fields of every action; `number` is that of a document, or the serial of a deletion."""

    rule: str
    reason: str
    expect: Expect
    entity: str = SELF
    number: int = 0


class WriteGrant(_Action, frozen=True, kw_only=True):
    """Write the grant that an intent or a connection gives."""


class Expire(_Action, frozen=True, kw_only=True):
    """End grants whose time is over."""

    classes: tuple[ContentClass, ...]


class Sign(_Action, frozen=True, kw_only=True):
    """Have a document signed."""


class Delete(_Action, frozen=True, kw_only=True):
    """Have stored content deleted."""


Action: TypeAlias = WriteGrant | Expire | Sign | Delete


def expect_sign(state: Node, number: int) -> Expect:
    """Return what a rule sees of a document that waits; -1 tries where it does not."""
    known = unsigned(state, number)
    return Expect(tries=-1 if known is None else known.tries)


def expect_delete(state: Node, serial: int) -> Expect:
    """Return what a rule sees of a deletion; -1 tries where it is over."""
    known = next((one for one in state.deletions if one.serial == serial), None)
    return Expect(tries=-1 if known is None else known.tries)


def found(state: Node, action: Any) -> Expect:
    """Return what an action's expectation is compared with."""
    match action:
        case WriteGrant():
            return Expect(waiting=state.waiting)
        case Expire():
            return Expect(classes=granted(state))
        case Sign(number=number):
            return expect_sign(state, number)
        case _:
            return expect_delete(state, action.number)


def act(state: Node, action: Action, _policy: Any, at: At) -> Work:
    """Return the intent of an action, and its effect."""
    match action:
        case WriteGrant():
            return Work(intents=(_grant(state, at),))
        case Expire(classes=classes):
            return Work(intents=(events.ConsentExpired(classes),))
        case Sign(number=number):
            known = unsigned(state, number)
            assert known is not None
            payload = to_base64url(encode_document(known.document))
            body = ports.SignCall(number, payload)
            effect = _effect(SIGN_LANE, SIGNER, body, at.now_ms + SIGN_VALID_MS)
            return Work(intents=(events.DocumentSent(number),), effects=(effect,))
        case Delete(number=serial):
            call = ports.DeleteCall(serial, state.deletions[0].classes)
            effect = _effect(DELETE_LANE, DELETER, call, at.now_ms + DELETE_VALID_MS)
            return Work(intents=(events.DeletionSent(serial),), effects=(effect,))


def _grant(state: Node, at: At) -> events.ConsentGranted:
    """Return the grant of an intent: nobody chose to let out older content, so none is."""
    waiting = state.waiting
    assert waiting is not None
    return events.ConsentGranted(
        classes=waiting.classes,
        by=waiting.by,
        credential=waiting.credential,
        backfill_from_ms=at.now_ms,
        address=waiting.address,
        reason=waiting.reason,
    )


def _effect(lane: str, provider: str, body: ports.Body, valid_until_ms: int) -> Effect:
    return Effect(lane=lane, provider=provider, body=body, epoch=0, valid_until_ms=valid_until_ms)
