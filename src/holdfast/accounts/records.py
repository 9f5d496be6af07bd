"""The rows of accounts as values.

Times are milliseconds since the epoch. A secret appears as its SHA-256 only, a password as its
argon2 text only. Nothing here can be used to sign in.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from holdfast.wire.limits import REASON_MAX

Scope = Literal["owner", "operator"]


class Account(Struct, frozen=True, kw_only=True, gc=False):
    """The owner of instances and of other actors."""

    name: str
    created_at_ms: int


class Person(Struct, frozen=True, kw_only=True, gc=False):
    """A person who may sign in; `account` is None for an operator.

    `password_hash` is empty where none was set: such a person signs in by link only.
    """

    name: str
    scope: Scope
    account: str | None
    password_hash: str = ""
    created_at_ms: int = 0

    def __repr__(self) -> str:
        """Return a form without the hash."""
        return f"Person({self.name!r}, {self.scope})"


class Session(Struct, frozen=True, kw_only=True, gc=False):
    """One signed-in browser.

    `used_at_ms` is the last stored time of a use. `bound` is a hash of the kind of browser that
    began it and of whether it used https (`BrowserSessions.bound`).
    """

    hash: str
    person: str
    created_at_ms: int
    expires_at_ms: int
    used_at_ms: int = 0
    bound: str = ""


class Token(Struct, frozen=True, kw_only=True, gc=False):
    """One API token."""

    id: str
    hash: str
    name: str
    scope: Scope
    account: str | None
    created_at_ms: int
    created_by: str
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None


class Link(Struct, frozen=True, kw_only=True, gc=False):
    """One one-time sign-in link."""

    hash: str
    person: str
    created_at_ms: int
    expires_at_ms: int


class Attempts(Struct, frozen=True, kw_only=True, gc=False):
    """Failed sign-ins in a row, of a person or from a peer."""

    failures: int = 0
    last_at_ms: int = 0


class AuditEntry(Struct, frozen=True, kw_only=True, gc=False):
    """An audited call: `begin` is written before its effect, `end` with the answer's status.

    `begins` is the number of the begin row that an end row belongs to. `key` is the caller's
    idempotency key. `target` is what `audit_target` made, or words where there was no request.
    """

    at_ms: int
    phase: Literal["begin", "end"]
    begins: int = 0
    who: str = ""
    how: str = ""
    account: str | None = None
    endpoint: str = ""
    target: str = ""
    peer: str = ""
    request_id: str = ""
    key: str = ""
    status: int = 0


def audit_target(path: str, name: str) -> str:
    """Return the target of a call: its path with ids, and the name that the instance then had.

    An id stays what it is when the name goes to another one; the name is for people, who could not
    look it up once the instance is gone. Neither contains a space.
    """
    return f"{path} {name}"[:REASON_MAX] if name else path[:REASON_MAX]


def target_parts(target: str) -> tuple[str, str]:
    """Return path and name of a target, the name empty where it has none."""
    path, _, name = target.partition(" ") if target.startswith("/") else (target, "", "")
    return path, name


class AuditRow(Struct, frozen=True, kw_only=True, gc=False):
    """An entry in its chain: `hash` covers the entry, its number and the hash before it."""

    seq: int
    before: str
    hash: str
    entry: AuditEntry


class ChainEnd(Struct, frozen=True, gc=False):
    """A row's number and hash: where a part of the chain begins or ends; 0 before the first."""

    seq: int = 0
    hash: str = "0" * 64


class KeptHead(Struct, frozen=True, kw_only=True, gc=False):
    """What is kept of the audit outside of its file: its last row, and the last one purged."""

    last: ChainEnd
    purged: ChainEnd = ChainEnd()


class Audited(NamedTuple):
    """A begin row and what its end row added: the status and, after a sign-in, the person.

    Status 0 means that no end was written: the answer is not known.
    """

    row: AuditRow
    status: int
    who: str
