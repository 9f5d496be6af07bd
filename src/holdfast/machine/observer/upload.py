"""The one way out: everything that leaves the node passes `Uploader`, or `Lines` without content.

`send` takes content, typed and with its class; it asks the gate inside the transaction that queues
it, and again right before each request. `send_samples` takes the samples of a signed preview, for
which the gate is asked right before. `ask` takes one of a few small questions whose types are the
whole of what they can carry. No other module of the observer may open a connection; an import
rule and a house test hold that.

The class of a row is the first word of its event id, which the queue's checksum covers.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import reason
from holdfast.kernel.log import Log
from holdfast.kernel.secret import Secret
from holdfast.machine.observer import counts, cursors, gate, limits
from holdfast.machine.observer.cursors import Cursor, Place
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.questions import (
    AskBrowser,
    Heartbeat,
    Question,
    Reconnect,
    Register,
    WakePoll,
)
from holdfast.machine.observer.sealing import Name
from holdfast.outbox.box import Outbox, open_outbox
from holdfast.outbox.database import PROCESS, UnavailableError
from holdfast.outbox.http_connection import HttpConnection, address_of, unsafe
from holdfast.outbox.http_sender import retry_after_ms
from holdfast.outbox.ports import (
    Answer,
    Answered,
    Batch,
    Failed,
    Item,
    Refusal,
    Throttled,
    Unauthorized,
    Unready,
)
from holdfast.outbox.receipts import OPEN
from holdfast.outbox.transaction import DROPPED, Transaction
from holdfast.wire.api.browser_keys import (
    OBSERVER_BROWSERS_PATH,
    OBSERVER_COPIES_PATH,
    OBSERVER_SAMPLES_PATH,
    ObserverCopy,
    ObserverSamples,
)
from holdfast.wire.api.clawmetry import MAY_CHANGE
from holdfast.wire.consent import CLASSES, ContentClass, Grant

Endpoint: TypeAlias = Literal["events", "logs", "memory", "sessions", "cron", "days", "files"]

PATHS: Final[dict[Endpoint, str]] = {
    "events": "/ingest/events",
    "logs": "/ingest/logs",
    "memory": "/ingest/memory",
    "sessions": "/ingest/sessions",
    "cron": "/api/ingest",
    "days": "/ingest/autonomy",
    "files": "/ingest/files",
}
"""Where a body goes (compat/clawmetry-daemon.md)."""

_READ_BY_POSITION: Final = frozenset[Endpoint]({"events", "logs"})
"""Where parts of a stream go. What goes elsewhere is sent whole, so it has no ends within."""

Outcome: TypeAlias = Literal["queued", "closed", "full", "unavailable"]

_CLASS_OF: Final[dict[str, ContentClass]] = {name: name for name in CLASSES}
_KIND: Final = "event"
_GATE_CLOSED: Final = -1
"""The status of a reply for which nothing was sent."""
_DIGEST_DIGITS: Final = 16


class Envelope(Struct, frozen=True, kw_only=True):
    """Content on its way out: its class, where it goes, where it is from, and the JSON body.

    `start` is where it begins in its stream; reading goes on from there if the row is withdrawn.
    `event_ids` are the names of what is in it, and nothing of it is older than `since_ms`.
    """

    content: ContentClass
    endpoint: Endpoint
    stream: str
    start: int
    event_ids: tuple[Name, ...]
    body: str
    since_ms: int = 0

    @property
    def row_id(self) -> str:
        """Return the event id of the row: the same for the same content of the same place."""
        digest = digest_of(self.event_ids)
        return f"{self.content}:{self.endpoint}:{self.stream}:{self.start}:{digest}"


class Samples(Struct, frozen=True, kw_only=True):
    """Samples on their way out, for one signed preview; they pass no queue, and leave once.

    `sealed` is sealed as content is, and that to the key of the page that asked.
    """

    number: int
    sealed: str


def digest_of(event_ids: Sequence[Name]) -> str:
    """Return the id of an upload: the same for the same names."""
    return hashlib.sha256("\n".join(event_ids).encode()).hexdigest()[:_DIGEST_DIGITS]


class Destination(NamedTuple):
    """The plane's base address, the key, and the name that the plane knows this node by."""

    url: str
    key: Secret
    node: str


class Reply(NamedTuple):
    """An answer; `status` is 0 where there was none, and `detail` why.

    `waits_ms` is the answer's Retry-After.
    """

    status: int
    body: bytes
    detail: str = ""
    waits_ms: int | None = None


class _FullError(Exception):
    """The queue is full: everything of the transaction is undone, and nothing is lost."""


class _ClosedError(Exception):
    """The gate is closed for the class."""


_encode: Final = msgspec.json.Encoder().encode
_escaped: Final = partial(quote, safe="")
"""Returns a text as it can stand in a query or a header: other bytes as %XX."""


def _always() -> bool:
    return True


class Lines:
    """Connections to the plane, one kept for each kind of request. Safe from any thread."""

    def __init__(
        self,
        destination: Callable[[], Destination | None],
        *,
        clock: Clock,
        agent: str,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Open nothing yet.

        `agent` is this program with its version. `credentials` are headers that prove a machine of
        the plane; they go with a registration only.
        """
        self._destination = destination
        self._clock = clock
        self._agent = agent
        self._credentials = dict(credentials or {})
        self._kept: dict[str, HttpConnection] = {}

    def ask(self, question: Question) -> Reply:
        """Ask, and return the answer; never raises for what the network does."""
        match question:
            case Heartbeat():
                return self.exchange("heartbeat", "POST", "/ingest/heartbeat", _encode(question))
            case WakePoll(wait=wait):
                known = self._destination()
                node = "" if known is None else _escaped(known.node)
                path = f"/ingest/wake?node_id={node}&wait={wait}"
                timeout_s = wait + limits.WAKE_SLACK_S
                return self.exchange("wake", "GET", path, b"", timeout_s=timeout_s)
            case Register():
                return self.exchange(
                    "register", "POST", "/api/register", _encode(question),
                    timeout_s=limits.REGISTER_TIMEOUT_S,
                )  # fmt: skip
            case Reconnect():
                return self.exchange(
                    "register", "POST", "/auth", _encode(question),
                    timeout_s=limits.REGISTER_TIMEOUT_S,
                )  # fmt: skip
            case AskBrowser(browser=browser):
                known = self._destination()
                node = "" if known is None else _escaped(known.node)
                path = f"{OBSERVER_BROWSERS_PATH}?node_id={node}&browser={_escaped(browser)}"
                return self.exchange("browsers", "GET", path, b"")
            case ObserverCopy():
                return self.exchange("browsers", "POST", OBSERVER_COPIES_PATH, _encode(question))

    def exchange(
        self,
        line: str,
        method: str,
        path: str,
        body: bytes,
        *,
        timeout_s: float | None = None,
        allowed: Callable[[], bool] = _always,
    ) -> Reply:
        """Exchange on the connection kept for such requests, or on a new one.

        `allowed` is asked right before each request, a repeated one included.
        """
        known = self._destination()
        if known is None:
            return Reply(0, b"", "no address of a plane")
        try:
            address = address_of(known.url)
        except ValueError as error:
            return Reply(0, b"", str(error))
        problem = unsafe(address)
        if problem:
            return Reply(0, b"", problem)
        headers = self._headers(known, line)
        target = address.path.rstrip("/") + path
        while True:
            kept = self._kept.pop(line, None)
            wait_s = limits.EXCHANGE_TIMEOUT_S if timeout_s is None else timeout_s
            connection = kept or HttpConnection(*address.origin, timeout_s=wait_s)
            if not allowed():
                connection.close()
                return Reply(_GATE_CLOSED, b"", "the gate is closed for it")
            try:
                response = connection.exchange(method, target, body, headers)
            except (OSError, ValueError) as error:
                connection.close()
                # One that was kept may have been closed meanwhile: a new one gives the true result.
                if kept is None or not isinstance(error, ConnectionError):
                    return Reply(0, b"", reason(error))
                continue
            except BaseException:
                connection.close()
                raise
            # A request that was given up may come back beside the next one.
            if not response.reusable or self._kept.setdefault(line, connection) is not connection:
                connection.close()
            waits_ms = retry_after_ms(response.headers, self._clock.now_ms())
            return Reply(response.status, response.body, "", waits_ms)

    def _headers(self, known: Destination, line: str) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "User-Agent": self._agent,
            **({"X-Api-Key": known.key.reveal()} if known.key else {}),
            **({"X-Node-Id": _escaped(known.node)} if known.node else {}),
            **(self._credentials if line == "register" else {}),
        }

    def drop(self) -> None:
        """Close every kept connection."""
        for line in list(self._kept):
            connection = self._kept.pop(line, None)
            if connection is not None:
                connection.close()


class Uploader:
    """Queues content and sends it, and asks questions. Safe from any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        gate_of_node: Gate,
        destination: Callable[[], Destination | None],
        clock: Clock,
        log: Log,
        agent: str,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the queue in `folder`; nothing is sent before `resume`. The rest is of `Lines`."""
        self._gate = gate_of_node
        self._destination = destination
        self._clock = clock
        self._lines = Lines(destination, clock=clock, agent=agent, credentials=credentials)
        self._bounds: dict[str, int] | None = None
        self._followed: tuple[frozenset[str], int] | None = None
        self.outbox: Outbox = open_outbox(
            folder,
            sender=_Carrier(self),
            durability=PROCESS,
            gate=self._may_send_any,
            notice=lambda text: log.warning("queue.notice", text=text),
            clock=clock,
            prepare=_prepare,
            begin=False,
        )

    def _may_send_any(self) -> str:
        return self._gate.closed_because() or OPEN

    def resume(self) -> None:
        """Begin to send what is queued, as far as the gate lets it."""
        self.outbox.resume()

    # ------------------------------------------------------------------ content

    def send(self, envelope: Envelope, cursor: Cursor) -> Outcome:
        """Queue content and move its cursor, both or neither; it is sent when the gate lets it.

        `closed` and `full` leave the cursor where it was, so that nothing is skipped.
        """
        try:
            self.outbox.write(lambda current: self._queue(current, envelope, cursor), rows=0)
        except _ClosedError:
            return "closed"
        except _FullError:
            return "full"
        except UnavailableError:
            return "unavailable"
        return "queued"

    def _queue(self, current: Transaction, envelope: Envelope, cursor: Cursor) -> None:
        grant = self._gate.grant()
        if grant is None or envelope.content not in grant.classes:
            raise _ClosedError
        if grant.backfill_from_ms != envelope.since_ms:
            # It was read under another grant.
            raise _ClosedError
        receipt = current.enqueue(_KIND, envelope.row_id, envelope.body)
        if receipt.state == DROPPED:
            raise _FullError
        cursors.save(current, cursor)

    def pass_over(self, cursor: Cursor, counted: Sequence[counts.Count] = ()) -> bool:
        """Move a cursor over what is not to be sent, or only counted; return whether it moved."""

        def work(current: Transaction) -> None:
            counts.add(current, cursor.name, counted)
            cursors.save(current, cursor)

        try:
            self.outbox.write(work, rows=0)
        except UnavailableError:
            return False
        return True

    def follow_gate(self) -> int | None:
        """Make the queue hold what the gate lets through; return the rows withdrawn.

        What is queued of a class that is closed is withdrawn, and all of a class whose bound rose:
        cursors go back to where the rows began, so that what is still allowed is read again. Where
        a bound fell, cursors go back to what was passed over. None where nothing was to be done;
        where the disk is in the way the rest is left for the next call. For the thread that queues.
        """
        grant = self._gate.grant()
        classes = frozenset[ContentClass]() if grant is None else frozenset(grant.classes)
        since_ms = 0 if grant is None else grant.backfill_from_ms
        if self._followed == (classes, since_ms):
            return None
        withdrawn = 0
        try:
            if self._bounds is None:
                self._bounds = self.outbox.read(cursors.bounds)
            for content in CLASSES:
                if content not in classes:
                    withdrawn += self.outbox.withdraw(f"{content}:", partial(_rewind, content))
                else:
                    withdrawn += self._bind(self._bounds, content, since_ms)
        except UnavailableError:
            return withdrawn
        self._followed = classes, since_ms
        return withdrawn

    def _bind(self, bounds: dict[str, int], content: ContentClass, since_ms: int) -> int:
        """Hold what is queued of an open class to a bound."""
        before_ms = bounds.get(content, 0)
        withdrawn = 0

        def raised(current: Transaction, event_ids: Sequence[str]) -> None:
            _rewind(content, current, event_ids)
            cursors.bound(current, content, since_ms)

        def fallen(current: Transaction) -> None:
            cursors.widen(current, content, since_ms, _ends(current, content))
            cursors.bound(current, content, since_ms)

        if since_ms > before_ms:
            withdrawn = self.outbox.withdraw(f"{content}:", raised)
        elif since_ms < before_ms:
            self.outbox.write(fallen, rows=0)
        bounds[content] = since_ms
        return withdrawn

    def follows(self, grant: Grant, content: ContentClass) -> bool:
        """Return whether the queue holds a class to the bound of a grant."""
        return self._held_from_ms(content) == grant.backfill_from_ms

    def _held_from_ms(self, content: str) -> int:
        """Return what is queued of a class is not older than; 0 while that is not known."""
        return 0 if self._bounds is None else self._bounds.get(content, 0)

    def depth(self) -> dict[ContentClass, int]:
        """Return how many uploads wait, by class."""
        try:
            found = self.outbox.read(cursors.queued)
        except UnavailableError:
            return {}
        return {content: found[content] for content in CLASSES if found.get(content)}

    def has_room(self) -> bool:
        """Return whether more may be read: less waits than the bound."""
        try:
            rows, size = self.outbox.read(cursors.waiting)
        except UnavailableError:
            return False
        return rows < limits.QUEUE_ROWS_MAX and size < limits.QUEUE_BYTES_MAX

    def carry(self, item: Item) -> Reply:
        """Send one queued row, if the gate lets its class through at this moment."""
        content, _, rest = item.event_id.partition(":")
        path = PATHS.get(rest.partition(":")[0])  # type: ignore[call-overload]  # any text
        known = _CLASS_OF.get(content)
        if known is None or path is None:
            return Reply(400, b"", "not a row of the observer")

        def allowed() -> bool:
            return self._gate.may_send(known, since_ms=self._held_from_ms(known))

        return self._lines.exchange("content", "POST", path, item.payload.encode(), allowed=allowed)

    def send_samples(self, samples: Samples) -> Reply:
        """Send the samples of a preview, if the gate lets them out at this moment: one try."""
        known = self._destination()
        node = "" if known is None else known.node
        body = ObserverSamples(node_id=node, number=samples.number, sealed=samples.sealed)

        def allowed() -> bool:
            return self._gate.may_preview(samples.number)

        path = OBSERVER_SAMPLES_PATH
        try:
            return self._lines.exchange("samples", "POST", path, _encode(body), allowed=allowed)
        finally:
            self._gate.end_preview(samples.number)

    # ------------------------------------------------------------------ questions

    def ask(self, question: Question) -> Reply:
        """Ask, and return the answer; never raises for what the network does."""
        return self._lines.ask(question)

    def reconnect(self) -> None:
        """Drop every kept connection: the address has changed."""
        self._lines.drop()

    def mark(self) -> str:
        """Return a fingerprint of the destination, the key and the grant; empty without them."""
        known = self._destination()
        if known is None or not known.key:
            return ""
        named = f"{known.url} {known.key.reveal()} {self._gate.mark}"
        return hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:8]

    def close(self) -> None:
        """End sending, keep what is not sent, and close every connection."""
        self.outbox.close(limits.CLOSE_S)
        self.reconnect()


class _Carrier:
    """The queue's sender: a request a row; one that fails does not hold up other endpoints."""

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader

    def mark(self) -> str:
        """Return a fingerprint of the destination."""
        return self._uploader.mark()

    def __call__(self, batch: Batch) -> Answer:
        """Send each row, in order within its endpoint; return what was taken."""
        clock = self._uploader._clock  # noqa: SLF001  # one module, one class in two parts
        began_ms = clock.steady_ms()
        taken: set[str] = set()
        refused: dict[str, Refusal] = {}
        first: Answer | None = None
        stopped: set[str] = set()
        for item in batch.items:
            content, endpoint = item.event_id.split(":", 2)[:2]
            if clock.steady_ms() - began_ms > limits.CARRY_BUDGET_S * 1_000:
                break
            if endpoint in stopped:
                continue
            reply = self._uploader.carry(item)
            verdict = _verdict(reply, content, self.mark())
            if verdict is None:
                taken.add(item.event_id)
            elif isinstance(verdict, Refusal):
                refused[item.event_id] = verdict
            else:
                if reply.status != _GATE_CLOSED:
                    stopped.add(endpoint)
                first = first or verdict
        if taken or refused or first is None:
            return Answered(frozenset(taken), refused)
        return first


def _verdict(reply: Reply, content: str, mark: str) -> Refusal | Answer | None:
    """Return what a reply means for its row: None for taken."""
    status = reply.status
    fields = gate.read_fields(status, reply.body)
    if fields is not None and gate.field(fields, "ok", bool, default=False):
        # `sync_allowed` is about everything but numbers.
        allowed = content == "counters" or gate.field(fields, "sync_allowed", bool, default=True)
        if allowed and gate.field(fields, "accepted", int, 1):
            return None
        told = gate.field(fields, "error", str, "")
        if allowed and told and told not in MAY_CHANGE:
            return Refusal(status, gate.field(fields, "message", str, "") or told)
        # It was read and thrown away: the plane's own gate is closed.
        return Unauthorized(status, "the plane refuses content of this node now", mark)
    match status:
        case _ if status == _GATE_CLOSED:
            return Unready(reply.detail)
        case 0:
            return Failed(None, reply.detail, None)
        case 401 | 403:
            return Unauthorized(status, "refused", mark)
        case 429:
            return Throttled("too many requests", reply.waits_ms)
        case 400 | 413 | 422:
            return Refusal(status, reply.detail or "refused")
        case _:
            return Failed(status, "not an answer of a plane", reply.waits_ms)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make our own tables beside the queue."""
    cursors.prepare(connection)
    counts.prepare(connection)


def _rewind(content: ContentClass, current: Transaction, event_ids: Sequence[str]) -> None:
    """Put cursors of a class back to where withdrawn rows began."""
    withdrawn = [_place_of(event_id) for event_id in event_ids]
    cursors.rewind(current, content, withdrawn, _ends(current, content))


def _ends(current: Transaction, content: ContentClass) -> list[Place]:
    """Return where rows of a class begin that the queue knows, of what is read by position."""
    known = cursors.remembered(current, f"{content}:")
    return [_place_of(row) for row in known if row.split(":", 2)[1] in _READ_BY_POSITION]


def _place_of(event_id: str) -> Place:
    _, _, stream, start, _ = event_id.split(":", 4)
    return Place(stream, int(start))
