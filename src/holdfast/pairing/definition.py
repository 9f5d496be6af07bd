"""The kind of actor `pairing`: its `Definition`.

Its own logic is the event of an effect's outcome: a failure is certain only where the executor says
so.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.actors.definition import SELF, Definition, EffectCall, Letter
from holdfast.actors.ports import arrival_of
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent
from holdfast.letters.instances import InstanceDestroyed
from holdfast.pairing import actions, events, ports
from holdfast.pairing.apply import apply
from holdfast.pairing.invariants import INVARIANTS
from holdfast.pairing.reconcile import deadline, reconcile
from holdfast.pairing.requests import request_id
from holdfast.pairing.state import Pairing, by_serial, decode_state, empty, encode_state
from holdfast.pairing.views import views

KIND: Final = "pairing"
INSTANCE_KIND: Final = "instance"

_UNCERTAIN: Final = frozenset({ports.DOUBT, ports.MAY_RUN, "bug", "undecodable"})
"""Codes of Permanent failures after which a decision may have been carried out."""


class Policy(Struct, frozen=True):
    """Empty: pairing has no operator's settings; its rules are in the instance's state."""


def wanted(state: Pairing, call: EffectCall, _now_ms: int) -> bool:
    """Return whether a call is still the one of its decision's status."""
    known = by_serial(state, call.body.serial)
    expected = "sent" if isinstance(call.body, ports.DecideCall) else "doubted"
    return known is not None and known.status == expected


def settle(call: EffectCall, outcome: Outcome[Any]) -> events.Event:
    """Return the event of a call's outcome."""
    body = call.body
    about = {"serial": body.serial, "verb": body.verb, "request": request_id(body.asked)}
    match outcome:
        case Ok(ports.Carried(message=message, via=via)):
            return events.DecisionDone(**about, message=message, via=via)
        case Ok(ports.StillWaits()) if isinstance(body, ports.LookCall) and body.early:
            text = "the request still waits, and the order may still run"
            return events.DecisionDoubted(**about, code="still_waits", message=text)
        case Ok(ports.StillWaits()):
            text = "the machine did not answer, and the request still waits"
            return events.DecisionFailed(**about, code="not_done", message=text)
        case Ok(value):
            message = f"{type(body).__name__} was answered with {type(value).__name__}"
            raise TypeError(message)
        case failure if _is_certain(call, failure):
            return events.DecisionFailed(**about, code=failure.code, message=failure.message)
        case failure:
            runs = isinstance(body, ports.DecideCall) and failure.code != ports.DOUBT
            return events.DecisionDoubted(
                **about, code=failure.code, message=failure.message, runs=runs
            )


def _is_certain(call: EffectCall, failure: Failure) -> bool:
    """Return whether the failure means that the decision was not carried out."""
    if isinstance(call.body, ports.LookCall):
        return False
    if failure.code == "expired":
        return call.attempt <= 1
    return isinstance(failure, Permanent) and failure.code not in _UNCERTAIN


def received(sender: Address, letter: Letter) -> events.Event:
    """Return the event of a letter; raise ValueError for an unsupported one."""
    match letter.body:
        case InstanceDestroyed(account=account) if sender == (INSTANCE_KIND, letter.to.id):
            return events.InstanceGone(account)
        case other:
            message = f"{sender} may not write {type(other).__name__} to {letter.to}"
            raise ValueError(message)


def _entity(state: Pairing, _key: str) -> bytes | None:
    return None if state == empty(state.instance) else encode_state(state)


PAIRING: Final[Definition[Pairing, events.Event, actions.Action, Policy]] = Definition(
    kind=KIND,
    found_at="holdfast.pairing.definition:PAIRING",
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
    exists=lambda state: bool(state.decisions),
    account=lambda state: state.account,
    views=views,
    entity=_entity,
    entities=lambda _state: (SELF,),
    invariants=INVARIANTS,
    encode_effect=ports.encode_body,
    decode_effect=ports.decode_body,
    wanted=wanted,
    settle=settle,
    received=received,
    encode_policy=msgspec.json.Encoder().encode,
    decode_policy=msgspec.json.Decoder(Policy).decode,
)

arrival: Final = partial(arrival_of, PAIRING)
