"""The tick record: what one tick was given, what it decided, and what it left undone.

It is kept beside the log so that `explain` and replay need no guess, and it is small: what was
suppressed is counted by (rule, because), and only entities whose reason changed are named. It
holds no content and no secret, because events hold none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from holdfast.actors.ports import EventOutcome


class Input(Struct, frozen=True, gc=False, omit_defaults=True):
    """One pending event that the tick took, and what became of it."""

    event: str
    outcome: EventOutcome
    code: str = ""
    message: str = ""


class Decision(Struct, frozen=True, omit_defaults=True):
    """One action of the plan and how it went.

    `name` is the action's type, `args` the action itself. `conflict` found something other than
    it expected, which is then in `found`; `fault` raised, and `found` says what.
    """

    rule: str
    reason: str
    name: str
    entity: str
    args: dict[str, Any]
    result: Literal["done", "conflict", "fault"] = "done"
    found: Any = None
    effects: tuple[str, ...] = ()


class Withheld(Struct, frozen=True, gc=False):
    """How many entities a rule left alone for one reason."""

    rule: str
    because: str
    count: int


class Note(Struct, frozen=True, gc=False):
    """Something that should not be: a broken invariant (numbered) or a fault of the rules (0)."""

    number: int
    entity: str
    text: str


class TickRecord(Struct, frozen=True, omit_defaults=True):
    """One tick. `basis` is the last seq before it; digests are hexadecimal."""

    actor: str
    number: int
    now_ms: int
    basis: int
    seq: int
    digest: str
    policy: str
    code: str
    state_version: int
    inputs: tuple[Input, ...] = ()
    decisions: tuple[Decision, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    changed_reasons: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    deadline_ms: int | None = None
    phases_us: tuple[int, ...] = ()


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(TickRecord).decode
