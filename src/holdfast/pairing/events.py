"""Events of an instance's pairing.

Decisions of people and rules, intents, and outcomes. An outcome has the `serial` of its decision.
Events refer to requests by code or id and to senders by their id at the channel; they have no
message texts and no secrets.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from holdfast.pairing.policy import Rule
from holdfast.pairing.requests import Asked, Waiting
from holdfast.pairing.state import Mode, Verb

EVENT_VERSION = 1


class PairingDecided(Struct, frozen=True, kw_only=True, tag="PairingDecided"):
    """A person decided about a request; `remember` is the rule to add with it."""

    account: str
    verb: Verb
    asked: Asked
    marks: tuple[str, ...]
    by: str
    forget_ms: int
    remember: Rule | None = None


class PairingSeen(Struct, frozen=True, kw_only=True, tag="PairingSeen"):
    """A request waits that a rule may approve; the fold evaluates the rules."""

    account: str
    request: Waiting
    forget_ms: int


class PolicySet(Struct, frozen=True, kw_only=True, tag="PairingPolicySet"):
    """The policy was set; with `version`, only if that is the current one."""

    account: str
    mode: Mode
    by: str
    rules: tuple[Rule, ...] = ()
    version: int | None = None


class InstanceGone(Struct, frozen=True, tag="PairingInstanceGone", gc=False):
    """The instance was destroyed.

    `account` is its owner; empty in events of before the field existed.
    """

    account: str = ""


class DecisionSent(Struct, frozen=True, tag="PairingDecisionSent", gc=False):
    """Intent: a decision is sent to the machine."""

    serial: int


class DecisionLost(Struct, frozen=True, tag="PairingDecisionLost", gc=False):
    """A sent decision had no outcome in time; whether it was carried out is to be checked."""

    serial: int


class LookSent(Struct, frozen=True, tag="PairingLookSent", gc=False):
    """Intent: the machine's list is read, to check a doubted decision."""

    serial: int


class DecisionsForgotten(Struct, frozen=True, tag="PairingDecisionsForgotten", gc=False):
    """No source can list the requests of these decisions any more."""

    serials: tuple[int, ...]


class DecisionDone(Struct, frozen=True, kw_only=True, tag="PairingDecisionDone", gc=False):
    """The machine carried a decision out."""

    serial: int
    verb: Verb
    request: str
    message: str
    via: str = ""


class DecisionFailed(Struct, frozen=True, kw_only=True, tag="PairingDecisionFailed", gc=False):
    """A decision was certainly not carried out; the request still waits."""

    serial: int
    verb: Verb
    request: str
    code: str
    message: str


class DecisionDoubted(Struct, frozen=True, kw_only=True, tag="PairingDecisionDoubted", gc=False):
    """It is unknown whether a decision was carried out; with `runs` it still may be."""

    serial: int
    verb: Verb
    request: str
    code: str
    message: str
    runs: bool = False


Request: TypeAlias = PairingDecided | PairingSeen | PolicySet | InstanceGone
Intent: TypeAlias = DecisionSent | DecisionLost | LookSent | DecisionsForgotten
CallOutcome: TypeAlias = DecisionDone | DecisionFailed | DecisionDoubted
Event: TypeAlias = Request | Intent | CallOutcome

_decoder = msgspec.json.Decoder(Event)
encode_event = msgspec.json.Encoder(order="deterministic").encode


def decode_event(body: bytes, _version: int) -> Event:
    """Return a stored event; there is one version so far, without upcasts."""
    event: Event = _decoder.decode(body)
    return event
