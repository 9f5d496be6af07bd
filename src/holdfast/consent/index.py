"""The committed rows of nodes, kept in memory: what holds for a node, without a store.

A heartbeat asks for a node's standing and may wait neither for a store nor for an actor. The rows
are read once, before the engine starts, and updated with each commit. Rows stay encoded, about
1 KiB each, and are decoded when they are asked for.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.ports import Reader
from holdfast.consent.state import STATE_VERSION, Node, decode_state, granted, is_outdated, standing
from holdfast.consent.views import NODE_VIEW
from holdfast.kernel.clock import Clock
from holdfast.wire.consent import UNKNOWN, Standing

_PAGE: Final = 1_000


class _Row(NamedTuple):
    """A node's row as it was committed, and what it counts for."""

    body: bytes
    account: str
    instance: str
    number: int
    reported: int
    looked_at: bool
    is_granted: bool
    signed_with: str


class NodeIndex:
    """The committed nodes, and the port `Consents` of the intake of content.

    `damaged` are the nodes whose rows cannot be read: nothing of them is allowed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._of_instance: dict[str, str] = {}
        self._counts: dict[str, Counter[str]] = {}
        self.damaged: set[str] = set()

    async def fill(self, reader: Reader) -> None:
        """Read the rows committed before this start."""
        after = ""
        while page := await reader.views(NODE_VIEW, account=None, after=after, limit=_PAGE):
            for key, body, _seq in page:
                self._put(key, body)
            after = page[-1][0]

    def on_commit(self, committed: CommittedTick) -> None:
        """Update from a commit; the first of all listeners about nodes."""
        for row in committed.tick.views if committed.commit is not None else ():
            if row.view == NODE_VIEW:
                self._put(row.key, row.body)

    def of(self, node: str) -> Node | None:
        """Return a node without its receipts; None for an unknown one, or a damaged row."""
        row = self._rows.get(node)
        return None if row is None else _decode(row.body)

    def of_instance(self, instance: str) -> Node | None:
        """Return the node of an instance, or None where it has none yet."""
        node = self._of_instance.get(instance)
        return None if node is None else self.of(node)

    def standing(self, node: str) -> Standing:
        """Return what holds for a node now; of an unknown one, or a damaged row, no class."""
        known = self.of(node)
        if known is None:
            return UNKNOWN
        try:
            return standing(known, self._clock.now_ms())
        except (ValueError, msgspec.MsgspecError):  # a damaged document grants nothing
            return UNKNOWN

    def is_news(self, node: str, number: int) -> bool:
        """Return whether a number that a node reports is above its last, and not taken already."""
        row = self._rows.get(node)
        return row is not None and number > row.number and number != row.reported

    def outdated(self, key: str) -> Iterator[str]:
        """Yield nodes with something granted by a document that another key signed.

        Where a newer grant waits for its signature, the node is not among them.
        """
        for node in [*self._rows]:
            row = self._rows.get(node)
            if row is not None and _is_by_another(row, key):
                state = _decode(row.body)
                if state is not None and is_outdated(state, key):
                    yield node

    def signed_with_others(self, key: str) -> int:
        """Return how many nodes have something granted by a document that another key signed."""
        return sum(_is_by_another(row, key) for row in self._rows.values())

    def is_signed_with(self, node: str, key: str) -> bool:
        """Return whether a node's signed grant is by this key."""
        row = self._rows.get(node)
        return row is not None and row.signed_with == key

    def is_signed_with_another(self, node: str, key: str) -> bool:
        """Return whether a node has something granted by a document that another key signed."""
        row = self._rows.get(node)
        return row is not None and _is_by_another(row, key)

    def counts(self, account: str | None) -> Mapping[str, int]:
        """Return how many nodes there are, looked at, and granted anything: of an account or all.

        The keys are `nodes`, `looked_at` and `granted`.
        """
        if account is not None:
            return self._counts.get(account, Counter())
        total: Counter[str] = Counter()
        for counted in self._counts.values():
            total.update(counted)
        return total

    def _put(self, node: str, body: bytes | None) -> None:
        before = self._rows.pop(node, None)
        if before is not None:
            self._count(before, -1)
            self._of_instance.pop(before.instance, None)
        self.damaged.discard(node)
        if body is None:
            return
        state = _decode(body)
        if state is None:
            self.damaged.add(node)
            return
        row = _Row(
            body,
            state.account,
            state.instance,
            state.number,
            state.reported,
            state.viewed_ms > 0,
            bool(granted(state)),
            "" if state.grant is None else sys.intern(state.grant.key),
        )
        self._rows[node] = row
        self._count(row, 1)
        if state.instance:
            self._of_instance[state.instance] = node

    def _count(self, row: _Row, change: int) -> None:
        counted = self._counts.setdefault(row.account, Counter())
        counted["nodes"] += change
        counted["looked_at"] += change * row.looked_at
        counted["granted"] += change * row.is_granted


def _is_by_another(row: _Row, key: str) -> bool:
    return row.is_granted and row.signed_with not in {"", key}


def _decode(body: bytes) -> Node | None:
    try:
        return decode_state(body, STATE_VERSION)
    except ValueError:  # msgspec's are ValueErrors too; a damaged row allows nothing
        return None
