"""The state of an instance's pairing: its policy, and the decisions that are kept.

A decision is kept until no source can list its request any more (`forget_ms`). `epoch` grows with
each change that invalidates older lists. Waiting requests are not here: the machine has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.pairing.policy import Rule
from holdfast.pairing.requests import Asked

Mode: TypeAlias = Literal["manual", "rules"]
Verb: TypeAlias = Literal["approve", "dismiss"]
Status: TypeAlias = Literal["asked", "sent", "doubted", "done", "failed"]
"""`asked`: to be sent. `sent`: in flight. `doubted`: it may have been carried out, which is to be
checked. `done`, `failed`: over."""

STATE_VERSION = 1


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One decision about one request. Times are ms since the epoch.

    `until_ms` is when its present status ends by itself, `forget_ms` when it may be removed.
    Before `runs_until_ms` an order whose answer was lost may still be carried out.
    `asked` is kept only while it may have to be sent. `rule` is the id of the rule that decided,
    `remember` is a rule to add when it is done.
    """

    serial: int
    verb: Verb
    status: Status
    marks: tuple[str, ...]
    at_ms: int
    until_ms: int
    forget_ms: int
    by: str = ""
    rule: str = ""
    tries: int = 0
    code: str = ""
    message: str = ""
    via: str = ""
    asked: Asked | None = None
    remember: Rule | None = None
    runs_until_ms: int = 0


class Pairing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One instance's pairing; `gone` when the instance is destroyed."""

    instance: str
    account: str = ""
    epoch: int = 0
    serial: int = 0
    mode: Mode = "manual"
    policy_version: int = 0
    rules: tuple[Rule, ...] = ()
    decisions: tuple[Decision, ...] = ()
    gone: bool = False


OPEN = frozenset({"asked", "sent", "doubted"})
HIDING = frozenset({"done", "doubted"})
"""Statuses in which a decision's request is not shown: it may not be waiting any more."""


def empty(instance: str) -> Pairing:
    """Return the state before the first event."""
    return Pairing(instance=instance)


def decided(state: Pairing, marks: Iterable[str]) -> Decision | None:
    """Return the decision about the request with any of these marks, the newest."""
    wanted = set(marks)
    for decision in reversed(state.decisions):
        if wanted.intersection(decision.marks):
            return decision
    return None


def by_serial(state: Pairing, serial: int) -> Decision | None:
    """Return a decision by its number."""
    return next((one for one in state.decisions if one.serial == serial), None)


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Pairing)


def encode_state(state: Pairing) -> bytes:
    """Return the state as JSON, the same bytes for the same state."""
    return _encode(state)


def decode_state(body: bytes, version: int) -> Pairing:
    """Return a stored state; raise ValueError for an unknown version."""
    if version > STATE_VERSION:
        message = f"pairing state of version {version}; this code knows {STATE_VERSION}"
        raise ValueError(message)
    return _decoder.decode(body)
