"""People's verdicts on lessons on the dashboard: fetched, and applied to the folder.

The answer to a batch has the number of the newest verdict. If the folder has another one, and every
30 seconds in any case, one process of a folder requests newer ones from the plane, page by page,
and stores each page with its number in one transaction. It must never send on the caller's thread,
and never request where nothing may be sent.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from holdfast.kernel.clock import Clock
from holdfast.outbox.redactor import valid
from holdfast.outbox.transaction import Transaction
from holdfast.sdk import limits, schema, verdict_merge
from holdfast.sdk.verdict_merge import Decided

ASKED: Final = "verdicts.asked"
KNOWN: Final = "verdicts"
VERSION: Final = 1
"""The version of the request: that of a batch."""

_TAKEN: Final = range(200, 300)
_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 501})


class Post(Protocol):
    """Posts a request to the plane, and returns its status, headers in lower case, and body."""

    def __call__(self, body: bytes, /) -> tuple[int, Mapping[str, str], bytes]:
        """Send the request; raise OSError or ValueError without an answer."""
        ...


class Page(NamedTuple):
    """One answer: verdicts on the lessons of `brain`, up to number `upto`."""

    brain: str
    upto: int
    items: tuple[Decided, ...]


class Failed(NamedTuple):
    """There was no answer, and when to try again."""

    again_ms: int


class Verdicts:
    """Requests for one folder; of several processes one at a time."""

    def __init__(
        self,
        folder: str | None,
        *,
        post: Post,
        read: Callable[[Callable[[sqlite3.Connection], Any]], Any],
        write: Callable[[Callable[[Transaction], bool]], bool],
        question: Callable[[], dict[str, Any]],
        clock: Clock,
    ) -> None:
        """`folder` is None if nothing is kept; `question` is the constant part of a request."""
        self._path = None if folder is None else os.path.join(folder, ASKED)
        self._post = post
        self._read = read
        self._write = write
        self._question = question
        self._clock = clock
        self.wanted = False
        self._opening = True
        self._next_ms = float("-inf")

    # ------------------------------------------------------------------ when

    def note_newest(self, revision: int) -> None:
        """Record the number of the newest verdict."""
        if revision != self._known()[1]:
            self.wanted = True
            self._next_ms = min(self._next_ms, self._clock.steady_ms())

    def due(self) -> bool:
        """Return whether a request is due now."""
        return self._clock.steady_ms() >= self._next_ms

    def begin(self) -> Callable[[], Callable[[], object]] | None:
        """Return the request to run; None if another process of the folder just has."""
        now_ms = self._clock.steady_ms()
        self._next_ms = now_ms + limits.VERDICTS_EVERY_MS
        gap_ms = limits.VERDICTS_OPEN_MS if self._opening else limits.VERDICTS_EVERY_MS
        self._opening = False
        left_ms = self._stamp(0 if self.wanted else gap_ms)
        if left_ms > 0:
            self._next_ms = now_ms + left_ms
            return None
        self.wanted = False  # news during this request is fetched after it
        brain, number = self._known()
        request = {**self._question(), "version": VERSION, "of": brain, "known": number}
        body = json.dumps(request, separators=(",", ":")).encode()

        def fetch() -> Callable[[], object]:
            answer = _answer(self._post, body)
            return lambda: self._finish(answer, (brain, number))

        return fetch

    def _stamp(self, gap_ms: float) -> float:
        """Mark our request; return 0, or the wait since another process's request."""
        if self._path is None:
            return 0
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            # Without room for a mark, several may request; that is harmless.
            return 0
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(handle)
            age_ms = self._clock.now_ms() - about.st_mtime_ns // 1_000_000
            # A new file has no information, and a time in the future is not trusted.
            if about.st_size and 0 <= age_ms < gap_ms:
                return gap_ms - age_ms
            os.pwrite(handle, b"asked\n", 0)
            now_ns = self._clock.now_ms() * 1_000_000
            os.utime(handle, ns=(now_ns, now_ns))
        except BlockingIOError:
            return limits.VERDICTS_OPEN_MS
        except OSError:
            return 0
        finally:
            os.close(handle)
        return 0

    # ------------------------------------------------------------------ what came

    def _known(self) -> tuple[str, int]:
        rows: Sequence[tuple[str]] = self._read(
            lambda connection: connection.execute(schema.BRAIN_READ, (KNOWN,)).fetchall()
        )
        return _parsed(rows)

    def _finish(self, answer: Page | Failed, before: tuple[str, int]) -> None:
        if isinstance(answer, Failed):
            self.wanted = False
            self._next_ms = self._clock.steady_ms() + answer.again_ms
            return
        moved = self._write(lambda tx: self._take(tx, answer, before))
        # One more request confirms to the plane that they were stored, and returns others.
        if moved:
            self.wanted = True
            self._next_ms = self._clock.steady_ms()

    def _take(self, tx: Transaction, page: Page, before: tuple[str, int]) -> bool:
        """Apply a page; return whether to request once more.

        That is so if the known number changed: by it, or meanwhile by another process.
        """
        now = (page.brain, page.upto)
        known = _parsed(tx.execute(schema.BRAIN_READ, (KNOWN,)).fetchall())
        if not page.brain or known != before:
            return known != before
        if now == known:
            return False
        for decided in page.items:
            verdict_merge.follow(tx, decided, brain=page.brain, now_ms=self._clock.now_ms())
        tx.execute(schema.BRAIN_WRITE, (KNOWN, f"{page.brain} {page.upto}"))
        return True


def _parsed(rows: Sequence[Sequence[Any]]) -> tuple[str, int]:
    brain, _, number = str(rows[0][0] if rows else "").partition(" ")
    return (brain, int(number)) if brain and number.isdecimal() else ("", 0)


def _answer(post: Post, body: bytes) -> Page | Failed:
    try:
        status, headers, raw = post(body)
    except (OSError, ValueError):
        return Failed(limits.VERDICTS_EVERY_MS)
    page = _page(raw) if status in _TAKEN else None
    if page is not None:
        return page
    if status in _REFUSED:
        # An older plane, or a refused key: the rows report that.
        return Failed(limits.VERDICTS_REFUSED_MS)
    wanted = headers.get("retry-after", "")
    after_ms = int(wanted[:6]) * 1_000 if wanted.isdecimal() else 0
    return Failed(min(max(after_ms, limits.VERDICTS_EVERY_MS), limits.VERDICTS_AFTER_MAX_MS))


def _page(raw: bytes) -> Page | None:
    """Return an answer as a page, None if it is not one: a proxy's, a captive portal's."""
    try:
        read = json.loads(raw)
        items = tuple(map(_decided, read["items"][: limits.VERDICTS_MAX]))
        brain, upto = read["brain"], read["upto"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if (
        not isinstance(brain, str)
        or " " in brain
        or not brain.isprintable()
        or type(upto) is not int
        or upto < 0
    ):
        return None
    return Page(brain, upto, items)


def _decided(row: Mapping[str, Any]) -> Decided:
    verdict = row["verdict"]
    if verdict not in verdict_merge.VERDICTS:
        raise ValueError("verdict")
    return Decided(
        number=int(row["number"]),
        lesson_id=valid(str(row["lesson_id"]))[: limits.LESSON_ID_CHARS_MAX],
        verdict=verdict,
        by=valid(str(row["by"]))[: limits.NAME_CHARS_MAX],
        age_ms=max(int(row["age_ms"]), 0),
        category=valid(str(row["category"]))[: limits.NAME_CHARS_MAX],
        text=valid(str(row["text"]))[: limits.RULE_CHARS_MAX],
        confidence=min(max(float(row["confidence"]), 0.0), 1.0),
        corrections=max(int(row["corrections"]), 0),
    )
