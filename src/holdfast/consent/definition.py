"""The kind of actor `node`: its `Definition`, and the events of outcomes and letters."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.actors.definition import SELF, Definition, EffectCall, Letter
from holdfast.actors.ports import arrival_of
from holdfast.consent import actions, events, ports
from holdfast.consent.apply import apply, unsigned
from holdfast.consent.invariants import INVARIANTS
from holdfast.consent.reconcile import deadline, reconcile
from holdfast.consent.state import (
    Node,
    decode_state,
    empty,
    encode_kept,
    encode_row,
    encode_state,
)
from holdfast.consent.views import views
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.letters.instances import NODE, InstanceDestroyed
from holdfast.wire.consent import SignedDocument, node_of_instance

KIND: Final = NODE
INSTANCE_KIND: Final = "instance"


class Policy(Struct, frozen=True):
    """Empty: consent has no operator's settings; every decision is its owner's."""


def wanted(state: Node, call: EffectCall, _now_ms: int) -> bool:
    """Return whether a document still waits, or a deletion is still the one under way."""
    if isinstance(call.body, ports.SignCall):
        return unsigned(state, call.body.number) is not None
    return bool(state.deletions) and state.deletions[0].serial == call.body.serial


def settle(call: EffectCall, outcome: Outcome[Any]) -> events.Event:
    """Return the event of a call's outcome."""
    match call.body, outcome:
        case ports.SignCall(number=number), Ok(SignedDocument() as document):
            return events.DocumentSigned(number, document)
        case ports.DeleteCall(serial=serial), Ok(ports.Deleted(counts=counts)):
            return events.ContentDeleted(serial, counts)
        case body, Ok(value):
            message = f"{type(body).__name__} was answered with {type(value).__name__}"
            raise TypeError(message)
        case ports.SignCall(number=number), failure:
            return events.SigningFailed(number, failure.code, failure.message)
        case body, failure:
            return events.DeletionFailed(body.serial, failure.code, failure.message)


def received(sender: Address, letter: Letter) -> events.Event:
    """Return the event of a letter; raise ValueError for an unsupported one."""
    match letter.body:
        case InstanceDestroyed(account=account) if (
            sender.kind == INSTANCE_KIND and node_of_instance(account, sender.id) == letter.to.id
        ):
            return events.InstanceGone(account)
        case other:
            message = f"{sender} may not write {type(other).__name__} to {letter.to}"
            raise ValueError(message)


def _entity(state: Node, key: str) -> bytes | None:
    if key == SELF:
        return None if state == empty(state.node) else encode_row(state)
    kept = next((one for one in reversed(state.receipts) if str(one.number) == key), None)
    return None if kept is None else encode_kept(kept)


def _entities(state: Node) -> tuple[str, ...]:
    return (SELF, *(str(one.number) for one in state.receipts))


NODE_DEFINITION: Final[Definition[Node, events.Event, actions.Action, Policy]] = Definition(
    kind=KIND,
    found_at="holdfast.consent.definition:NODE_DEFINITION",
    version=events.EVENT_VERSION,
    empty=empty,
    encode_state=encode_state,
    decode_state=decode_state,
    encode_event=events.encode_event,
    decode_event=events.decode_event,
    apply=apply,
    reconcile=reconcile,
    found=actions.found,
    act=actions.act,
    deadline=deadline,
    exists=lambda state: deadline(state, None, 0) is not None,
    account=lambda state: state.account,
    views=views,
    entity=_entity,
    entities=_entities,
    invariants=INVARIANTS,
    encode_effect=ports.encode_body,
    decode_effect=ports.decode_body,
    wanted=wanted,
    settle=settle,
    received=received,
    encode_policy=msgspec.json.Encoder().encode,
    decode_policy=msgspec.json.Decoder(Policy).decode,
)

arrival: Final = partial(arrival_of, NODE_DEFINITION)
