"""Sends a batch over HTTP with the standard library alone, on a connection that is kept.

Address and key are looked up before each send, so that one that appears or changes later works. It
must never follow a redirect with the key, never use plain HTTP beyond this machine, and never put
the key into a text.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import reason
from holdfast.kernel.secret import HIDDEN, Secret
from holdfast.outbox import limits
from holdfast.outbox.http_connection import (
    Address,
    ExchangeError,
    HttpConnection,
    HungUpError,
    Response,
    address_of,
    unsafe,
)
from holdfast.outbox.ports import (
    Answer,
    Answered,
    Batch,
    Failed,
    Item,
    Refusal,
    Rejected,
    Throttled,
    TooLarge,
    Unauthorized,
    Unready,
)

VERSION: Final = 1
"""The version of the request; an intake accepts this one and the one before."""

Origin = tuple[str, str, int | None]
"""Scheme, host and port: the key of a connection."""

_SOCKET_TIMEOUT_S: Final = 15.0
_NOT_JSON: Final = "not_json"
_ENVELOPE: Final = frozenset({
    "unsupported_version", "bad_field", "bad_parameter", "bad_encoding", "query_too_long",
    "bad_idempotency_key",
})  # fmt: skip
"""Codes of a 400 about the request as a whole: an update, or a right address, cures it."""
_GONE: Final = (ConnectionResetError, BrokenPipeError)


class Target(NamedTuple):
    """Where to send, and with which key."""

    url: str
    key: Secret


class HttpSender:
    """Sends batches as JSON by POST; one connection is kept between sends."""

    def __init__(
        self,
        target: Callable[[], Target | None],
        *,
        clock: Clock,
        agent: str = "holdfast",
        name: Callable[[], str] = str,
        timeout_s: float = _SOCKET_TIMEOUT_S,
    ) -> None:
        """Look up `target` before each send; `timeout_s` limits each wait for the other side.

        `agent` is the sending program, as `holdfast/1.2.3`, and `name` is the owner of the rows: a
        brain, an observer.
        """
        self._target = target
        self._clock = clock
        self._agent = agent
        self._name = name
        self._timeout_s = timeout_s
        self._closed = False
        # Removed while in use. A list, whose ends move in one step: several threads may send.
        self._kept: list[tuple[Origin, int, HttpConnection]] = []

    def mark(self) -> str:
        """Return a fingerprint of the current address and key, empty if there are none."""
        target = self._target()
        if target is None or not target.url or not target.key:
            return ""
        return _mark(target)

    def __call__(self, batch: Batch) -> Answer:
        """Send the batch; see ports.Answer."""
        target = self._target()
        if target is None or not target.url:
            return Unready("no address to send to")
        if not target.key:
            return Unready("no key to send with")
        try:
            address = address_of(target.url)
        except ValueError as error:
            return Unready(str(error))
        problem = unsafe(address)
        if problem:
            return Unready(problem)
        try:
            answer = self._exchange(
                target, address, encode(batch, agent=self._agent, name=self._name())
            )
        except (OSError, ValueError) as error:
            return Failed(None, f"{type(error).__name__}: {_told(error)}", None)
        return read_answer(batch, *answer, target=target, now_ms=self._clock.now_ms())

    def post(self, url: str, key: Secret, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Post something other than a batch; return the answer. Raise OSError or ValueError."""
        address = address_of(url)
        problem = unsafe(address)
        if problem:
            raise ValueError(problem)
        return self._exchange(Target(url, key), address, body)

    def _exchange(
        self, target: Target, address: Address, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {
            "Authorization": f"Bearer {target.key.reveal()}",
            "Content-Type": "application/json",
            "User-Agent": self._agent,
        }
        connection, kept = self._connection(address)
        try:
            response = self._post(connection, address.path, body, headers, again=kept)
        except BaseException:
            connection.close()
            raise
        if response.reusable:
            self._kept.append((address.origin, os.getpid(), connection))
        else:
            connection.close()
        # One that was given up, or used beside a batch, may have come back before.
        self._hang_up(0 if self._closed else 1)
        return response.status, response.headers, response.body

    @staticmethod
    def _post(
        connection: HttpConnection,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        again: bool,
    ) -> Response:
        try:
            return connection.post(path, body, headers)
        except _GONE:
            # A kept connection may have been closed meanwhile; a new one gives the true result.
            connection.close()
            if not again:
                raise
        return connection.post(path, body, headers)

    def _connection(self, address: Address) -> tuple[HttpConnection, bool]:
        try:
            *key_of, connection = self._kept.pop()
        except IndexError:
            key_of = []
        else:
            if key_of == [address.origin, os.getpid()]:
                return connection, True
            connection.close()
        return HttpConnection(*address.origin, timeout_s=self._timeout_s), False

    def close(self) -> None:
        """Close the kept connection, and keep none any more."""
        self._closed = True
        self._hang_up(0)

    def _hang_up(self, most: int) -> None:
        """Close the kept connections, all but `most`."""
        while len(self._kept) > most:
            try:
                connection = self._kept.pop(0)[2]
            except IndexError:
                # Another thread took it.
                return
            connection.close()


def _told(error: Exception) -> str:
    """Return what may be told of a failed exchange: no text that quotes what was sent."""
    return str(error) if isinstance(error, (ExchangeError, HungUpError)) else reason(error)


def _mark(target: Target) -> str:
    return (
        f"{zlib.crc32(f'{target.url} {target.key.reveal()}'.encode('utf-8', 'surrogatepass')):08x}"
    )


def encode(batch: Batch, *, agent: str, name: str) -> bytes:
    """Return the request's body; each payload is the very JSON text that was enqueued."""
    head = json.dumps(
        {
            "version": VERSION,
            "sdk": agent,
            "source": batch.items[0].source,
            "brain": name,
            "queue": {
                "depth": batch.depth,
                "oldest_ms": batch.oldest_age_ms,
                "dropped": batch.dropped,
                "lost": batch.lost,
            },
        },
        separators=(",", ":"),
    )
    return f'{head[:-1]},"rows":[{",".join(_row(item) for item in batch.items)}]}}'.encode()


def _row(item: Item) -> str:
    head = json.dumps(
        {
            "seq": item.seq,
            "kind": item.kind,
            "event_id": item.event_id,
            "at_ms": item.enqueued_ms,
        },
        separators=(",", ":"),
    )
    return f'{head[:-1]},"payload":{item.payload}}}'


def read_answer(
    batch: Batch,
    status: int,
    headers: Mapping[str, str],
    raw: bytes,
    *,
    target: Target,
    now_ms: int,
) -> Answer:
    """Return the meaning of an HTTP answer for the batch; header names are in lower case."""
    detail = raw[: limits.ERROR_CHARS_MAX].decode("utf-8", "replace")
    detail = detail.replace(target.key.reveal(), HIDDEN)
    body = _object(raw)
    after_ms = retry_after_ms(headers, now_ms)
    if 200 <= status < 300:  # noqa: PLR2004  # the class of success
        # Captive portals and proxies answer 2xx as well: only an intake's own answer counts.
        if body is None or type(body.get("accepted")) is not int:
            return Failed(status, f"not an answer of an intake: {detail}", after_ms)
        return _taken(batch, body)
    match status:
        case 401 | 403:
            return Unauthorized(status, detail, _mark(target))
        case 413:
            return TooLarge(detail)
        case 429:
            return Throttled(detail, after_ms)
        case 400 | 422 if body is not None and _refusals(body, status):
            # The named row is refused; the rest was not taken, and goes again without it.
            return Answered(frozenset(), _refusals(body, status))
        case 400 | 422 if body is not None and _about_rows(batch, body.get("code")):
            return Rejected(status, detail)
        case 400 | 422:
            return Failed(status, f"says nothing about the rows: {detail}", after_ms)
        case _:
            # A wrong address or a redirect is no information about the items.
            return Failed(status, detail, after_ms)


def _about_rows(batch: Batch, code: object) -> bool:
    """Return whether a refusal with this code may be a row's fault, and not the envelope's."""
    if code == _NOT_JSON:
        # A payload is sent as it was enqueued, and may be what is wrong.
        return not all(_is_json(item.payload) for item in batch.items)
    return isinstance(code, str) and bool(code) and code not in _ENVELOPE


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _taken(batch: Batch, body: Mapping[str, Any]) -> Answered:
    """Return the meaning of a 2xx: everything was taken but what it refuses by event id.

    The number of duplicates is a number, or `true` for all of a single row.
    """
    everything = frozenset(item.event_id for item in batch.items)
    refused = _refusals(body, 422)
    taken = everything - refused.keys()
    known = body.get("deduplicated")
    number = body.get("verdicts")
    verdicts = number if type(number) is int and number >= 0 else None
    if known is True:
        return Answered(taken, refused, len(taken), verdicts)
    count = known if isinstance(known, int) else 0
    return Answered(taken, refused, min(max(count, 0), len(taken)), verdicts)


def _refusals(body: Mapping[str, Any], status: int) -> dict[str, Refusal]:
    refused = body.get("refused")
    if not isinstance(refused, list):
        return {}
    return {
        entry["event_id"]: Refusal(
            entry["status"] if isinstance(entry.get("status"), int) else status,
            ": ".join(str(entry[word]) for word in ("code", "detail") if entry.get(word))
            or "refused",
        )
        for entry in refused
        if isinstance(entry, dict) and isinstance(entry.get("event_id"), str)
    }


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):  # the second: nested too deeply
        return None
    return body if isinstance(body, dict) else None


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """Return Retry-After in milliseconds, from seconds or from a date; None if absent.

    A date is compared with the other side's own Date if it sent one: our clock may be wrong.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return min(int(text[:9]) * 1_000, limits.RETRY_AFTER_MAX_MS)
    # A date is rare, and its module is the mail package.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        until_ms = parsedate_to_datetime(text).timestamp() * 1_000
        date = headers.get("date")
        from_ms = parsedate_to_datetime(date).timestamp() * 1_000 if date else float(now_ms)
    except (ValueError, OverflowError):
        return None
    return int(min(max(until_ms - from_ms, 0), limits.RETRY_AFTER_MAX_MS))
