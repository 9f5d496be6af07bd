"""Values of observed nodes: keys, nodes, and rows to write. Pure.

Times are milliseconds since the epoch. `account` is the name of the owning account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct, field

from holdfast.content.senders import Senders, resends
from holdfast.wire.api.content import RefusedWhy
from holdfast.wire.consent import ContentClass

SEALED: Final = "sealed"
"""The stream of sealed bodies of a class: they do not say what they are of."""
SESSION: Final = "session:"
CRON: Final = "cron:"
FILE: Final = "file:"
DAY: Final = "day:"
OTHER: Final = "other:"
LOG: Final = "log"

ABOUT: Final = b"about"
"""The identity of what is known of a session, job or day: its stream has one such row."""

Keep: TypeAlias = Literal["once", "latest", "version"]
"""How rows of one stream relate: `once` keeps each identity once; `latest` replaces the row of the
same identity; `version` adds one where it differs from the newest."""


class NodeKey(Struct, frozen=True, kw_only=True):
    """One key.

    `node` is the only name that it is valid for, empty for any node of the account. `created_with`
    is the credential of a person who made it, empty where a program registered.
    """

    id: str
    hash: str
    name: str
    account: str
    node: str = ""
    instance: str = ""
    source: str = ""
    created_ms: int = 0
    created_by: str = ""
    created_with: str = ""
    last_used_ms: int | None = None
    revoked_ms: int | None = None

    def __repr__(self) -> str:
        """Return a form without the hash."""
        return f"NodeKey(id={self.id!r}, account={self.account!r})"


class Refused(Struct, gc=False):
    """How much of one class was not stored, for one reason."""

    requests: int = 0
    bytes: int = 0
    first_ms: int = 0
    last_ms: int = 0


class Node(Struct, kw_only=True):
    """One observed node, as it is in memory and, at the last flush, in the file.

    `gap_from_ms` is since when transcripts were refused that the client will not send again; 0 for
    none. `stored_bytes` counts the bodies that are kept, `intents_refused` the times that its key
    alone asked for what only its owner may. The last five are in memory alone: what the last
    heartbeat was answered, when consent was last told of the node, and the largest body that its
    quota had no room for.
    """

    no: int
    id: str
    account: str
    name: str
    key: str
    instance: str = ""
    first_ms: int = 0
    heard_ms: int = 0
    version: str = ""
    platform: str = ""
    facts: dict[str, str] = field(default_factory=dict[str, str])
    gap_from_ms: int = 0
    stored_bytes: int = 0
    refused: dict[tuple[ContentClass, RefusedWhy], Refused] = field(
        default_factory=dict[tuple[ContentClass, RefusedWhy], Refused]
    )
    intents_refused: int = 0
    senders: Senders = field(default_factory=Senders)
    told_seen: bool = False
    told_allowed: bool = False
    told_preview: int = 0
    registered_try_ms: int = 0
    unfit_bytes: int = 0

    def resends(self) -> bool:
        """Return whether its client keeps what is answered with 403, and sends it again."""
        return resends(self.version)


class Usage(NamedTuple):
    """What an agent used of one model in one day; `reported` is what it said that this cost.

    Money is whole millionths of a unit of a currency. `model` is empty where the agent named none.
    """

    model: str
    turns: int
    tool_calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    reported: int


class UsageSum(NamedTuple):
    """Sums of `Usage`, of one node or day where they were grouped so (else 0 and empty).

    What agents reported a cost of is summed apart from what they did not.
    """

    node: int
    day: str
    model: str
    turns: int
    tool_calls: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    reported: int


class Row(NamedTuple):
    """One row of content: its stream, its identity there, and its body.

    The body of a sealed row is the blob as it was sent; any other is JSON. `usage` is what the body
    of a day of counters says, to be summed; it is stored and deleted with its row.
    """

    stream: str
    keep: Keep
    identity: bytes
    at_ms: int
    sealed: bool
    body: bytes
    usage: Sequence[Usage] = ()


class Written(NamedTuple):
    """What became of admitted rows; `added_bytes` may be negative where rows were replaced."""

    stored: int
    deduplicated: int
    added_bytes: int


class StreamRow(NamedTuple):
    """One stream of a node: a session, a job, a file, or the sealed bodies of a class."""

    no: int
    of: ContentClass
    name: str
    rows: int
    size: int
    first_ms: int
    last_ms: int


class SessionRow(NamedTuple):
    """One session; `about` is its metadata as it was sent, empty for none. `no` is its number."""

    no: int
    name: str
    events: int
    size: int
    first_ms: int
    last_ms: int
    about: bytes


class AboutRow(NamedTuple):
    """What is known of one job: its stream's number and name, and the row that is kept of it."""

    no: int
    name: str
    received_ms: int
    body: bytes


class ItemRow(NamedTuple):
    """One stored row."""

    no: int
    at_ms: int
    received_ms: int
    sealed: bool
    body: bytes


class Stored(NamedTuple):
    """What is stored of a node in one class, sealed or not."""

    of: ContentClass
    sealed: bool
    rows: int
    size: int
    first_ms: int
    last_ms: int


class Purged(NamedTuple):
    """What a purge deleted: rows, and the bytes by node."""

    rows: int
    freed: Sequence[tuple[int, int]]


class BrowserKey(Struct, frozen=True, kw_only=True):
    """The public key of one browser of an account, or of a recovery code."""

    account: str
    id: str
    name: str
    kind: Literal["browser", "recovery"]
    public_key: str
    locked: str
    created_ms: int
    created_by: str
    revoked_ms: int | None = None


CopyObstacle: TypeAlias = Literal["", "no_browser", "not_alone", "known", "full"]
"""Why a copy was not added, empty where it was."""


class SealedKey(Struct, frozen=True, kw_only=True):
    """A content key of a node that is sealed to a browser; `node` is the node's id."""

    account: str
    browser: str
    node: str
    key_id: str
    sealed: str
    at_ms: int
    by: str
