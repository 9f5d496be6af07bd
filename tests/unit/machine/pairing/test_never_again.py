"""What was approved or dismissed is never listed again, in any order of events.

Each interleaving is a machine with an agent, reads that take their time and end in any order,
decisions, failures, restarts of the controller, other sources, and stores that go back in time.
HOLDFAST_INTERLEAVINGS sets how many are tried; a failure names its seed.
"""

from __future__ import annotations

import os
import random

import msgspec

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.pairing.apply import make_verdict
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows
from holdfast.machine.controller.pairing.state import Failure, Found, Look, Row, Verdict, Verdicts
from holdfast.wire.times import time_text

TIMES = int(os.environ.get("HOLDFAST_INTERLEAVINGS", "500"))
STEPS = 60
BROKEN = Failure("store_unreadable", "cannot be read")
MISSING = Failure("store_missing", "is not there", missing=True)
STRANGE = Failure("store_unknown", "is not understood", strange=True)


class Machine:
    """One interleaving."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.disk: bytes = msgspec.json.encode(())
        self.store: list[dict[str, str]] = []
        self.backup: list[dict[str, str]] = []
        self.coded = True
        self.decided: set[str] = set()
        self.number = 0
        self.asked = 0
        self.boot()

    def boot(self) -> None:
        """Start a controller with only what was stored; running reads are gone."""
        rows = msgspec.json.decode(self.disk, type=tuple[Verdict, ...])
        verdicts: Verdicts = {row.key: row for row in rows}
        self.cache = Cache(verdicts, on_change=lambda: None, clock=self.clock)
        self.looks: list[tuple[int, Look]] = []
        self.number = 0

    def step(self) -> None:
        self.chance.choice((
            self.ask, self.ask, self.begin, self.begin, self.end, self.end, self.end, self.decide,
            self.decide, self.fail, self.wait, self.restart, self.go_back, self.other_source,
        ))()  # fmt: skip

    def ask(self) -> None:
        """Add a request of one of few people, who may have one already."""
        sender = str(self.chance.randrange(4))
        if all(row["id"] != sender for row in self.store):
            self.asked += 1
            at = time_text(self.clock.now_ms())
            entry = {"id": sender, "code": f"C{self.asked}", "createdAt": at}
            self.store = [*self.store, entry]
            self.clock.advance(1)

    def rows(self) -> tuple[Row, ...]:
        entries = self.store
        if not self.coded:
            entries = [{k: v for k, v in row.items() if k != "code"} for row in entries]
        return channel_rows("chat", entries, coded=self.coded)

    def begin(self) -> None:
        """Begin a read: its result is the state now, however late it ends."""
        self.number += 1
        found = Found("rpc" if not self.coded else "json", self.rows())
        self.looks.append((self.number, {"chat": found}))

    def fail(self) -> None:
        self.number += 1
        failure = self.chance.choice((BROKEN, MISSING, STRANGE))
        look: Look = failure if self.chance.random() < 0.3 else {"chat": Found("json", failure)}
        self.looks.append((self.number, look))

    def end(self) -> None:
        """End any one of the reads."""
        if self.looks:
            number, look = self.looks.pop(self.chance.randrange(len(self.looks)))
            self.cache.commit("channels", look, number)

    def decide(self) -> None:
        """Decide a listed request; an agent that cannot dismiss keeps it."""
        listed = self.cache.listing("channels").rows
        if not listed:
            return
        row = self.chance.choice(listed)
        ruling = self.chance.choice(("approved", "dismissed"))
        if ruling == "approved" or self.chance.random() < 0.5:
            self.store = [entry for entry in self.store if self.key(entry) != row.key]
        self.cache.judge(
            make_verdict(row, kind="channels", channel="chat", code=row.code,
                         ruling="approved" if ruling == "approved" else "dismissed",
                         now_ms=self.clock.now_ms())
        )  # fmt: skip
        self.disk = msgspec.json.encode(tuple(self.cache.verdicts.values()))
        self.decided.add(row.key)

    def key(self, entry: dict[str, str]) -> str:
        return channel_rows("chat", [entry])[0].key

    def wait(self) -> None:
        self.clock.advance(self.chance.choice((10, 1_000, 60_000, 1_800_000)))

    def restart(self) -> None:
        self.boot()

    def go_back(self) -> None:
        """Restore an earlier store: a snapshot, another machine with an old disk."""
        self.store, self.backup = self.backup, self.store

    def other_source(self) -> None:
        """Switch to another source: a downgrade, an upgrade, a store not understood."""
        self.coded = not self.coded

    def check(self, seed: int) -> None:
        listed = {row.key for row in self.cache.listing("channels").rows}
        again = listed & self.decided
        assert not again, f"seed {seed}: decided and listed again: {again}"


def test_what_was_decided_is_never_listed_again() -> None:
    decided = listed = 0
    for seed in range(TIMES):
        machine = Machine(seed)
        for _ in range(STEPS):
            machine.step()
            machine.check(seed)
        decided += len(machine.decided)
        listed += machine.asked
    assert decided > TIMES / 2, "else nothing was tried"
    assert listed > decided
