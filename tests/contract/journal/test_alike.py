"""Memory and SQLite give the same results for any calls in any order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from holdfast.actors.definition import Claim, ViewRow
from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.actors.ports import (
    ClaimTakenError,
    Commit,
    MailboxFullError,
    StaleError,
    Stamp,
)
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import EventId, address
from holdfast.stores.memory.journal import MemoryJournal
from holdfast.stores.memory.journal_reader import MemoryReader
from holdfast.stores.memory.journal_state import MemoryStore
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.stores.sqlite.journal_reader import SqliteReader
from tests.contract.journal.rows import NOW, arrival, effect, intent, letter, probe
from tests.support.slices import slice_of

ACTORS = [address("instance", name) for name in ("a", "b-b", "b")] + [address("in", "z")]
KEYS = [f"k{n}" for n in range(12)]
actors = st.sampled_from(ACTORS)
few = st.sampled_from(["x", "y", "z"])
LARGE = b"L" * (STATE_INLINE_BYTES_MAX + 1)


class Alike(RuleBasedStateMachine):
    """One journal of each kind, with the same calls."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.clock = ManualClock()
        self.loop = asyncio.new_event_loop()
        self.memory = MemoryJournal(MemoryStore(), clock=self.clock)
        self.sqlite = SqliteJournal(self.path, clock=self.clock)
        self.readers = (MemoryReader(self.memory.store), SqliteReader(self.path))
        self.epoch = self.both("lease", "me")
        self.made = 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.readers[1].close())
        self.loop.run_until_complete(self.sqlite.close())
        self.loop.close()
        self.folder.cleanup()

    def both(self, method: str, *args: Any) -> Any:
        """Call both journals and return the common result."""
        answers = []
        for journal in (self.memory, self.sqlite):
            try:
                answers.append(self.loop.run_until_complete(getattr(journal, method)(*args)))
            except (StaleError, ClaimTakenError, MailboxFullError) as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1], (method, args)
        return answers[0]

    def read(self, method: str, *args: Any, **options: Any) -> Any:
        """Call both readers and return the common result."""
        answers = [
            self.loop.run_until_complete(getattr(reader, method)(*args, **options))
            for reader in self.readers
        ]
        assert answers[0] == answers[1], (method, args, options)
        return answers[0]

    # --------------------------------------------------------------------------- writing

    @rule(
        arrivals=st.lists(
            st.tuples(
                actors,
                st.builds(
                    arrival,
                    st.sampled_from(KEYS),
                    source=st.sampled_from(["api", "cli", "contact"]),
                    cause=st.sampled_from(["", "i1", "e1"]),
                ),
            ),
            max_size=5,
        )
    )
    def accept(self, arrivals: Any) -> None:
        self.both("accept", arrivals)

    @rule(
        actor=actors,
        take=st.integers(0, 4),
        slip=st.sampled_from([0, 0, 0, 0, 1]),
        state=st.sampled_from(["small", "large", None]),
        outcome=st.sampled_from(["applied", "refused", "quarantined"]),
        parts=st.fixed_dictionaries(
            {
                "intents": st.integers(0, 2),
                "effects": st.lists(st.tuples(few, st.booleans()), max_size=3),
                "letters": st.lists(st.tuples(actors, st.sampled_from(KEYS)), max_size=2),
                "claims": st.sets(few, max_size=2),
                "releases": st.sets(few, max_size=2),
                "probes": st.sets(few, max_size=2),
                "unprobes": st.sets(few, max_size=2),
                "views": st.lists(st.tuples(few, few, st.sampled_from([b"1", None])), max_size=3),
                "alarm": st.sampled_from([None, 1, 2]),
                "alarm_changed": st.booleans(),
                "account": few,
            }
        ),
    )
    def commit(  # noqa: PLR0917
        self, actor: Any, take: int, slip: int, state: Any, outcome: Any, parts: Any
    ) -> None:
        known = self.both("load", actor)
        seq, number = (known.seq, known.number) if known else (0, 0)
        self.made += 1
        taken = self.both("pending", actor, take)
        marks = tuple(
            Stamp(
                id=event.id,
                seq=seq + n,
                tick=number + 1,
                at_ms=NOW + self.made,
                outcome=outcome,
                code="c",
                message="m",
            )
            for n, event in enumerate(taken, start=1)
        )
        cause = taken[0].id if taken else ""
        first = seq + len(marks) + 1
        names = [f"{self.made}.{n}" for n in range(3)]
        self.both(
            "commit",
            Commit(
                actor=actor,
                account=parts["account"],
                expected_seq=seq + slip,
                lease_epoch=self.epoch,
                number=number + 1,
                now_ms=NOW + self.made,
                stamps=marks,
                intents=tuple(
                    intent(f"i{names[n]}", seq=first + n, tick=number + 1, cause=cause)
                    for n in range(parts["intents"])
                ),
                effects=tuple(
                    effect(
                        f"e{names[n]}",
                        actor=actor,
                        lane=lane,
                        ordinal=n,
                        cause=f"i{names[0]}",
                        supersedes=over,
                    )
                    for n, (lane, over) in enumerate(parts["effects"])
                ),
                letters=tuple(letter(to, key) for to, key in parts["letters"]),
                claims=tuple(Claim("s", key) for key in sorted(parts["claims"])[:1]),
                releases=tuple(Claim("s", key) for key in sorted(parts["releases"])),
                probes=tuple(probe(key, actor=actor) for key in sorted(parts["probes"])),
                unprobes=tuple(sorted(parts["unprobes"])),
                views=tuple(ViewRow("v", key, who, body) for key, who, body in parts["views"]),
                alarm_ms=parts["alarm"],
                alarm_changed=parts["alarm_changed"],
                state=LARGE if state == "large" else state and state.encode(),
                state_version=1,
                digest=f"d{self.made}",
                record=b"r%d" % self.made,
            ),
        )

    @rule(
        pick=st.integers(0, 5),
        status=st.sampled_from(["done", "expired"]),
        told=st.sampled_from("yn"),
    )
    def finish(self, pick: int, status: str, told: str) -> None:
        waiting = self.both("waiting_effects", 100)
        row = waiting[pick] if pick < len(waiting) else effect("nobody")
        outcome = (row.actor, arrival(f"o{row.id}", source="effect", cause=row.id))
        self.both("finish_effect", row.id, status, outcome if told == "y" else None)

    @rule(actor=actors, key=few, n=st.integers(0, 2))
    def answer(self, actor: Any, key: str, n: int) -> None:
        self.both("answer_probe", actor, key, f"a{n}", arrival(f"p{key}{n}", source="probe"))

    @rule(keep=st.sampled_from(["old", "new"]))
    def lease(self, keep: str) -> None:
        epoch = self.both("lease", "me")
        self.epoch = self.epoch if keep == "old" else epoch

    @rule(pick=st.integers(0, 3))
    def drop(self, pick: int) -> None:
        found = self.read("quarantined", account=None)
        event = found[pick][1].id if pick < len(found) else EventId("nobody")
        self.both("drop_quarantined", event, "ada")

    @rule(back=st.integers(0, 5))
    def prune(self, back: int) -> None:
        self.both("prune", NOW + self.made - back)

    @rule(actor=actors, back=st.integers(0, 5))
    def forget(self, actor: Any, back: int) -> None:
        self.both("forget", actor, NOW + self.made - back)

    @rule(actor=actors, below=st.integers(1, 12))
    def look_older(self, actor: Any, below: int) -> None:
        self.both("load_older", actor, below)
        self.both("actors", 3, str(actor))

    @precondition(lambda self: self.made % 5 == 4)
    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.sqlite.close())
        self.sqlite = SqliteJournal(self.path, clock=self.clock)

    @rule(by_ms=st.integers(0, 10))
    def wait(self, by_ms: int) -> None:
        self.clock.advance(by_ms)

    # --------------------------------------------------------------------------- reading

    @rule(limit=st.integers(1, 6), at=st.integers(0, 12), account=st.none() | few)
    def look(self, limit: int, at: int, account: Any) -> None:
        for actor in ACTORS:
            self.both("load", actor)
            self.both("pending", actor, limit)
            for seq in (None, at):
                self.read("load", actor, at_seq=seq)
            self.read("pending", actor, limit)
            self.read("log", actor, after=at, limit=limit)
            self.read("log_tail", actor, before=at, limit=limit)
            self.read("ticks", actor, after=at, limit=limit)
            self.read("effects", actor, limit=limit)
            self.read("operations", account=account, actor=actor, limit=limit)
        for event in self.read("operations", account=account, limit=limit):
            self.read("operation", event.event.id)
            self.both("stamp", event.event.id)
        self.both("waiting_actors", limit)
        self.both("alarms", at, limit)
        page = self.both("waiting_effects", limit)
        if page:
            self.both("waiting_effects", limit, page[-1].id)
        self.both("probes", limit)
        self.both("probes", limit, (str(ACTORS[1]), "x"))
        self.read("quarantined", account=account, limit=limit)
        self.read("views", "v", account=account, limit=limit)
        self.read("view", "v", "x")


TestAlike = Alike.TestCase
TestAlike.settings = settings(
    max_examples=slice_of(40, here=20),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
