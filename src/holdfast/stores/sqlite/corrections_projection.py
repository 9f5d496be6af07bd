"""From arrivals to rows, a group at a time, inside one transaction of the writing thread.

Stored rows are looked up once for the whole group, and new rows go in by few statements of many
rows, since each step of SQLite releases the GIL. Within a group the first of two equal rows is new
and the other a repeat, as if they had come one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from holdfast.corrections.gaps import Numbers, add
from holdfast.corrections.identity import raised
from holdfast.corrections.joining import Told, join, told
from holdfast.corrections.limits import EVENT_IDS_KEPT
from holdfast.corrections.records import ROUTES, Arrival, Correction, Forgotten, Standing, Written
from holdfast.kernel.clock import HOUR_MS
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.corrections_words import WordTables

_WIDTHS: Final = {
    "known_ids": 2,
    "known_corrections": 3,
    "add_corrections": 26,
    "add_ids": 3,
    "add_cut_hashes": 4,
    "add_events": 9,
    "some_sources": 2,
    "put_sources": 9,
    "add_counts": 7,
    "add_hours": 4,
}

_Same = tuple[int, bytes, str]
_Named = tuple[int, str]
_GAPS: Final = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_IDS: Final = msgspec.json.Decoder(list[str])
_encode = msgspec.json.encode


def read_gaps(text: str) -> tuple[tuple[int, int], ...]:
    """Return a sender's missing numbers; a damaged list is empty, as if none were missing."""
    try:
        return _GAPS.decode(text)
    except ValueError:
        return ()


def _read_ids(text: str) -> list[str]:
    """Return a correction's ids; a damaged list is empty."""
    try:
        return _IDS.decode(text)
    except ValueError:
        return []


class _Held(Struct):
    """A correction that this group adds (`no` 0 until it has one) or changes.

    An added one has `row`; a changed one was read from the file. `was` is what was told
    of it before this group.
    """

    no: int
    brain: int
    via: list[int]
    ids: list[str]
    told: Told
    hour: int
    was: Told
    row: Correction | None = None
    arrival: Arrival | None = None


class _Tally(Struct):
    """The result of one arrival so far."""

    accepted: int = 0
    deduplicated: int = 0
    lessons: bool = False


class _Group(Struct):
    """One group in progress: stored corrections, by id and by content, and the changes."""

    connection: apsw.Connection
    arrivals: Sequence[Arrival]
    tallies: list[_Tally]
    numbers: dict[_Named, Numbers]
    by_id: dict[_Named, _Held | int]
    by_content: dict[_Same, _Held | int]
    fresh: list[_Held]
    fresh_cuts: dict[_Same, list[_Held]]
    changed: dict[int, _Held]
    new_ids: list[tuple[int, str, _Held]]
    completed: dict[int, Correction]


class Projection:
    """Writes groups of arrivals; one instance is used by one thread."""

    def __init__(self, queries: dict[str, str], words: WordTables) -> None:
        """Take the statements of `sql/corrections`."""
        self._words = words
        self._sql = queries
        self._bulk = {name: Bulk(queries[name], width) for name, width in _WIDTHS.items()}

    def write(
        self, connection: apsw.Connection, arrivals: Sequence[Arrival], *, forgotten: Forgotten
    ) -> list[Written]:
        """Write the arrivals and return the result of each.

        A numbered row that came before, and was made before `forgotten`, is a repeat although
        its row was purged.
        """
        group = _Group(
            connection=connection,
            arrivals=arrivals,
            tallies=[_Tally() for _ in arrivals],
            numbers=self._numbers(connection, arrivals),
            by_id={},
            by_content={},
            fresh=[],
            fresh_cuts={},
            changed={},
            new_ids=[],
            completed={},
        )
        self._look_up(group)
        for arrival, tally in zip(arrivals, group.tallies, strict=True):
            for correction in arrival.corrections:
                self._take(group, arrival, tally, correction, forgotten)
        self._add_fresh(group)
        self._change(group)
        self._add_events(group, forgotten)
        self._put_lessons(group)
        standings = self._put_sources(group)
        self._count(group)
        return [
            Written(tally.accepted, tally.deduplicated, standing, tally.lessons)
            for tally, standing in zip(group.tallies, standings, strict=True)
        ]

    def _numbers(
        self, connection: apsw.Connection, arrivals: Sequence[Arrival]
    ) -> dict[_Named, Numbers]:
        """Return the numbers of these senders that came before."""
        senders = list({(arrival.brain, arrival.source) for arrival in arrivals})
        found = self._bulk["some_sources"].read(connection, senders)
        return {
            (brain, source): Numbers(newest, read_gaps(gaps), forgotten)
            for brain, source, newest, gaps, forgotten in found
        }

    def _look_up(self, group: _Group) -> None:
        """Look the group's corrections up, by id and by content."""
        rows = [(a.brain, c) for a in group.arrivals for c in a.corrections]
        if not rows:
            return
        read = self._bulk["known_ids"].read
        named = read(group.connection, [(brain, c.event_id) for brain, c in rows])
        group.by_id.update({(brain, event_id): no for brain, event_id, no in named})
        read = self._bulk["known_corrections"].read
        same = read(group.connection, [(brain, c.hash, c.scope) for brain, c in rows])
        group.by_content.update({(brain, hash_, scope): no for brain, hash_, scope, no in same})

    def _take(
        self, group: _Group, arrival: Arrival, tally: _Tally, row: Correction, forgotten: Forgotten
    ) -> None:
        """Take one correction: a known id, a repeat by content, or new."""
        named, same = (arrival.brain, row.event_id), (arrival.brain, row.hash, row.scope)
        known = group.by_id.get(named)
        if known is not None:
            tally.deduplicated += 1
            if row.count > 1:
                self._raise(group, self._hold(group, known), arrival, row, is_new=False)
            return
        came = _came(group, arrival, row.seq)
        found = group.by_content.get(same)
        if found is None and row.cut_hash:
            found = self._find_cut(group, arrival, row)
        if found is not None:
            tally.deduplicated += 1
            held = self._hold(group, found)
            group.by_id[named] = group.by_content[same] = held
            if not came:
                self._raise(group, held, arrival, row, is_new=True)
            return
        if came and row.at_ms < forgotten.corrections_ms:
            tally.deduplicated += 1
            return
        tally.accepted += 1
        via = [0] * len(ROUTES)
        via[ROUTES.index(arrival.route)] = row.count
        said, hour = told(row), row.at_ms // HOUR_MS
        fresh = _Held(0, arrival.brain, via, [row.event_id], said, hour, said, row, arrival)
        group.fresh.append(fresh)
        group.new_ids.append((*named, fresh))
        group.by_id[named] = group.by_content[same] = fresh
        if row.cut_hash:
            cut = (arrival.brain, row.cut_hash, row.scope)
            group.fresh_cuts.setdefault(cut, []).append(fresh)

    def _hold(self, group: _Group, known: _Held | int) -> _Held:
        """Return a known correction, read from the file the first time."""
        if isinstance(known, _Held):
            return known
        held = group.changed.get(known)
        if held is None:
            cursor = group.connection.execute(self._sql["one_correction"], {"no": known})
            found: tuple[Any, ...] = cursor.fetchall()[0]
            brain, ids, at_ms, *rest = found
            via, said = rest[: len(ROUTES)], Told(*rest[len(ROUTES) :])
            read_ids = _read_ids(ids)
            held = _Held(known, brain, via, read_ids, said, at_ms // HOUR_MS, replace(said))
            group.changed[known] = held
        return held

    def _raise(
        self, group: _Group, held: _Held, arrival: Arrival, row: Correction, *, is_new: bool
    ) -> None:
        """Count a repeat by its route, and join in what it says."""
        at = ROUTES.index(arrival.route)
        join(held.told, row, arrival.route, held.via)
        if not is_new:
            held.via[at] = max(held.via[at], row.count)
            return
        held.via[at] = raised(held.via[at], row.count, row.event_id, held.ids)
        if len(held.ids) < EVENT_IDS_KEPT:
            held.ids.append(row.event_id)
            group.new_ids.append((arrival.brain, row.event_id, held))

    def _find_cut(self, group: _Group, arrival: Arrival, row: Correction) -> _Held | int | None:
        """Return the correction that this one is a cut of, or that is a cut of this one."""
        values = {"brain": arrival.brain, "cut_hash": row.cut_hash, "scope": row.scope}
        known: list[tuple[_Held | int, bool, str, str]] = []
        for no, was_cut, draft, final in group.connection.execute(
            self._sql["cut_candidates"], values
        ):
            more = group.completed.get(no)
            known.append(
                (no, bool(was_cut), draft, final)
                if more is None
                else (no, more.was_cut, more.draft, more.final)
            )
        known += [
            (held, held.row.was_cut, held.row.draft, held.row.final)
            for held in group.fresh_cuts.get((arrival.brain, row.cut_hash, row.scope), ())
            if held.row is not None
        ]
        for found, was_cut, draft, final in known:
            if row.was_cut and draft.startswith(row.draft) and final.startswith(row.final):
                return found
            if was_cut and row.draft.startswith(draft) and row.final.startswith(final):
                held = self._hold(group, found)
                if held.row is not None:
                    held.row = replace(
                        held.row,
                        hash=row.hash,
                        was_cut=row.was_cut,
                        draft=row.draft,
                        final=row.final,
                    )
                else:
                    group.completed[held.no] = row
                return held
        return None

    def _add_fresh(self, group: _Group) -> None:
        """Give the new corrections their numbers and add them."""
        if not group.fresh:
            return
        connection, many = group.connection, {"many": len(group.fresh)}
        taken: tuple[Any, ...] = connection.execute(self._sql["take_numbers"], many).fetchall()[0]
        last: int = taken[0]
        for no, held in enumerate(group.fresh, last - len(group.fresh) + 1):
            held.no = no
        rows = [_row(held) for held in group.fresh]
        self._bulk["add_corrections"].write(connection, rows)
        self._words.add(
            connection,
            [(h.no, h.row.draft, h.row.final, h.told.summary) for h in group.fresh if h.row],
        )
        longs = [
            (h.arrival.brain, h.row.cut_hash, h.row.scope, h.no)
            for h in group.fresh
            if h.row is not None and h.arrival is not None and h.row.cut_hash
        ]
        if longs:
            self._bulk["add_cut_hashes"].write(connection, longs)

    def _change(self, group: _Group) -> None:
        """Write the changes by repeats, and new ids."""
        connection = group.connection
        for held in group.changed.values():
            self._index_summary(group, held)
            values = {f"via_{name}": held.via[i] for i, name in enumerate(ROUTES)}
            connection.execute(
                self._sql["repeat_correction"],
                {
                    **values,
                    "no": held.no,
                    "event_ids": _encode(held.ids).decode(),
                    **asdict(held.told),
                },
            )
        for no, row in group.completed.items():
            more = {
                "no": no,
                "hash": row.hash,
                "was_cut": int(row.was_cut),
                "draft": row.draft,
                "final": row.final,
            }
            connection.execute(self._sql["complete_correction"], more)
            self._words.drop(connection, no)
            summary = group.changed[no].told.summary
            self._words.add(connection, [(no, row.draft, row.final, summary)])
        if group.new_ids:
            ids = [(brain, event_id, held.no) for brain, event_id, held in group.new_ids]
            self._bulk["add_ids"].write(connection, ids)

    def _index_summary(self, group: _Group, held: _Held) -> None:
        """Make a summary that came later searchable; a completed correction is indexed anyway."""
        if held.no in group.completed or held.told.summary == held.was.summary:
            return
        cursor = group.connection.execute(self._sql["texts"], {"no": held.no})
        for draft, final in cursor.fetchall():
            self._words.drop(group.connection, held.no)
            summary = str(held.told.summary)
            self._words.add(group.connection, [(held.no, str(draft), str(final), summary)])

    def _add_events(self, group: _Group, forgotten: Forgotten) -> None:
        """Add new events."""
        rows = [
            (
                a.brain,
                e.event_id,
                e.type,
                e.source,
                e.session,
                e.at_ms,
                a.received_ms,
                e.data,
                e.tags,
            )
            for a in group.arrivals
            for e in a.events
            if e.at_ms >= forgotten.events_ms or not _came(group, a, e.seq)
        ]
        added = {tuple(row) for row in self._bulk["add_events"].read(group.connection, rows)}
        for arrival, tally in zip(group.arrivals, group.tallies, strict=True):
            for event in arrival.events:
                named = (arrival.brain, event.event_id)
                tally.accepted += named in added
                tally.deduplicated += named not in added
                added.discard(named)

    def _put_lessons(self, group: _Group) -> None:
        """Store the newest version of each lesson."""
        for arrival, tally in zip(group.arrivals, group.tallies, strict=True):
            for lesson in arrival.lessons:
                values = {
                    name: getattr(lesson, name)
                    for name in lesson.__struct_fields__
                    if name != "event_id"
                }
                values |= {
                    "brain": arrival.brain, "account": arrival.account, "source": arrival.source
                }  # fmt: skip
                group.connection.execute(self._sql["put_lesson"], values)
                is_news = group.connection.changes() == 1
                tally.accepted += is_news
                tally.deduplicated += not is_news
                tally.lessons |= is_news

    def _put_sources(self, group: _Group) -> list[Standing]:
        """Record received numbers and queue states; return each arrival's sender."""
        latest: dict[_Named, Standing] = {}
        standings = []
        for arrival in group.arrivals:
            named = (arrival.brain, arrival.source)
            came = [
                row.seq
                for rows in (arrival.corrections, arrival.lessons, arrival.events)
                for row in rows
                if row.seq
            ]
            before = group.numbers.get(named, Numbers())
            numbers = add(before, [*came, *arrival.refused_numbers])
            group.numbers[named] = numbers
            standing = Standing(
                arrival.brain,
                arrival.source,
                arrival.sdk,
                numbers,
                arrival.depth,
                arrival.oldest_ms,
                arrival.received_ms,
            )
            latest[named] = standing
            standings.append(standing)
        rows = [
            (
                s.brain,
                s.source,
                s.sdk,
                s.numbers.newest,
                _encode(s.numbers.gaps).decode(),
                s.numbers.forgotten,
                s.depth,
                s.oldest_ms,
                s.heard_ms,
            )
            for s in latest.values()
        ]
        self._bulk["put_sources"].write(group.connection, rows)
        return standings

    def _count(self, group: _Group) -> None:
        """Count rows by SDK version, and new corrections and refused rows by the hour."""
        counts: dict[tuple[int, str], list[int]] = {}
        hours: Counter[tuple[int, int, str]] = Counter()
        for arrival, tally in zip(group.arrivals, group.tallies, strict=True):
            row = counts.setdefault((arrival.brain, arrival.sdk), [0, 0, 0, arrival.received_ms, 0])
            row[0] += tally.accepted
            row[1] += tally.deduplicated
            row[2] += len(arrival.refused)
            row[4] = arrival.received_ms
            if arrival.refused:
                hours[arrival.brain, arrival.received_ms // HOUR_MS, ""] += len(arrival.refused)
        for held in group.fresh:
            hours[held.brain, held.hour, held.told.severity] += 1
        for held in group.changed.values():
            hours[held.brain, held.hour, held.was.severity] -= 1
            hours[held.brain, held.hour, held.told.severity] += 1
        rows: list[tuple[Any, ...]] = [(*named, *row) for named, row in counts.items()]
        self._bulk["add_counts"].write(group.connection, rows)
        if hours:
            counted = [(*named, many) for named, many in hours.items() if many]
            self._bulk["add_hours"].write(group.connection, counted)


def _came(group: _Group, arrival: Arrival, seq: int) -> bool:
    """Return whether a number of a sender came before this group."""
    numbers = group.numbers.get((arrival.brain, arrival.source))
    return seq > 0 and numbers is not None and numbers.has(seq)


def _row(held: _Held) -> tuple[Any, ...]:
    """Return a new correction as its row."""
    row, arrival = held.row, held.arrival
    assert row is not None
    assert arrival is not None
    return (
        held.no,
        arrival.brain,
        arrival.account,
        row.hash,
        row.scope,
        int(row.was_cut),
        row.at_ms,
        arrival.received_ms,
        row.session,
        held.told.category,
        held.told.severity,
        row.draft,
        row.final,
        held.told.context,
        held.told.summary,
        held.told.edit_distance,
        held.told.classifications,
        _encode(held.ids).decode(),
        arrival.source,
        row.seq,
        arrival.sdk,
        *held.via,
    )
