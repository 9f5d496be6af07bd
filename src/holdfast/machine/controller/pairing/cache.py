"""What is known and shown, with the answers ready to be sent.

An answer is encoded when something changes and sent as it is until then, or until a request in it
expires. The epoch grows with each change of what is shown; who keeps a copy compares it. It starts
at the time of day, so that a controller that starts again does not repeat one.
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
    """One kind's answer: its rows, the body and its JSON. It does not change."""

    rows: tuple[Row, ...]
    body: Mapping[str, Any]
    content: bytes


class Cache:
    """Holds both kinds; every change goes through it and is told."""

    def __init__(self, verdicts: Verdicts, *, on_change: Callable[[], None], clock: Clock) -> None:
        """Begin with these verdicts and nothing else; `on_change` hears of a new epoch."""
        self._clock = clock
        self._on_change = on_change
        self._verdicts = verdicts
        self._shelves: dict[Kind, Snapshot] = {
            "channels": Snapshot("channels"), "devices": Snapshot("devices"),
        }  # fmt: skip
        self._epoch = clock.now_ms()
        self._signatures: tuple[str, ...] = ()
        self._listings: dict[Kind, Listing] = {}
        self._until_ms: int | None = None
        self._renew()

    @property
    def epoch(self) -> int:
        """Return the number of what is shown now."""
        self.expire()
        return self._epoch

    @property
    def count(self) -> int:
        """Return how many requests of both kinds wait now."""
        self.expire()
        return sum(len(listing.rows) for listing in self._listings.values())

    @property
    def until_ms(self) -> int | None:
        """Return when the next request expires, None when none does."""
        return self._until_ms

    @property
    def verdicts(self) -> Verdicts:
        """Return what was decided."""
        return self._verdicts

    def snapshot(self, kind: Kind) -> Snapshot:
        """Return what is known of one kind."""
        return self._shelves[kind]

    def listing(self, kind: Kind) -> Listing:
        """Return the answer for one kind, the same object until it changes."""
        self.expire()
        return self._listings[kind]

    def commit(self, kind: Kind, look: Look, number: int) -> Outcome:
        """Take what a look brought; return what it came to."""
        now_ms = self._clock.now_ms()
        snapshot, outcome = apply.commit(self._shelves[kind], look, number=number, now_ms=now_ms)
        self._shelves[kind] = snapshot
        self._verdicts = apply.forget(self._verdicts, self._shelves.values(), now_ms)
        self._renew()
        return outcome

    def judge(self, verdict: Verdict) -> None:
        """Remember that a request was decided: it is not shown from here on."""
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
        """Take out what is no longer valid."""
        if self._until_ms is not None and self._clock.now_ms() >= self._until_ms:
            self._renew()

    def _renew(self) -> None:
        """Make the answers anew; a change of what is shown makes a new epoch and is told."""
        now_ms = self._clock.now_ms()
        rows = {
            kind: views.visible(snapshot, self._verdicts, now_ms)
            for kind, snapshot in self._shelves.items()
        }
        signatures = tuple(
            views.signature(snapshot, rows[kind]) for kind, snapshot in self._shelves.items()
        )
        first, changed = not self._signatures, signatures != self._signatures
        if changed:
            self._signatures = signatures
            self._epoch = max(self._epoch + 1, now_ms)
        for kind, snapshot in self._shelves.items():
            body = views.describe(snapshot, rows[kind], self._epoch)
            self._listings[kind] = Listing(rows[kind], body, msgspec.json.encode(body))
        self._until_ms = views.next_expiry_ms((*rows["channels"], *rows["devices"]))
        if changed and not first:
            self._on_change()
