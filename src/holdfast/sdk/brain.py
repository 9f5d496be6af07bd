"""The Brain: records an agent's corrections and returns what was learned from them.

Each call is one transaction of the folder and returns when it is as durable as was chosen. No
method sends, resolves a name or waits for another machine on the caller's thread, except `flush`,
`end_session`, `sync` and `close`, which wait for at most their deadline. Wrong arguments raise
ValueError; failures of disk, network or plane raise nothing: the results report them.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from holdfast.disk.durable_file import write_file
from holdfast.kernel.clock import Clock, SystemClock
from holdfast.outbox.database import DATABASE, MEMORY, POWER, UnavailableError
from holdfast.outbox.defaults import always_open, folder_path, log_notice
from holdfast.outbox.limits import FLUSH_DEADLINE_S, NOTICE_EVERY_MS
from holdfast.outbox.receipts import OPEN, Flushed
from holdfast.sdk import limits, schema
from holdfast.sdk.destination import Destination, switched_off
from holdfast.sdk.event_log import EventLog
from holdfast.sdk.lazy_modules import Later
from holdfast.sdk.transport import Transport

if TYPE_CHECKING:
    from holdfast.outbox.doctor import Stats
    from holdfast.outbox.ports import DeadLetter, Fetch, Gate, Notice
    from holdfast.outbox.transaction import Transaction
    from holdfast.sdk import compose, lessons, record, results, verdict_merge
    from holdfast.sdk.lessons import Lesson
    from holdfast.sdk.record import Event, Made
    from holdfast.sdk.results import Correction, Recorded, SessionEnd, Synced
else:
    compose, verdict_merge, lessons, record, results = map(
        Later, ("compose", "verdict_merge", "lessons", "record", "results")
    )

_ID_DIGITS: Final = 32

T = TypeVar("T")


class Brain:
    """The brain in one folder. Safe from any thread, in many processes at once, and after a fork.

    with Brain("~/agent/brain") as brain:
        brain.correct(draft="Utilize the tool.", final="Use the tool.", session="tuesday")
        prompt = brain.rules_for("write the release note")
    """

    def __init__(
        self,
        folder: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        url: str | None = None,
        api_key: str | None = None,
        durability: str = POWER,
        name: str | None = None,
        gate: Gate = always_open,
        notice: Notice = log_notice,
        clock: Clock | None = None,
    ) -> None:
        """Open the folder, which is created if absent.

        `url` and `api_key` precede HOLDFAST_URL and HOLDFAST_API_KEY, which precede the key file
        (docs/sdk.md); all are looked up again before each send. `durability` is "memory", "process"
        or "power"; ValueError for any other. `name` is the brain's name on the plane: the folder's
        name by default, with an id. `gate` is called before each send, in addition to the kill
        switch; `notice` is called, rarely, with messages for a person.
        """
        self.folder = os.path.abspath(os.path.expanduser(folder_path(folder)))
        self._clock = clock or SystemClock()
        self._name = None if name is None else compose.short_name("name", name)
        self._shown_name = ""
        self._host_gate = gate
        self._notice = notice
        self._warned_ms: dict[str, float] = {}
        self._known_lessons: list[Lesson] = []
        self._in_foreground = False
        self.destination = Destination(url, api_key)
        self._kept = durability != MEMORY
        if self._kept:
            _make_folder(self.folder)
        # Loaded by the first brain that is opened: a program that only imports pays nothing for it.
        from holdfast.outbox.box import open_outbox  # noqa: PLC0415

        self._carrier = Transport(self.destination, clock=self._clock, name=self.name)
        self._outbox = open_outbox(
            self.folder,
            sender=self._carrier,
            durability=durability,
            gate=self._gate,
            notice=notice,
            clock=self._clock,
            prepare=schema.Schema(
                self.folder,
                clock=self._clock,
                name=lambda: _brain_id(self.folder, kept=self._kept),
                rescue=self._rescue,
            ),
            fetch=self._hearing,
            begin=False,
        )
        self._log = EventLog(self.folder, self._outbox.read, may_start=self._may_start)
        self._outbox.resume()
        usable = self._note_durability(durability)
        waits = self.destination.find().problem
        if usable and waits and not self._gate():
            self._warn("waits", f"corrections are kept in {self.folder} and wait: {waits}")

    def _warn(self, kind: str, text: str) -> None:
        """Tell a person, at most hourly for each kind."""
        now_ms = self._clock.steady_ms()
        if now_ms - self._warned_ms.get(kind, float("-inf")) >= NOTICE_EVERY_MS:
            self._warned_ms[kind] = now_ms
            # The notice may fail; a program that records must not fail with it.
            with suppress(Exception):
                self._notice(text)

    def _gate(self) -> str:
        if self._in_foreground:
            return OPEN
        switch = switched_off()
        return f"{switch} is set" if switch else self._host_gate()

    def _may_start(self) -> bool:
        return not switched_off()

    def _rescue(self, connection: sqlite3.Connection) -> None:
        if not self._kept:
            return
        from holdfast.sdk import rescue  # noqa: PLC0415  # needed for a new database only

        rescue.refill(connection, self.folder)

    def _hearing(self) -> Fetch:
        """Return the fetcher of the dashboard's verdicts; made with the first thread."""
        from holdfast.sdk.verdicts import Verdicts  # noqa: PLC0415  # the thread's business

        return Verdicts(
            self.folder if self._kept else None,
            post=self._carrier.post,
            read=self._outbox.read,
            write=self._follow,
            question=self._carrier.question,
            clock=self._clock,
        )

    def _follow(self, work: Callable[[Transaction], bool]) -> bool:
        followed = self._write(work, rows=0)
        if followed:
            self._logged()
        return followed

    def _note_durability(self, durability: str) -> bool:
        """Store what was chosen, for a doctor, if it changed; return whether it is stored."""
        try:
            stored = self._outbox.read(_query(schema.BRAIN_READ, ("durability",)))
            if stored != [(durability,)]:
                note = ("durability", durability)
                self._write(lambda tx: tx.execute(schema.BRAIN_WRITE, note), rows=0)
        except UnavailableError:
            # The folder cannot be used now; a doctor detects that itself.
            return False
        return True

    # ------------------------------------------------------------------ recording

    def correct(
        self,
        draft: str,
        final: str,
        category: str | None = None,
        context: str | None = None,
        session: str | int | None = None,
    ) -> Correction:
        """Record that `draft` was corrected to `final`.

        `category` is one of FACTUAL, STYLE, STRUCTURE, PROCESS, TONE and CONTENT, or a word of
        one's own; it is guessed if not given. `context` describes the purpose of the text. The same
        two texts in one session (without one: on one UTC day) are one correction, counted.

        Raise ValueError if both are empty or equal, are longer than 100,000 characters together, or
        an argument is invalid. Of each text at most 20,000 characters are kept.
        """
        made = compose.correction(
            draft,
            final,
            category=category,
            context=context,
            session=session,
            now_ms=self._clock.now_ms(),
        )
        try:
            kept = self._write(lambda tx: record.keep_correction(tx, made), grouped=True)
        except UnavailableError as error:
            return _answer(made, record.Kept(0, queued=False, reason=str(error), lessons=()))
        self._logged()
        return _answer(made, kept)

    def record(
        self,
        type: str,  # noqa: A002  # what it is called in every event log
        data: Mapping[str, Any] | None = None,
        *,
        source: str = "agent",
        tags: Iterable[str] = (),
        session: str | int | None = None,
    ) -> Recorded:
        """Record an event: `type` in a word, `data` as JSON data.

        Raise ValueError for an invalid argument: more than 20 tags, data that JSON cannot
        represent, or more of it than 200,000 bytes.
        """
        event = self._event(
            type,
            {} if data is None else data,
            source=source,
            tags=compose.as_list("tags", tags),
            session=session,
        )
        try:
            receipt = self._write(lambda tx: record.keep_event(tx, event)[1], grouped=True)
        except UnavailableError as error:
            return results.Recorded(
                event.event_id, persisted=False, queued=False, reason=str(error)
            )
        self._logged()
        from holdfast.outbox.transaction import STORED  # noqa: PLC0415  # loaded by the opening

        queued = receipt.state == STORED
        return results.Recorded(
            event.event_id, persisted=True, queued=queued, reason=receipt.reason
        )

    def _event(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        source: str,
        tags: list[str],
        session: str | int | None,
    ) -> Event:
        named = compose.short_name("type", kind)
        if named in record.RESERVED:
            raise ValueError(f"type {named!r}: kept for what `correct` and lessons record")
        compose.as_map("data", data)
        if len(tags) > limits.TAGS_MAX:
            raise ValueError(f"tags: {len(tags)}, at most {limits.TAGS_MAX}")
        from holdfast.outbox import redactor  # noqa: PLC0415  # its patterns are rarely needed

        try:
            text = record.written(redactor.redact_value(data))
            size = len(text.encode())
        except ValueError as error:
            raise ValueError(f"data: {error}") from error
        if size > limits.DATA_BYTES_MAX:
            raise ValueError(f"data: {size} bytes, at most {limits.DATA_BYTES_MAX}")
        now_ms = self._clock.now_ms()
        return record.Event(
            id=0,
            event_id=f"e{now_ms:012x}{os.urandom(10).hex()}",
            at_ms=now_ms,
            type=named,
            source=compose.short_name("source", source),
            session=compose.session_named(session),
            data=text,
            tags=record.written([compose.short_name("tags", tag) for tag in tags]),
        )

    def _logged(self) -> None:
        if self._kept:
            self._log.poke()

    def end_session(
        self, session: str | int | None = None, *, deadline_s: float = FLUSH_DEADLINE_S
    ) -> SessionEnd:
        """Record the end of a session, send what is queued within the deadline, and summarise.

        Calling it is optional.
        """
        spoken = compose.session_named(session)
        occasion = compose.occasion(spoken, self._clock.now_ms())
        severities: dict[str, int] = {}
        repeats = 0
        states: dict[str, int] = dict.fromkeys(lessons.STATES, 0)
        try:
            for severity, rows, times in self._rows(schema.SESSION_COUNTS, (occasion,)):
                severities[severity] = rows
                repeats += times - rows
            for lesson in self.lessons():
                states[lesson.state] += 1
        except UnavailableError as error:
            return results.SessionEnd(spoken, 0, 0, {}, states, 0, str(error))
        corrections = sum(severities.values())
        self.record(
            "SESSION_END",
            {"corrections": corrections, "repeats": repeats, "severities": severities},
            source=record.OURS,
            session=session,
        )
        flushed = self.flush(deadline_s)
        return results.SessionEnd(
            spoken, corrections, repeats, severities, states, flushed.pending, flushed.reason
        )

    # ------------------------------------------------------------------ lessons

    def rules_for(
        self, task: str = "", *, most: int = limits.RULES_SHOWN, also: Sequence[Lesson] = ()
    ) -> str:
        """Return what was learned, as lines for a prompt: patterns and rules that fit `task` best.

        Empty if nothing was learned yet. What is shown is counted in each lesson's `fires`. Where
        the folder cannot be written, what is known is returned uncounted, and a notice says so.
        `also` are lessons of another program, which are shown among ours.
        """
        compose.as_text("task", task)
        self._outbox.tend()
        try:
            known = self.lessons()
        except UnavailableError as error:
            self._warn("rules", f"no rules can be read from {self.folder}: {error}")
            return ""
        shown = lessons.chosen([*known, *also], task, most=most)
        if shown:
            try:
                self._write(lambda tx: record.fired(tx, shown), rows=0, grouped=True)
            except UnavailableError as error:
                self._warn(
                    "rules",
                    f"{self.folder} cannot be written ({error}): the {len(known)} lessons known"
                    " are served, and nothing new is learned; holdfast brain doctor",
                )
        return lessons.rendered(shown)

    def lessons(self) -> list[Lesson]:
        """Return every lesson, by descending confidence.

        Where the folder cannot be written they are read from it all the same, and where it cannot
        be read, they are those that were read last; UnavailableError if none ever were.
        """
        try:
            rows = self._rows(schema.LESSONS_ALL, ())
        except UnavailableError as error:
            if not self._known_lessons:
                raise
            self._warn(
                "lessons",
                f"{self.folder} cannot be read ({error}): the {len(self._known_lessons)} lessons"
                " that were read last are served",
            )
            return list(self._known_lessons)
        self._known_lessons = [
            found for row in rows if (found := lessons.believed(row)) is not None
        ]
        return list(self._known_lessons)

    def approve(self, lesson_id: str) -> Lesson:
        """Make a lesson a rule; raise ValueError if there is none of this id."""
        return self._judge(lesson_id, lessons.approved)

    def reject(self, lesson_id: str) -> Lesson:
        """Never show a lesson again, however often it comes; ValueError as in `approve`."""
        return self._judge(lesson_id, lessons.rejected)

    def _judge(self, lesson_id: str, verdict: Callable[..., Lesson]) -> Lesson:
        compose.short_name("lesson_id", lesson_id)

        def work(tx: Transaction) -> Lesson:
            there = record.lesson_of(tx, lesson_id)
            if there is None:
                raise ValueError(f"lesson_id {lesson_id[:40]!r}: there is no such lesson")
            judged = verdict(there, now_ms=self._clock.now_ms())
            verdict_merge.judge_here(tx, judged)
            return judged

        judged = self._write(work, rows=0)
        self._logged()
        return judged

    # ------------------------------------------------------------------ sending and ending

    def flush(self, deadline_s: float = FLUSH_DEADLINE_S) -> Flushed:
        """Wait, for at most `deadline_s` seconds, until what is queued now is delivered."""
        return self._outbox.flush(deadline_s)

    def close(self, deadline_s: float = FLUSH_DEADLINE_S) -> Flushed:
        """Flush, then close; what is not sent stays queued for the next process."""
        if self._kept:
            self._log.stop()
        return self._outbox.close(deadline_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def name(self) -> str:
        """Return the brain's name on the plane."""
        if self._name is not None:
            return self._name
        if not self._shown_name:
            # A folder's name may hold any bytes; a brain's is printable.
            shown = "".join(filter(str.isprintable, os.path.basename(self.folder))) or "brain"
            try:
                ((brain_id,),) = self._rows(schema.BRAIN_READ, ("brain",))
            except (UnavailableError, ValueError):
                return shown[: limits.NAME_CHARS_MAX]
            shown = shown[: limits.NAME_CHARS_MAX - 9]
            self._shown_name = f"{shown}-{brain_id[:8]}"
        return self._shown_name

    def sync(
        self, *, full: bool = False, backfill: bool = False, deadline_s: float | None = None
    ) -> Synced:
        """Send what is queued, in the foreground, also while a kill switch is set; see `Synced`.

        `full` sends the whole record again, `backfill` imports what another program recorded in
        this folder before. Ends when the queue is empty, without progress, or at the deadline.
        """
        from holdfast.sdk import sync  # noqa: PLC0415  # a command's business

        def begin() -> None:
            self._in_foreground = True
            self._outbox.resume()

        try:
            return sync.run(
                self._outbox,
                begin=begin,
                clock=self._clock,
                problem=lambda: self.destination.find().problem,
                full=full,
                old=backfill,
                deadline_s=deadline_s,
            )
        finally:
            self._in_foreground = False
            self._logged()

    def repair(self) -> list[str]:
        """Repair what can be; see `holdfast.sdk.doctor.repair`."""
        done = [self._outbox.repair()]
        if self._kept:
            hindered = self._log.rebuild()
            done.append(hindered or "events.jsonl: written anew from the database")
        return done

    # ------------------------------------------------------------------ looking

    @property
    def waits_because(self) -> str:
        """Return why nothing is being sent now, empty if there is no reason."""
        return self._gate() or self.destination.find().problem or self._outbox.blocked

    def stats(self) -> Stats:
        """Return the state of the queue; see `holdfast.sdk.doctor` for a closed folder."""
        return self._outbox.stats()

    def tail(self, *, after: int | None = None, most: int = 50) -> list[Event]:
        """Return events in order: those after number `after`, or the last `most`."""
        if after is None:
            return [record.believed(row) for row in self._rows(schema.EVENTS_LAST, (most,))][::-1]
        return [record.believed(row) for row in self._rows(schema.EVENTS_AFTER, (after, most))]

    def events(
        self,
        *,
        types: tuple[str, str] | None = None,
        session: int | None = None,
        since: int | None = None,
        most: int = -1,
    ) -> list[Event]:
        """Return events, newest first: of one of two types, of a session, of those from `since`.

        A session that is no number counts as 0. Negative `most` is no bound.
        """
        one, other = types or (None, None)
        values = (one, other, session, since, most)
        return [record.believed(row) for row in self._rows(schema.EVENTS_FOUND, values)]

    def newest_session(self) -> int:
        """Return the largest session that is a number, 0 if there is none."""
        return int(self._rows(schema.SESSION_NEWEST, ())[0][0])

    def number_of(self, event_id: str) -> int:
        """Return the number of an event in the record, 0 if it is not there."""
        return int(next(iter(self._rows(schema.EVENT_NUMBER, (event_id,))), (0,))[0])

    def dead_letters(self, *, after_row: int = 0, most: int = 100) -> list[DeadLetter]:
        """Return what the plane refused permanently, by row number; raise UnavailableError."""
        return self._outbox.dead_letters(after_row=after_row, limit=most)

    def redrive(self, rows: Iterable[int] | None = None) -> int:
        """Send dead letters again, all by default; return how many."""
        return self._outbox.redrive(rows)

    def discard(self, rows: Iterable[int] | None = None) -> int:
        """Drop dead letters, all by default; return how many. They stay counted."""
        return self._outbox.discard(rows)

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        look = _query(sql, values)
        try:
            return self._outbox.read(look)
        except UnavailableError:
            if not self._kept:
                raise
            from holdfast.outbox import read_only  # noqa: PLC0415  # seldom needed

            return read_only.look(os.path.join(self.folder, DATABASE), look)

    def _write(
        self, work: Callable[[Transaction], T], *, rows: int = 1, grouped: bool = False
    ) -> T:
        """Write through the outbox; an undetected damaged table is reported as unusable."""
        try:
            return self._outbox.write(work, rows=rows, grouped=grouped)
        except sqlite3.Error as error:
            self._outbox.count_dropped(rows)
            raise UnavailableError(f"the record is damaged ({error}); doctor.repair") from error


def _query(
    sql: str, values: tuple[Any, ...]
) -> Callable[[sqlite3.Connection], list[tuple[Any, ...]]]:
    return lambda connection: connection.execute(sql, values).fetchall()


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        # The outbox finds the same, counts what it cannot store, and tries again.
        return


def _brain_id(folder: str, *, kept: bool) -> str:
    """Return the id of the brain in this folder, made on first use.

    It is stored beside the database, so that a brain whose database was lost keeps its identity.
    """
    path = os.path.join(folder, "brain.id")
    try:
        with open(path, encoding="ascii") as file:
            there = file.read(_ID_DIGITS)
        if len(there) == _ID_DIGITS and int(there, 16) >= 0:
            return there
    except (OSError, ValueError):
        # Not there yet, or damaged: replaced by a new one.
        there = ""
    made = os.urandom(_ID_DIGITS // 2).hex()
    if not kept:
        return made
    try:
        write_file(path, made.encode("ascii"))
    except OSError:
        # The database stores it, too.
        return made
    return made


def _answer(made: Made, kept: record.Kept) -> Correction:
    return results.Correction(
        event_id=made.event_id,
        content_hash=made.content,
        session=made.session,
        day=made.day,
        category=made.category,
        severity=made.severity,
        edit_distance=made.distance,
        summary=made.summary,
        classifications=made.classifications,
        draft=made.draft,
        final=made.final,
        context=made.context,
        seen=kept.times,
        deduplicated=kept.times > 1,
        persisted=kept.times > 0,
        queued=kept.queued,
        reason=kept.reason,
        lessons=tuple(lesson.lesson_id for lesson in kept.lessons),
    )
