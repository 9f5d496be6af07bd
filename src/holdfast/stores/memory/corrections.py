"""Corrections kept in memory: for tests and the simulator, under the same suite as SQLite.

It takes rows one after the other; the groups of the SQLite store must have the same result.
Nothing is persistent, so it is not for production.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from holdfast.corrections import joining
from holdfast.corrections.gaps import Numbers, add
from holdfast.corrections.identity import raised
from holdfast.corrections.limits import EVENT_IDS_KEPT, PURGE_ROWS
from holdfast.corrections.ports import (
    CorrectionQuery,
    CorrectionRow,
    CorrectionWhole,
    Kept,
    LessonQuery,
    LessonRow,
    Searched,
)
from holdfast.corrections.records import (
    ROUTES,
    Arrival,
    Brain,
    BrainKey,
    Correction,
    Counts,
    Event,
    Forgotten,
    Lesson,
    Standing,
    Written,
)
from holdfast.kernel.clock import HOUR_MS
from holdfast.wire.cut import cut
from holdfast.wire.limits import PREVIEW_MAX

_TERM: Final = re.compile(r'"([^"]*)"(\s*\*)?')
_WORD: Final = re.compile(r"[^\W_]+")
_NAMES: Final = msgspec.json.Decoder(tuple[str, ...])


class _Stored(Struct):
    """One correction; `row` is the first one received, with changes by repeats."""

    no: int
    arrival: Arrival
    row: Correction
    via: list[int]
    ids: list[str]


class _Told(Struct):
    """One lesson, with the sender's row that it came in."""

    shown: LessonRow
    source: str
    seq: int


class MemoryCorrections:
    """The store of corrections, in dictionaries."""

    def __init__(self) -> None:
        self._brains: list[Brain] = []
        self._aliases: dict[tuple[str, str], int] = {}
        self._keys: dict[str, BrainKey] = {}
        self._corrections: dict[int, _Stored] = {}
        self._newest = 0
        self._by_id: dict[tuple[int, str], int] = {}
        self._by_content: dict[tuple[int, bytes, str], int] = {}
        self._cuts: dict[tuple[int, bytes, str], list[int]] = {}
        self._lessons: dict[tuple[int, str], _Told] = {}
        self._events: dict[tuple[int, str], int] = {}
        self._standings: dict[tuple[int, str], Standing] = {}
        self._counts: dict[tuple[int, str], Counts] = {}
        self._hours: Counter[tuple[int, int, str]] = Counter()
        self._taken: dict[int, int] = {}

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def load(self, *, refused_since_hour: int) -> Kept:
        """Return what is held in memory by the directory."""
        newest: dict[int, int] = {}
        for told in self._lessons.values():
            brain, number = told.shown.brain, told.shown.verdict_no
            if number:
                newest[brain] = max(newest.get(brain, 0), number)
        return Kept(
            brains=list(self._brains),
            aliases=[(account, alias, no) for (account, alias), no in self._aliases.items()],
            keys=list(self._keys.values()),
            standings=list(self._standings.values()),
            counts=sorted(self._counts.values(), key=lambda one: (one.brain, -one.last_ms)),
            refused=[
                (brain, hour, many)
                for (brain, hour, severity), many in self._hours.items()
                if not severity and hour >= refused_since_hour
            ],
            verdicts=[(no, last, self._taken.get(no, 0)) for no, last in sorted(newest.items())],
        )

    # -- writing

    async def write(self, arrivals: Sequence[Arrival], *, forgotten: Forgotten) -> list[Written]:
        """Take arrivals in; none can fail."""
        before = {named: standing.numbers for named, standing in self._standings.items()}
        return [
            self._take(one, before.get((one.brain, one.source), Numbers()), forgotten)
            for one in arrivals
        ]

    def _take(self, arrival: Arrival, came: Numbers, forgotten: Forgotten) -> Written:
        accepted = 0
        for correction in arrival.corrections:
            is_known = correction.seq > 0 and came.has(correction.seq)
            if self._take_correction(arrival, correction, forgotten, came=is_known):
                accepted += 1
                self._hours[arrival.brain, correction.at_ms // HOUR_MS, correction.severity] += 1
        for event in arrival.events:
            named = (arrival.brain, event.event_id)
            is_old = event.at_ms < forgotten.events_ms and event.seq > 0 and came.has(event.seq)
            if named not in self._events and not is_old:
                self._events[named] = arrival.received_ms
                accepted += 1
        news = sum(self._tell(arrival, lesson) for lesson in arrival.lessons)
        accepted += news
        self._count(arrival, accepted)
        return Written(accepted, arrival.rows - accepted, self._stand(arrival), news > 0)

    def _take_correction(
        self, arrival: Arrival, row: Correction, forgotten: Forgotten, *, came: bool
    ) -> bool:
        """Take one correction; return whether it is new."""
        no = self._by_id.get((arrival.brain, row.event_id))
        if no is not None:
            if row.count > 1:
                self._raise(self._corrections[no], arrival, row, is_new=False)
            return False
        no = self._by_content.get((arrival.brain, row.hash, row.scope))
        if no is None and row.cut_hash:
            no = self._find_cut(arrival.brain, row)
        if no is not None:
            if not came:
                self._raise(self._corrections[no], arrival, row, is_new=True)
            return False
        if came and row.at_ms < forgotten.corrections_ms:
            return False
        self._newest += 1
        via = [0] * len(ROUTES)
        via[ROUTES.index(arrival.route)] = row.count
        held = _Stored(self._newest, arrival, replace(row), via, [row.event_id])
        self._corrections[held.no] = held
        self._by_id[arrival.brain, row.event_id] = held.no
        self._by_content[arrival.brain, row.hash, row.scope] = held.no
        if row.cut_hash:
            self._cuts.setdefault((arrival.brain, row.cut_hash, row.scope), []).append(held.no)
        return True

    def _raise(self, held: _Stored, arrival: Arrival, row: Correction, *, is_new: bool) -> None:
        """Count a repeat by its route, and join in what it says."""
        at, known = ROUTES.index(arrival.route), joining.told(held.row)
        joining.join(known, row, arrival.route, held.via)
        hour = held.row.at_ms // HOUR_MS
        self._hours[arrival.brain, hour, held.row.severity] -= 1
        self._hours[arrival.brain, hour, known.severity] += 1
        held.row = replace(held.row, **asdict(known))
        if not is_new:
            held.via[at] = max(held.via[at], row.count)
            return
        held.via[at] = raised(held.via[at], row.count, row.event_id, held.ids)
        if len(held.ids) < EVENT_IDS_KEPT:
            held.ids.append(row.event_id)
            self._by_id[arrival.brain, row.event_id] = held.no

    def _find_cut(self, brain: int, row: Correction) -> int | None:
        """Return the correction that this one is a cut of, or that is a cut of this one."""
        for no in self._cuts.get((brain, row.cut_hash, row.scope), ()):
            kept = self._corrections[no].row
            if (
                row.was_cut
                and kept.draft.startswith(row.draft)
                and kept.final.startswith(row.final)
            ):
                return no
            if (
                kept.was_cut
                and row.draft.startswith(kept.draft)
                and row.final.startswith(kept.final)
            ):
                del self._by_content[brain, kept.hash, kept.scope]
                self._by_content[brain, row.hash, row.scope] = no
                kept.hash, kept.was_cut = row.hash, row.was_cut
                kept.draft, kept.final = row.draft, row.final
                return no
        return None

    def _tell(self, arrival: Arrival, lesson: Lesson) -> bool:
        """Store a lesson, unless a newer version is stored."""
        named = (arrival.brain, lesson.lesson_id)
        known = self._lessons.get(named)
        if known is not None:
            is_newer = (
                lesson.seq > known.seq
                if known.source == arrival.source and lesson.seq > 0
                else lesson.at_ms > known.shown.updated_ms
            )
            if not is_newer:
                return False
        before = None if known is None else known.shown
        shown = LessonRow(
            no=max((one.shown.no for one in self._lessons.values()), default=0) + 1
            if before is None
            else before.no,
            brain=arrival.brain,
            account=arrival.account if before is None else before.account,
            lesson_id=lesson.lesson_id,
            category=lesson.category,
            text=lesson.text,
            state=lesson.state,
            confidence=lesson.confidence,
            fires=lesson.fires,
            corrections=lesson.corrections,
            scope=lesson.scope,
            updated_ms=lesson.at_ms,
            decision="" if before is None else before.decision,
            decided_by="" if before is None else before.decided_by,
            decided_ms=None if before is None else before.decided_ms,
            verdict_no=0 if before is None else before.verdict_no,
        )
        self._lessons[named] = _Told(shown, arrival.source, lesson.seq)
        return True

    def _stand(self, arrival: Arrival) -> Standing:
        """Record the received numbers and the queue's reported state."""
        named = (arrival.brain, arrival.source)
        known = self._standings.get(named)
        rows: list[Correction | Lesson | Event] = [
            *arrival.corrections,
            *arrival.lessons,
            *arrival.events,
        ]
        came = [row.seq for row in rows if row.seq]
        numbers = add(known.numbers if known else Numbers(), [*came, *arrival.refused_numbers])
        standing = self._standings[named] = Standing(
            *named, arrival.sdk, numbers, arrival.depth, arrival.oldest_ms, arrival.received_ms
        )
        return standing

    def _count(self, arrival: Arrival, accepted: int) -> None:
        named, at_ms, refused = (arrival.brain, arrival.sdk), arrival.received_ms, arrival.refused
        known = self._counts.get(named, Counts(*named, 0, 0, 0, at_ms, at_ms))
        self._counts[named] = known._replace(
            accepted=known.accepted + accepted,
            deduplicated=known.deduplicated + arrival.rows - accepted,
            refused=known.refused + len(refused),
            last_ms=max(known.last_ms, at_ms),
        )
        if refused:
            self._hours[arrival.brain, at_ms // HOUR_MS, ""] += len(refused)

    # -- brains and keys

    async def add_brain(self, brain: Brain) -> Brain:
        """Add a brain and return it with its number, or the one that has its name."""
        for known in self._brains:
            if (known.account, known.name) == (brain.account, brain.name):
                return known
        made = replace(brain, no=len(self._brains) + 1)
        self._brains.append(made)
        return made

    async def add_alias(self, account: str, alias: str, brain: int) -> None:
        """Add a name; the first brain of a name keeps it."""
        self._aliases.setdefault((account, alias), brain)

    async def add_key(self, key: BrainKey) -> None:
        """Add a key."""
        self._keys[key.id] = key

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key."""
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at_ms is None:
            self._keys[key_id] = replace(key, revoked_at_ms=now_ms)

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        for key_id, at_ms in uses.items():
            key = self._keys.get(key_id)
            if key is not None:
                newest = max(key.last_used_at_ms or 0, at_ms)
                self._keys[key_id] = replace(key, last_used_at_ms=newest)

    # -- what is shown

    async def corrections(self, query: CorrectionQuery) -> Sequence[CorrectionRow]:
        """Return corrections, last received first; the query's words are ignored."""
        return (await self.search(query._replace(words=""))).rows

    async def search(self, query: CorrectionQuery) -> Searched:
        """Return corrections with all of the words, last received first."""
        terms = list(_terms(query.words))
        found = [
            held
            for no, held in reversed(self._corrections.items())
            if no < query.below
            and query.account in {None, held.arrival.account}
            and query.brain in {0, held.arrival.brain}
            and query.category in {"", held.row.category}
            and query.severity in {"", held.row.severity}
            and query.session in {"", held.row.session}
            and _has_words(held.row, terms)
        ]
        shown = [self._shown(held) for held in found[: query.limit]]
        return Searched(shown, found[query.limit - 1].no if len(found) > query.limit else 0)

    async def correction(self, no: int, account: str | None) -> CorrectionWhole | None:
        """Return one correction visible to the account."""
        held = self._corrections.get(no)
        if held is None or account not in {None, held.arrival.account}:
            return None
        row = held.row
        return CorrectionWhole(
            self._shown(held),
            row.draft,
            row.final,
            row.context,
            _NAMES.decode(row.classifications) if row.classifications else (),
            tuple(held.ids),
            held.arrival.source,
            row.seq,
            held.arrival.sdk,
            row.was_cut,
        )

    def _shown(self, held: _Stored) -> CorrectionRow:
        row, arrival = held.row, held.arrival
        alike = sum(
            other.arrival.brain == arrival.brain and other.row.hash == row.hash
            for other in self._corrections.values()
        )
        return CorrectionRow(
            no=held.no,
            brain=arrival.brain,
            account=arrival.account,
            hash=row.hash,
            at_ms=row.at_ms,
            received_ms=arrival.received_ms,
            session=row.session,
            category=row.category,
            severity=row.severity,
            draft=cut(row.draft, PREVIEW_MAX),
            final=cut(row.final, PREVIEW_MAX),
            cut=len(row.draft) > PREVIEW_MAX or len(row.final) > PREVIEW_MAX,
            summary=row.summary,
            edit_distance=row.edit_distance,
            via=tuple(held.via),
            recurrences=alike - 1,
        )

    async def lessons(self, query: LessonQuery) -> Sequence[LessonRow]:
        """Return lessons, last changed first."""
        found = [
            row
            for row in (told.shown for told in self._lessons.values())
            if query.account in {None, row.account}
            and query.brain in {0, row.brain}
            and query.state in {"", row.state}
            and query.decision in {"*", row.decision}
            and (row.updated_ms, row.no) < (query.below_ms, query.below)
        ]
        found.sort(key=lambda row: (row.updated_ms, row.no), reverse=True)
        return found[: query.limit]

    async def decide(
        self, no: int, decision: str, *, by: str, account: str | None, now_ms: int
    ) -> LessonRow | None:
        """Store a person's verdict on a lesson visible to the account; return the lesson."""
        for told in self._lessons.values():
            row = told.shown
            if row.no == no and account in {None, row.account}:
                others = (one.shown for one in self._lessons.values())
                newest = max(one.verdict_no for one in others if one.brain == row.brain)
                told.shown = row._replace(
                    decision=decision, decided_by=by, decided_ms=now_ms, verdict_no=newest + 1
                )
                return told.shown
        return None

    async def verdicts(self, brain: int, *, since: int, limit: int) -> Sequence[LessonRow]:
        """Return a brain's lessons with verdicts after number `since`, in the order of verdicts."""
        rows = [one.shown for one in self._lessons.values() if one.shown.brain == brain]
        found = [row for row in rows if row.verdict_no > max(since, 0)]
        return sorted(found, key=lambda row: row.verdict_no)[:limit]

    async def take_verdicts(self, brain: int, taken_no: int, now_ms: int) -> None:
        """Note up to which number a brain has taken verdicts; a lower number is ignored."""
        del now_ms
        self._taken[brain] = max(self._taken.get(brain, taken_no), taken_no)

    async def hours(self, brain: int, since_hour: int) -> Sequence[tuple[int, str, int]]:
        """Return (hour, severity, rows) of a brain's new corrections."""
        return sorted(
            (hour, severity, many)
            for (owner, hour, severity), many in self._hours.items()
            if owner == brain and hour >= since_hour and severity and many > 0
        )

    async def extent(self, brain: int) -> tuple[int, int]:
        """Return how many sessions and corrections a brain has."""
        rows = [held.row for held in self._corrections.values() if held.arrival.brain == brain]
        return len({row.session for row in rows} - {None}), len(rows)

    async def purge(self, forgotten: Forgotten) -> int:
        """Delete some rows received before; return how many, 0 when done."""
        before_ms, hour = forgotten.corrections_ms, forgotten.corrections_ms // HOUR_MS
        held = sorted(self._corrections.values(), key=lambda one: one.arrival.received_ms)
        gone = [one for one in held if one.arrival.received_ms < before_ms][:PURGE_ROWS]
        for one in gone:
            self._forget(one)
        late = [(at_ms, named) for named, at_ms in self._events.items()]
        over = sorted(each for each in late if each[0] < forgotten.events_ms)[:PURGE_ROWS]
        for _, named in over:
            del self._events[named]
        self._hours = Counter({key: many for key, many in self._hours.items() if key[1] >= hour})
        self._lessons = {
            named: told
            for named, told in self._lessons.items()
            if told.shown.updated_ms >= before_ms or told.shown.decision
        }
        self._standings = {
            named: standing
            for named, standing in self._standings.items()
            if standing.heard_ms >= forgotten.events_ms
        }
        return len(gone) + len(over)

    def _forget(self, held: _Stored) -> None:
        brain, row = held.arrival.brain, held.row
        del self._corrections[held.no], self._by_content[brain, row.hash, row.scope]
        for event_id in held.ids:
            self._by_id.pop((brain, event_id), None)
        if row.cut_hash:
            self._cuts[brain, row.cut_hash, row.scope].remove(held.no)


def _terms(words: str) -> Iterator[tuple[str, bool]]:
    """Yield each word of a query, and whether it is a prefix."""
    for text, star in _TERM.findall(words):
        for word in _words(text):
            yield word, bool(star)


def _has_words(row: Correction, terms: Sequence[tuple[str, bool]]) -> bool:
    """Return whether every word of a query is in one of the texts."""
    if not terms:
        return True
    known = {word for text in (row.draft, row.final, row.summary) for word in _words(text)}
    return all(
        any(one.startswith(word) for one in known) if begins else word in known
        for word, begins in terms
    )


def _words(text: str) -> list[str]:
    """Return the words of a text without case and diacritics."""
    plain = unicodedata.normalize("NFD", text.lower())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))
