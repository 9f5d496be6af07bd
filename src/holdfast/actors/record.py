"""The tick record: the input, the decisions and the suppressions of one tick.

It is stored beside the log for `explain` and replay. It is small: suppressions are counted by
(rule, because), and only entities whose reason changed are named. It holds no content and no
secret, because events hold none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from holdfast.actors.ports import EventOutcome


class Input(Struct, frozen=True, gc=False, omit_defaults=True):
    """One pending event that the tick took, and its result."""

    event: str
    outcome: EventOutcome
    code: str = ""
    message: str = ""


class Decision(Struct, frozen=True, omit_defaults=True):
    """One action of the plan and its result.

    `name` is the action's type, `args` the action itself. `conflict` found something other than
    it expected, which is then in `found`; `fault` raised, and `found` is the error.
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
    """How many entities a rule suppressed for one reason."""

    rule: str
    because: str
    count: int


class Note(Struct, frozen=True, gc=False):
    """A broken invariant (by its number) or an exception of the rules (0)."""

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
