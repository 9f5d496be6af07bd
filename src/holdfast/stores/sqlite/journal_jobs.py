"""The jobs of the writing thread, and which of them may share a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from holdfast.actors.ports import Commit
from holdfast.stores.sqlite.bulk import Row
from holdfast.stores.sqlite.writer import Call, Job


class Accept(Job):
    """Events to take; `rows` are those of `insert_pending`."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[Row]) -> None:
        """Take rows that begin with (id, actor, body, version, source)."""
        super().__init__(len(rows))
        self.rows = rows


class Write(Job):
    """A tick to commit."""

    __slots__ = ("commit",)

    def __init__(self, commit: Commit) -> None:
        rows = len(commit.stamps) + len(commit.intents) + len(commit.effects)
        super().__init__(4 + rows + len(commit.letters) + len(commit.views))
        self.commit = commit


class Finish(Job):
    """An effect to finish, with its outcome."""

    __slots__ = ("effect", "row", "status")

    def __init__(self, effect: str, status: str, row: Row | None) -> None:
        """Take an effect's id, its new status, and its outcome's row."""
        super().__init__(2)
        self.effect = effect
        self.status = status
        self.row = row


class Answer(Job):
    """A probe's new answer, with its event."""

    __slots__ = ("actor", "answer", "key", "row")

    def __init__(self, actor: str, key: str, answer: str, row: Row) -> None:
        """Take a probe's address and key, the answer's digest, and the event's row."""
        super().__init__(2)
        self.actor = actor
        self.key = key
        self.answer = answer
        self.row = row


AnyJob: TypeAlias = Accept | Write | Finish | Answer | Call
"""A Call is rare and has a transaction to itself."""


def _keys(job: AnyJob) -> Iterator[tuple[str, ...]]:
    """Yield the keys that no two jobs of one transaction may share."""
    if isinstance(job, Write):
        yield "actor", str(job.commit.actor)
        for claim in (*job.commit.claims, *job.commit.releases):
            yield "claim", claim.scope, claim.key
    elif isinstance(job, Finish):
        yield "effect", job.effect
    elif isinstance(job, Answer):
        yield "probe", job.actor, job.key


def split(jobs: Iterable[AnyJob]) -> Iterator[list[AnyJob]]:
    """Yield the jobs in order, as groups that can be validated before any of them is written."""
    group: list[AnyJob] = []
    touched: set[tuple[str, ...]] = set()
    for job in jobs:
        if isinstance(job, Accept):
            group.append(job)
            continue
        keys = set(_keys(job))
        if isinstance(job, Call) or not touched.isdisjoint(keys):
            if group:
                yield group
            group, touched = [], set()
        if isinstance(job, Call):
            yield [job]
            continue
        touched |= keys
        group.append(job)
    if group:
        yield group
