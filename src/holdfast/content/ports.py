"""Ports of content: its store, the consent of nodes, long polls, proofs of machines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from holdfast.content import limits
from holdfast.content.gate import Admitted
from holdfast.content.records import (
    AboutRow,
    BrowserKey,
    CopyObstacle,
    ItemRow,
    Node,
    NodeKey,
    Purged,
    Refused,
    SealedKey,
    SessionRow,
    Stored,
    StreamRow,
    UsageSum,
    Written,
)
from holdfast.wire.api.content import RefusedWhy
from holdfast.wire.consent import ContentClass, Standing

Entropy: TypeAlias = Callable[[int], bytes]
"""Returns as many random bytes."""


class Machine(NamedTuple):
    """An instance's machine that proved itself."""

    instance: str
    account: str


ProveMachine: TypeAlias = Callable[[Mapping[str, str], str, int], Machine | None]
"""Returns the machine that headers prove for a sandbox at a time; None where they carry no
credentials. Refuses (401, 403) wrong ones."""


class Consents(Protocol):
    """The consent of nodes, from memory: it never waits and never loads anything."""

    def standing(self, node: str) -> Standing:
        """Return the node's standing; `UNKNOWN` for an unknown one, and where nothing is known."""
        ...


class Nodes(Protocol):
    """Where consent is told of nodes."""

    async def register(
        self,
        account: str,
        name: str,
        *,
        instance: str,
        source: Literal["auto", "person"],
        by: str,
        credential: str,
    ) -> str:
        """Return the id of a node that is registered now; where a person connected it, granted."""
        ...

    async def intent(self, node: str, *, by: str, credential: str, address: str = "") -> bool:
        """Return whether somebody's wish to see the node was known already.

        Raise Refusal (403) for a credential that may not express it.
        """
        ...

    def numbers_seen(self, node: str, number: int) -> None:
        """Note the number of the newest signed document that a node has."""
        ...


class Wakes(Protocol):
    """Long polls by node."""

    async def wait(self, node: str, timeout_s: float) -> bool:
        """Return after a wake or the time; False at once where too many are held."""
        ...

    def wake(self, node: str) -> None:
        """End every poll of this node."""
        ...


class Kept(NamedTuple):
    """Everything that the directory keeps in memory. `refused` has a node's number first.

    `last_no` is the highest number of a node that anything was stored of.
    """

    keys: Sequence[NodeKey]
    nodes: Sequence[Node]
    refused: Sequence[tuple[int, ContentClass, RefusedWhy, Refused]]
    last_no: int


class ItemQuery(NamedTuple):
    """A page of one stream: rows after (`at_ms`, `no`) in its order.

    It ends at `limit` rows, and before the row whose body would make it more than `bytes_max`; the
    first row is in it whatever its size.
    """

    node: int
    of: ContentClass
    name: str
    at_ms: int
    no: int
    limit: int
    newest_first: bool = False
    bytes_max: int = limits.PAGE_BYTES_MAX


class ItemPage(NamedTuple):
    """Rows of one page, and whether the stream has more after them."""

    rows: Sequence[ItemRow]
    more: bool


UsageBy: TypeAlias = Literal["day", "node"]
"""What sums of usage are grouped by, besides the model."""


class UsageQuery(NamedTuple):
    """Sums of what nodes used from one day through another, `2026-11-30`."""

    nodes: Sequence[int]
    by: UsageBy
    first: str
    last: str


class BrowserKeyStore(Protocol):
    """Where keys of browsers and what is sealed to them are kept. Changes are durable on return."""

    async def browsers(self, account: str | None, *, limit: int) -> Sequence[BrowserKey]:
        """Return keys of browsers of an account or of all, the newest first."""
        ...

    async def browsers_of_id(self, account: str | None, browser: str) -> Sequence[BrowserKey]:
        """Return the keys with an id, of an account or of all: one of each account at most."""
        ...

    async def add_browser(self, key: BrowserKey) -> bool:
        """Add a key; return False where the account has no room or has had this one."""
        ...

    async def revoke_browser(self, account: str, browser: str, now_ms: int) -> None:
        """Revoke a key, delete its copies and what it locks; the first time stays."""
        ...

    async def sealed_keys(self, node: str, account: str) -> Sequence[SealedKey]:
        """Return what is sealed of a node's keys, the newest first."""
        ...

    async def add_sealed_key(
        self, key: SealedKey, *, renews: bool, alone: bool = False
    ) -> CopyObstacle:
        """Add a copy; return why not, if not.

        `renews`: it replaces one of its key id, and the oldest beyond the bound, that the same
        giver gave. No copy of another giver's is ever replaced or deleted. `alone`: only while no
        other browser has a copy of the node.
        """
        ...


class ContentStore(BrowserKeyStore, Protocol):
    """The store of nodes, keys and content. Changes are durable on return."""

    @property
    def past_changes(self) -> int:
        """Return how often what was used on a day before that of a change has changed."""
        ...

    async def load(self) -> Kept:
        """Return what the directory keeps in memory."""
        ...

    async def add_key(self, key: NodeKey, *, superseded: Sequence[str] = ()) -> None:
        """Add a key and delete those that it supersedes, by their ids; all or none."""
        ...

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key; the first time stays."""
        ...

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        ...

    async def put_nodes(self, nodes: Sequence[Node]) -> None:
        """Replace the rows of nodes and their refused counts, by number; all or none."""
        ...

    async def write(self, admitted: Admitted) -> Written:
        """Write admitted rows in one commit: all or none."""
        ...

    async def delete(self, node: int, classes: Sequence[ContentClass]) -> dict[ContentClass, int]:
        """Delete what is stored of a node in these classes; return how many rows, by class."""
        ...

    async def purge(self, before_ms: int, *, counters_before_ms: int) -> Purged:
        """Delete some rows received before, of counters before another time; no rows when done."""
        ...

    async def stored(self, node: int) -> Sequence[Stored]:
        """Return how much is stored of a node, by class."""
        ...

    async def sessions(
        self, node: int, *, below_ms: int, below: int, limit: int
    ) -> Sequence[SessionRow]:
        """Return sessions below (`below_ms`, `below`), the latest first."""
        ...

    async def streams(
        self, node: int, *, of: ContentClass | None, after: int, limit: int
    ) -> Sequence[StreamRow]:
        """Return streams after a number, of one class or all."""
        ...

    async def jobs(self, node: int, *, after: int, limit: int) -> Sequence[AboutRow]:
        """Return the cron jobs of a node after the number of a stream."""
        ...

    async def items(self, query: ItemQuery) -> ItemPage:
        """Return rows of one stream, by their time; no body beyond the page is read."""
        ...

    async def usage(self, query: UsageQuery) -> Sequence[UsageSum]:
        """Return sums of each group and model, with a reported cost and without."""
        ...

    async def budgets(self) -> Sequence[tuple[int, bytes]]:
        """Return the stored budgets of nodes, by their numbers."""
        ...

    async def put_budget(self, node: int, body: bytes | None) -> None:
        """Replace the budget of a node; None deletes it."""
        ...

    async def close(self) -> None:
        """Finish submitted work and release the resources."""
        ...
