"""Turning a group of jobs into one transaction.

Each job is validated by itself before any of it is written: a stale basis or a taken claim fails
that job and no other, without a savepoint each. A query returns only violations, and a write takes
the rows of all jobs, so a group costs a dozen statements. Jobs that touch the same rows go into
different transactions, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import apsw

from holdfast.actors.definition import Claim
from holdfast.actors.limits import MAILBOX_PENDING_MAX
from holdfast.actors.ports import (
    Accepted,
    ClaimTakenError,
    Commit,
    LeaseLostError,
    Logged,
    StaleError,
    UnwritableError,
)
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import derive
from holdfast.stores.journal_rules import (
    BOUNDED_SOURCES,
    address_of,
    end_of,
    full,
    is_inline,
    keeps_snapshot,
    settle_lanes,
)
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.bulk import Bulk, Row
from holdfast.stores.sqlite.journal_jobs import Accept, Answer, AnyJob, Finish, Write, split
from holdfast.stores.sqlite.writer import Call, roll_back

UNWRITABLE: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
)
"""Errors of the file and not of a job: writing the jobs one by one would not help."""

_WIDTHS: Final = {
    "find_logged": 1,
    "insert_pending": 9,
    "find_stale": 4,
    "find_taken": 3,
    "stamp_events": 7,
    "insert_intents": 15,
    "put_actors": 11,
    "move_actors": 11,
    "put_alarms": 2,
    "put_snapshots": 7,
    "insert_ticks": 5,
    "put_views": 5,
    "remove_views": 2,
    "insert_effects": 13,
    "supersede_lanes": 2,
    "find_missing_effects": 1,
    "finish_effects": 2,
    "put_probes": 7,
    "remove_probes": 2,
    "find_missing_probes": 2,
    "answer_probes": 3,
    "put_claims": 3,
    "release_claims": 3,
}


class Batch:
    """Writes groups over one connection, and caches which events are pending.

    Pending events are cached as (id, number of arrival) by actor: the file has no index of their
    ids. After a failure, or a write of another connection, they are read again.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        queries = load_queries(SQL / "journal")
        self.queries = queries
        self._bulk = {name: Bulk(queries[name], width) for name, width in _WIDTHS.items()}
        self._mail: dict[str, dict[str, int]] | None = None
        self._newest = 0
        self._version = -1
        self._doubted = False

    def arrivals(self, actor: str, limit: int) -> list[int] | None:
        """Return the arrival numbers of an actor's pending events, in order; None when unknown.

        Any thread may call it: the copy is atomic under the GIL.
        """
        mail = self._mail
        if mail is None or self._doubted:
            return None
        return list(mail.get(actor, {}).values())[:limit]

    def compare(self, actors: Iterable[str]) -> None:
        """Invalidate the cache when it lacks one of these actors with pending events.

        Then another process has accepted an event; the cache is read again before the next write.
        """
        mail = self._mail
        if mail is not None and any(actor not in mail for actor in actors):
            self._doubted = True

    def apply(self, jobs: list[AnyJob]) -> None:
        """Write jobs and set the result or the error of each."""
        for group in split(jobs):
            self._transact(group)

    def _transact(self, group: list[AnyJob]) -> None:
        """Write a group; if that fails, write each of its jobs by itself."""
        for job in group:
            job.result = job.error = None
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._look()
            self._write(group)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  set on every job that it concerns
            self._mail = None
            roll_back(connection, error)
            if isinstance(error, UNWRITABLE):
                for job in group:
                    job.error = UnwritableError(brief(error))
                    job.error.__cause__ = error
            elif len(group) == 1:
                group[0].error = error
            else:
                for job in group:
                    self._transact([job])

    def _look(self) -> None:
        """Read the pending events, unless the cache is valid."""
        connection = self._connection
        version = connection.execute(self.queries["data_version"]).get
        if self._mail is not None and version == self._version and not self._doubted:
            return
        mail: dict[str, dict[str, int]] = {}
        for actor, event, arrival in connection.execute(self.queries["all_pending"]):
            mail.setdefault(str(actor), {})[str(event)] = int(str(arrival))
        self._newest = connection.execute(self.queries["newest_arrival"]).get
        self._mail, self._version, self._doubted = mail, version, False

    def _write(self, group: list[AnyJob]) -> None:
        """Write a group, accepted events first, so that commits are validated after them."""
        accepts: list[Accept] = []
        writes: list[Write] = []
        finishes: list[Finish] = []
        answers: list[Answer] = []
        for job in group:
            match job:
                case Accept():
                    accepts.append(job)
                case Write():
                    writes.append(job)
                case Finish():
                    finishes.append(job)
                case Answer():
                    answers.append(job)
                case Call():
                    job.result = job.call(self._connection)
        self._take(accepts, [*self._finish(finishes), *self._answer(answers)])
        if writes:
            self._commit(self._judge(writes))

    # ---------------------------------------------------------------------------- accepting

    def _take(self, accepts: list[Accept], outcomes: Sequence[Finish | Answer]) -> None:
        """Insert events and give each job its results."""
        rows = [row for job in accepts for row in job.rows]
        rows += [job.row for job in outcomes if job.row is not None]
        logged = self._logged(rows)
        new: list[Row] = []
        for job in accepts:
            if self._admits(job, logged):
                job.result = [self._accept(row, logged, new) for row in job.rows]
        for outcome in outcomes:
            if outcome.row is not None:
                outcome.result = self._accept(outcome.row, logged, new)
        self._run("insert_pending", new)

    def _logged(self, rows: Sequence[Row]) -> set[str]:
        """Return the ids of rows that were stamped already."""
        found = self._bulk["find_logged"].read(self._connection, [(row[0],) for row in rows])
        return {row[0] for row in found}

    def _accept(self, row: Row, logged: set[str], new: list[Row]) -> Accepted:
        """Add a row to `new` unless its event exists; return the result."""
        event, actor = row[0], row[1]
        assert self._mail is not None
        waiting = self._mail.get(actor)
        if waiting is None:
            waiting = self._mail[actor] = {}
        if event in waiting or event in logged:
            return Accepted(event, fresh=False)
        self._newest += 1
        waiting[event] = self._newest
        new.append((*row, self._newest))
        return Accepted(event, fresh=True)

    def _admits(self, job: Accept, logged: set[str]) -> bool:
        """Return whether the mailboxes have room for a job; set its error if not."""
        assert self._mail is not None
        mail, room = self._mail, MAILBOX_PENDING_MAX - len(job.rows)
        if all(len(mail.get(row[1], ())) <= room for row in job.rows):
            return True
        coming: dict[str, set[str]] = {}
        bounded = set()
        for event, actor, _, _, source, *_ in job.rows:
            if event not in logged and event not in mail.get(actor, {}):
                coming.setdefault(actor, set()).add(event)
                if source in BOUNDED_SOURCES:
                    bounded.add(actor)
        for actor in sorted(bounded):
            waiting = len(mail.get(actor, ()))
            if waiting + len(coming[actor]) > MAILBOX_PENDING_MAX:
                job.error = full(actor, waiting)
                return False
        return True

    # ------------------------------------------------------------------- effects and probes

    def _finish(self, jobs: list[Finish]) -> list[Finish]:
        """Finish effects; return the jobs whose effects exist."""
        if not jobs:
            return []
        ids = [(job.effect,) for job in jobs]
        missing = {row[0] for row in self._bulk["find_missing_effects"].read(self._connection, ids)}
        there = [job for job in jobs if job.effect not in missing]
        self._run("finish_effects", [(job.effect, job.status) for job in there])
        return there

    def _answer(self, jobs: list[Answer]) -> list[Answer]:
        """Store answers; return the jobs whose probes exist."""
        if not jobs:
            return []
        keys = [(job.actor, job.key) for job in jobs]
        missing = set(self._bulk["find_missing_probes"].read(self._connection, keys))
        there = [job for job in jobs if (job.actor, job.key) not in missing]
        self._run("answer_probes", [(job.actor, job.key, job.answer) for job in there])
        return there

    # --------------------------------------------------------------------------- committing

    def _judge(self, jobs: list[Write]) -> list[Commit]:
        """Return the commits that may be written; the others' jobs get their errors."""
        bulk, connection = self._bulk, self._connection
        bases = [
            (str(c.actor), c.expected_seq, c.number, c.lease_epoch)
            for c in (job.commit for job in jobs)
        ]
        stale = {row[0]: row[1] for row in bulk["find_stale"].read(connection, bases)}
        assert self._mail is not None
        wanted = [
            (claim.scope, claim.key, str(job.commit.actor))
            for job in jobs
            for claim in job.commit.claims
        ]
        taken = {row[0]: row[1:] for row in bulk["find_taken"].read(connection, wanted)}
        good = []
        for job in jobs:
            actor = str(job.commit.actor)
            if actor in stale:
                job.error = _stale(job.commit, lease_lost=bool(stale[actor]))
            elif any(s.id not in self._mail.get(actor, {}) for s in job.commit.stamps):
                job.error = StaleError(f"{actor}: a stamp names an event that is not pending")
            elif actor in taken:
                scope, key, holder = taken[actor]
                job.error = ClaimTakenError(Claim(scope, key), address_of(holder))
            else:
                good.append(job.commit)
        return good

    def _run(self, name: str, rows: Sequence[Row]) -> None:
        if rows:
            self._bulk[name].write(self._connection, rows)

    def _commit(self, commits: list[Commit]) -> None:
        """Write validated commits."""
        run = self._run
        run("stamp_events", [row for c in commits for row in self._stamp_rows(c)])
        run("insert_intents", [self._intent_row(c, e) for c in commits for e in c.intents])
        run("put_actors", [_actor_row(c) for c in commits if c.state is not None])
        run("move_actors", [_actor_row(c) for c in commits if c.state is None])
        run("put_alarms", [(str(c.actor), c.alarm_ms) for c in commits if c.alarm_changed])
        run("put_snapshots", [_snapshot_row(c) for c in commits if keeps_snapshot(c)])
        run(
            "insert_ticks",
            [(str(c.actor), c.number, end_of(c), c.digest, c.record) for c in commits],
        )
        self._show(commits)
        self._put_lanes(commits)
        self._put_probes(commits)
        run(
            "release_claims",
            [(x.scope, x.key, str(c.actor)) for c in commits for x in c.releases],
        )
        run("put_claims", [(x.scope, x.key, str(c.actor)) for c in commits for x in c.claims])
        self._send(commits)

    def _stamp_rows(self, commit: Commit) -> list[Row]:
        """Remove stamped events from the cache and return the rows of their stamps."""
        if not commit.stamps:
            return []
        actor = str(commit.actor)
        assert self._mail is not None
        waiting = self._mail[actor]
        rows = [
            (waiting.pop(s.id), s.seq, s.tick, s.at_ms, s.outcome, s.code, s.message)
            for s in commit.stamps
        ]
        if not waiting:
            del self._mail[actor]
        return rows

    def _intent_row(self, commit: Commit, event: Logged) -> Row:
        self._newest += 1
        return (
            event.id, str(commit.actor), event.seq, event.tick, event.at_ms, event.outcome,
            event.code, event.message, event.body, event.version, event.source, event.cause,
            event.by, event.accepted_ms, self._newest,
        )  # fmt: skip

    def _show(self, commits: list[Commit]) -> None:
        """Write view rows; the last of each key counts."""
        rows: dict[tuple[str, str], Row] = {}
        for commit in commits:
            seq = end_of(commit)
            for view, key, account, body in commit.views:
                rows[view, key] = (view, key, account, body, seq)
        self._run("put_views", [row for row in rows.values() if row[3] is not None])
        self._run("remove_views", [key for key, row in rows.items() if row[3] is None])

    def _put_lanes(self, commits: list[Commit]) -> None:
        """Drop superseded effects, then add new ones to their lanes."""
        effects, superseded = [], []
        for commit in commits:
            if commit.effects:
                rows, lanes = settle_lanes(commit.effects)
                effects += rows
                superseded += lanes
        self._run("supersede_lanes", superseded)
        self._run(
            "insert_effects",
            [
                (
                    e.id, str(e.actor), e.lane, e.ordinal, e.provider, e.body, e.epoch,
                    e.valid_until_ms, e.created_ms, e.cause, int(e.supersedes), e.status,
                    e.attempts,
                )
                for e in effects
            ],
        )  # fmt: skip

    def _put_probes(self, commits: list[Commit]) -> None:
        """Remove and add probes; the last of each key counts."""
        self._run("remove_probes", [(str(c.actor), key) for c in commits for key in c.unprobes])
        rows = {
            (str(p.actor), p.key): (
                str(p.actor), p.key, p.provider, p.body, p.period_ms, p.epoch, p.answer
            )
            for c in commits
            for p in c.probes
        }  # fmt: skip
        self._run("put_probes", list(rows.values()))

    def _send(self, commits: list[Commit]) -> None:
        """Insert letters as pending events of their receivers."""
        rows = []
        for commit in commits:
            sender = str(commit.actor)
            for letter in commit.letters:
                to = str(letter.to)
                event = derive(to, letter.dedupe)
                rows.append(
                    (event, to, letter.body, letter.version, "letter", "", sender, commit.now_ms)
                )
        logged = self._logged(rows)
        new: list[Row] = []
        for row in rows:
            self._accept(row, logged, new)
        self._run("insert_pending", new)


def _stale(commit: Commit, *, lease_lost: bool) -> StaleError:
    if lease_lost:
        return LeaseLostError(f"{commit.actor}: lease {commit.lease_epoch} is not the newest")
    return StaleError(
        f"{commit.actor}: tick {commit.number} on seq {commit.expected_seq} is not on"
        " what is stored"
    )


def _actor_row(commit: Commit) -> Row:
    """Return the row of an actor; a state too large for it is in its snapshot."""
    state = commit.state
    at = (0, 0, 0, "")
    if state is not None:
        at = (commit.state_version, end_of(commit), commit.number, commit.digest)
        state = state if is_inline(state) else None
    alarm_ms = commit.alarm_ms if commit.alarm_changed else None
    return (
        str(commit.actor), commit.account, end_of(commit), commit.number, commit.digest, alarm_ms,
        state, *at,
    )  # fmt: skip


def _snapshot_row(commit: Commit) -> Row:
    return (
        str(commit.actor), end_of(commit), commit.number, commit.now_ms, commit.state_version,
        commit.digest, commit.state,
    )  # fmt: skip
