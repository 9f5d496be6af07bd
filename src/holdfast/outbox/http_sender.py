"""Sending a batch over HTTP with the standard library alone, on a connection that is kept.

Address and key are looked up before each send, so that one that appears or changes later works.
It must never follow a redirect with the key, never speak plain HTTP beyond this machine, and
never let the key into a text.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from holdfast.kernel.clock import Clock
from holdfast.kernel.secret import HIDDEN, Secret
from holdfast.outbox import limits
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
"""The version of the request; an intake takes this one and the one before."""

_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_SOCKET_TIMEOUT_S: Final = 15.0
_GONE: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


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
        agent: str = "holdfast-outbox",
        timeout_s: float = _SOCKET_TIMEOUT_S,
    ) -> None:
        """Ask `target` before each send; `timeout_s` bounds each wait for the other side."""
        self._target = target
        self._clock = clock
        self._agent = agent
        self._timeout_s = timeout_s
        self._kept: tuple[str, int, http.client.HTTPConnection] | None = None

    def mark(self) -> str:
        """Return a name of address and key as they are now, empty while there are none."""
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
        parts = urlsplit(target.url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            return Unready(f"address {parts.scheme}://{parts.hostname}: want https")
        try:
            answer = self._exchange(target, encode(batch))
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{type(error).__name__}: {error}".replace(target.key.reveal(), HIDDEN)
            return Failed(None, detail, None)
        return read_answer(batch, *answer, target=target, now_ms=self._clock.now_ms())

    def _exchange(self, target: Target, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(target.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Authorization": f"Bearer {target.key.reveal()}",
            "Content-Type": "application/json",
            "User-Agent": self._agent,
        }
        origin = f"{parts.scheme}://{parts.netloc}"
        connection, kept = self._connection(origin)
        try:
            try:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
            except _GONE:
                # A kept connection may have been closed meanwhile; a new one tells the truth.
                connection.close()
                if not kept:
                    raise
                connection = self._connect(origin)
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
            raw = response.read(_ANSWER_BYTES_MAX + 1)
        except BaseException:
            connection.close()
            raise
        if response.will_close or len(raw) > _ANSWER_BYTES_MAX:
            connection.close()
        else:
            self._kept = (origin, os.getpid(), connection)
        seen = {name.lower(): value for name, value in response.getheaders()}
        return response.status, seen, raw

    def _connection(self, origin: str) -> tuple[http.client.HTTPConnection, bool]:
        # Taken out while in use: a send that was given up keeps its own connection.
        kept, self._kept = self._kept, None
        if kept is not None and kept[:2] == (origin, os.getpid()):
            return kept[2], True
        if kept is not None:
            kept[2].close()
        return self._connect(origin), False

    def _connect(self, origin: str) -> http.client.HTTPConnection:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                host, parts.port, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)

    def close(self) -> None:
        """Close the connection that is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[2].close()


def _mark(target: Target) -> str:
    return f"{zlib.crc32(f'{target.url} {target.key.reveal()}'.encode()):08x}"


def encode(batch: Batch) -> bytes:
    """Return the request's body; each payload is the very JSON text that was enqueued."""
    head = json.dumps(
        {
            "version": VERSION,
            "depth": batch.depth,
            "oldestAgeMs": batch.oldest_age_ms,
            "dropped": batch.dropped,
            "lost": batch.lost,
        },
        separators=(",", ":"),
    )
    return f'{head[:-1]},"items":[{",".join(_item(item) for item in batch.items)}]}}'.encode()


def _item(item: Item) -> str:
    head = json.dumps(
        {
            "id": item.event_id,
            "kind": item.kind,
            "source": item.source,
            "seq": item.seq,
            "enqueuedMs": item.enqueued_ms,
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
    """Return what an HTTP answer means for the batch; header names are in lower case."""
    detail = raw[: limits.ERROR_CHARS_MAX].decode("utf-8", "replace")
    detail = detail.replace(target.key.reveal(), HIDDEN)
    body = _object(raw)
    after_ms = retry_after_ms(headers, now_ms)
    if 200 <= status < 300:  # noqa: PLR2004  # the class of success
        if body is None and raw.strip():
            # A captive portal answers 200 as well: only our own kind of answer counts.
            return Failed(status, f"not a JSON object: {detail}", after_ms)
        return _taken(batch, body or {})
    match status:
        case 401 | 403:
            return Unauthorized(status, detail, _mark(target))
        case 413:
            return TooLarge(detail)
        case 429:
            return Throttled(detail, after_ms)
        case 400 | 422 if body is not None and _refusals(body, status):
            return Answered(
                _ids(body.get("accepted")), _ids(body.get("deduplicated")), _refusals(body, status)
            )
        case 400 | 422:
            return Rejected(status, detail)
        case _:
            # A wrong address or a redirect says nothing about the items.
            return Failed(status, detail, after_ms)


def _taken(batch: Batch, body: Mapping[str, Any]) -> Answered:
    everything = frozenset(item.event_id for item in batch.items)
    refused = _refusals(body, 422)
    deduplicated = body.get("deduplicated")
    if isinstance(body.get("accepted"), list) or isinstance(deduplicated, list):
        return Answered(_ids(body.get("accepted")), _ids(deduplicated), refused)
    rest = everything - refused.keys()
    if deduplicated is True:
        return Answered(frozenset(), rest, refused)
    return Answered(rest, frozenset(), refused)


def _ids(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    return frozenset(entry for entry in value if isinstance(entry, str))


def _refusals(body: Mapping[str, Any], status: int) -> dict[str, Refusal]:
    refused = body.get("refused")
    if not isinstance(refused, list):
        return {}
    return {
        entry["id"]: Refusal(
            entry["status"] if isinstance(entry.get("status"), int) else status,
            str(entry.get("detail") or entry.get("code") or "refused"),
        )
        for entry in refused
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """Return Retry-After in milliseconds, from seconds or from a date; None where there is none.

    A date is compared with the other side's own Date where it sent one: our clock may be wrong.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isdigit():
        return min(int(text[:9]) * 1_000, limits.RETRY_AFTER_MAX_MS)
    try:
        until_ms = parsedate_to_datetime(text).timestamp() * 1_000
        date = headers.get("date")
        from_ms = parsedate_to_datetime(date).timestamp() * 1_000 if date else float(now_ms)
    except (ValueError, OverflowError):
        return None
    return int(min(max(until_ms - from_ms, 0), limits.RETRY_AFTER_MAX_MS))
