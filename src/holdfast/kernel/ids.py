"""Typed identifiers and the derivation of new ones.

Each kind of id has a type of its own, so that a type checker catches a mix-up.
Ids made by an actor are not random: `derive` makes the same id from the same parts, so that a dry
run, a replay and the live loop give the same thing the same id.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple, NewType

ActorKind = NewType("ActorKind", str)
ActorId = NewType("ActorId", str)
EventId = NewType("EventId", str)

ID_BYTES: Final = 12
"""Bytes of a derived id: 96 bits, so that 10^9 ids collide with a chance below 10^-11."""

_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")


class Address(NamedTuple):
    """The address of an actor: its kind and its id within the kind, written `kind/id`."""

    kind: ActorKind
    id: ActorId

    def __str__(self) -> str:
        """Return `kind/id`, the form in stores and logs."""
        return f"{self.kind}/{self.id}"


def address(kind: str, actor_id: str) -> Address:
    """Return the address of an actor; raise ValueError when either half is malformed."""
    if not _KIND.fullmatch(kind):
        message = f"kind {kind!r}: want a lower-case word of at most 32 letters, digits and hyphens"
        raise ValueError(message)
    if not _ID.fullmatch(actor_id):
        message = f"id {actor_id!r}: want 1 to 128 letters, digits or any of _ . : @ -"
        raise ValueError(message)
    return Address(ActorKind(kind), ActorId(actor_id))


def parse_address(text: str) -> Address:
    """Return the address written as `kind/id`; raise ValueError when it is not one."""
    kind, slash, actor_id = text.partition("/")
    if not slash:
        message = f"address {text!r}: want the form kind/id"
        raise ValueError(message)
    return address(kind, actor_id)


def derive(*parts: str | int) -> str:
    """Return the id of these parts: 24 hexadecimal digits, the same each time."""
    joined = "\x1f".join(map(str, parts))
    return hashlib.blake2b(joined.encode(), digest_size=ID_BYTES).hexdigest()
