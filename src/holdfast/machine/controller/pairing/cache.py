"""The cached requests, with the answers ready to be sent.

An answer is encoded when something changes, and reused until the next change or until a request in
it expires. The epoch grows with each change of what is shown; holders of a copy compare it. It
starts at the time of day, so that a restarted controller does not repeat one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.pairing import apply, views
from holdfast.machine.controller.pairing.apply import Outcome
from holdfast.machine.controller.pairing.state import Look, Row, Snapshot, Verdict, Verdicts
from holdfast.wire.controller.pairing import Kind


@dataclass(frozen=True, slots=True)
class Listing:
    """One kind's answer: rows, body and its JSON. Immutable."""

    rows: tuple[Row, ...]
    body: Mapping[str, Any]
    content: bytes


class Cache:
    """Holds both kinds; every change goes through it and is reported."""

    def __init__(self, verdicts: Verdicts, *, on_change: Callable[[], None], clock: Clock) -> None:
        """Start with these verdicts and no requests; `on_change` gets each new epoch."""
        self._clock = clock
        self._on_change = on_change
        self._verdicts = verdicts
        self._snapshots: dict[Kind, Snapshot] = {
            "channels": Snapshot("channels"), "devices": Snapshot("devices"),
        }  # fmt: skip
        self._epoch = clock.now_ms()
        self._signatures: tuple[str, ...] = ()
        self._listings: dict[Kind, Listing] = {}
        self._until_ms: int | None = None
        self._renew()

    @property
    def epoch(self) -> int:
        """Return the current epoch."""
        self.expire()
        return self._epoch

    @property
    def count(self) -> int:
        """Return how many requests of both kinds are pending."""
        self.expire()
        return sum(len(listing.rows) for listing in self._listings.values())

    @property
    def until_ms(self) -> int | None:
        """Return when the next request expires, None if none does."""
        return self._until_ms

    @property
    def verdicts(self) -> Verdicts:
        """Return the verdicts."""
        return self._verdicts

    def snapshot(self, kind: Kind) -> Snapshot:
        """Return the cached state of one kind."""
        return self._snapshots[kind]

    def listing(self, kind: Kind) -> Listing:
        """Return the answer for one kind, the same object until it changes."""
        self.expire()
        return self._listings[kind]

    def commit(self, kind: Kind, look: Look, number: int) -> Outcome:
        """Apply the result of a read; return its outcome."""
        now_ms = self._clock.now_ms()
        snapshot, outcome = apply.commit(self._snapshots[kind], look, number=number, now_ms=now_ms)
        self._snapshots[kind] = snapshot
        self._verdicts = apply.forget(self._verdicts, self._snapshots.values(), now_ms)
        self._renew()
        return outcome

    def judge(self, verdict: Verdict) -> None:
        """Record a decision: the request is hidden from now on."""
        self._verdicts = apply.judge(self._verdicts, verdict)
        self._renew()

    def decided(self, kind: Kind, channel: str, *, key: str, code: str) -> Verdict | None:
        """Return the latest verdict about the request of this key or code, if there is one."""
        found = [
            verdict
            for verdict in self._verdicts.values()
            if (verdict.kind, verdict.channel) == (kind, channel)
            if (key and verdict.key == key) or (code and verdict.code.upper() == code.upper())
        ]
        return max(found, key=lambda verdict: verdict.at_ms, default=None)

    def expire(self) -> None:
        """Remove what has expired."""
        if self._until_ms is not None and self._clock.now_ms() >= self._until_ms:
            self._renew()

    def _renew(self) -> None:
        """Rebuild the answers; a visible change makes a new epoch and is reported."""
        now_ms = self._clock.now_ms()
        rows = {
            kind: views.visible(snapshot, self._verdicts, now_ms)
            for kind, snapshot in self._snapshots.items()
        }
        signatures = tuple(
            views.signature(snapshot, rows[kind]) for kind, snapshot in self._snapshots.items()
        )
        first, changed = not self._signatures, signatures != self._signatures
        if changed:
            self._signatures = signatures
            self._epoch = max(self._epoch + 1, now_ms)
        for kind, snapshot in self._snapshots.items():
            body = views.describe(snapshot, rows[kind], self._epoch)
            self._listings[kind] = Listing(rows[kind], body, msgspec.json.encode(body))
        self._until_ms = views.next_expiry_ms((*rows["channels"], *rows["devices"]))
        if changed and not first:
            self._on_change()
