"""What happens to an instance's pairing, in the past tense.

What people and rules decided, what was sent, and what came of it. An outcome carries the `serial`
of its decision. Events name requests by code or id, senders by their id at the channel; they hold
no message and no secret.
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
    """A person decided about a request; `remember` is the rule they want beside it."""

    account: str
    verb: Verb
    asked: Asked
    marks: tuple[str, ...]
    by: str
    forget_ms: int
    remember: Rule | None = None


class PairingSeen(Struct, frozen=True, kw_only=True, tag="PairingSeen"):
    """A request waits that a rule may let in; the fold asks the rules."""

    account: str
    request: Waiting
    forget_ms: int


class PolicySet(Struct, frozen=True, kw_only=True, tag="PairingPolicySet"):
    """Somebody set how requests are decided; with `version` only in place of that one."""

    account: str
    mode: Mode
    by: str
    rules: tuple[Rule, ...] = ()
    version: int | None = None


class InstanceGone(Struct, frozen=True, tag="PairingInstanceGone", gc=False):
    """The instance was destroyed; nothing about its pairing matters any more.

    `account` is whose it was; empty in events of before it was told.
    """

    account: str = ""


class DecisionSent(Struct, frozen=True, tag="PairingDecisionSent", gc=False):
    """A decision is about to be told to the machine."""

    serial: int


class DecisionLost(Struct, frozen=True, tag="PairingDecisionLost", gc=False):
    """Nothing was heard of a decision that was sent; whether it was done is to be found out."""

    serial: int


class LookSent(Struct, frozen=True, tag="PairingLookSent", gc=False):
    """The machine is about to be asked whether a doubted decision was done."""

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
    """A decision was certainly not carried out; the request waits on."""

    serial: int
    verb: Verb
    request: str
    code: str
    message: str


class DecisionDoubted(Struct, frozen=True, kw_only=True, tag="PairingDecisionDoubted", gc=False):
    """Whether a decision was carried out is not known; `runs` says that it may be yet."""

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
    """Return a stored event; there is one version so far, so there is nothing to upcast."""
    event: Event = _decoder.decode(body)
    return event
