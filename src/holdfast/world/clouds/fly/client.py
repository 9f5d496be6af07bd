"""Calls of Fly's Machines API over HTTP: one request, its time limit, its repeats, its rate.

A request waits for its turn instead of provoking a 429: Fly counts by action and machine. It is
repeated only where that is safe: a request that was never executed (no connection, 429), and reads
and deletes after a fault. A lost answer of anything else is returned as `transient`, and the caller
looks before it repeats. The token leaves this file in one header only; it is in no failure, no log
and no exception.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

import aiohttp
import msgspec

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.outcome import Failure, Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import HIDDEN, Secret
from holdfast.relay.urls import http_url
from holdfast.wire.address import Base
from holdfast.wire.parsers import json_as
from holdfast.world.clouds.errors import Subject, classify, unrecognised
from holdfast.world.clouds.port import INVALID, RATE_LIMITED, TRANSIENT
from holdfast.world.clouds.rates import Buckets

T = TypeVar("T")
Method: TypeAlias = Literal["GET", "POST", "DELETE"]

CONNECT_S: Final = 5.0
ATTEMPTS_MAX: Final = 3
BACKOFF: Final = Backoff(first_ms=250, cap_ms=4_000, jitter=0.5)
CONNECTIONS_MAX: Final = 256
ANSWER_BYTES_MAX: Final = 16 * 1_048_576
"""Bytes of an answer; a listing of machines is the longest."""

ACTIONS_PER_S: Final = 1.0
ACTIONS_BURST: Final = 3
READS_PER_S: Final = 5.0
READS_BURST: Final = 10
READ: Final = "get machine"
"""The action with the higher rate; whether other reads have it too is not documented."""
SHARE: Final = 0.95
"""The share of a rate that is used: requests do not arrive as evenly as they were sent."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors before a connection: not a byte of the request was sent."""
_FLY_SCHEME: Final = "FlyV1 "

_log: Final = logging.getLogger("holdfast.clouds.fly")


class Call(NamedTuple):
    """One call. `segments` are the parts of its path; `action` and `on` are what Fly counts by."""

    action: str
    on: str
    method: Method
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    body: msgspec.Struct | None = None
    subject: Subject = "machine"


class _Attempt(NamedTuple):
    """The outcome of one request, and whether it may have been executed."""

    outcome: Outcome[bytes]
    executed: bool


def read_token(text: str, source: str) -> Secret:
    """Return a token as `fly tokens create` prints it, with or without `FlyV1`.

    Raise SecretError for what no header can carry.
    """
    return Secret.read(text.strip().removeprefix(_FLY_SCHEME), source)


class FlyClient:
    """Sends calls. `sleep` lets milliseconds of `clock` pass."""

    def __init__(
        self,
        base: Base,
        token: Secret,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """Send to `base`; nothing is opened before the first call."""
        self._base = base
        self._token = token
        self._clock = clock
        self._sleep = sleep or _sleep
        self._session: aiohttp.ClientSession | None = None
        self._actions = Buckets(per_s=ACTIONS_PER_S * SHARE, burst=ACTIONS_BURST)
        self._reads = Buckets(per_s=READS_PER_S * SHARE, burst=READS_BURST)

    def deadline(self, timeout_ms: float) -> float:
        """Return the moment of the steady clock that is so far ahead."""
        return self._clock.steady_ms() + timeout_ms

    async def call(self, call: Call, kind: type[T], *, deadline_ms: float) -> Outcome[T]:
        """Return the decoded answer, after as many attempts as are safe and in time."""
        if not all(map(_SEGMENT.fullmatch, call.segments)):
            return Permanent(INVALID, f"{call.action}: an id has characters that no id of Fly has")
        failures = 0
        while True:
            late = await self._turn(call, deadline_ms)
            if late is not None:
                return late
            attempt = await self._attempt(call, deadline_ms)
            if isinstance(attempt.outcome, Ok):
                return _decoded(call, attempt.outcome.value, kind)
            failures += 1
            pause_ms = self._pause_ms(call, attempt, failures)
            if pause_ms is None or self._clock.steady_ms() + pause_ms >= deadline_ms:
                return attempt.outcome
            await self._sleep(pause_ms)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------------------------------- rate and repeats

    async def _turn(self, call: Call, deadline_ms: float) -> Retryable | None:
        """Wait until Fly's rate admits the call; return a failure if that is too late.

        It is not `rate_limited`, for which every call to the provider would pause: only this action
        on this machine has to wait.
        """
        buckets = self._reads if call.action == READ else self._actions
        while True:
            now_ms = self._clock.steady_ms()
            wait_ms = buckets.take(f"{call.action}\x1f{call.on}", now_ms=int(now_ms))
            if not wait_ms:
                return None
            if now_ms + wait_ms >= deadline_ms:
                text = f"{call.action}: its turn would come after its time limit"
                return Retryable(TRANSIENT, text)
            await self._sleep(wait_ms)

    @staticmethod
    def _pause_ms(call: Call, attempt: _Attempt, failures: int) -> int | None:
        """Return the wait before the next attempt; None if there is to be none."""
        outcome = attempt.outcome
        if not isinstance(outcome, Retryable) or failures >= ATTEMPTS_MAX:
            return None
        if outcome.code not in {TRANSIENT, RATE_LIMITED}:
            return None
        if attempt.executed and call.method == "POST":
            return None
        return outcome.retry_after_ms or BACKOFF.delay_ms(failures, call.action, call.on)

    # ------------------------------------------------------------------------------ one request

    async def _attempt(self, call: Call, deadline_ms: float) -> _Attempt:
        left_s = max(deadline_ms - self._clock.steady_ms(), 1) / SECOND_MS
        try:
            async with self._open().request(
                call.method,
                http_url(self._base.address, self._target(call), scheme=self._base.scheme),
                params=list(call.query),
                data=None if call.body is None else msgspec.json.encode(call.body),
                headers=self._headers(has_body=call.body is not None),
                timeout=aiohttp.ClientTimeout(total=left_s, sock_connect=CONNECT_S),
                allow_redirects=False,
            ) as answer:
                return self._judge(call, answer, await _read(answer))
        except TimeoutError as error:
            text = f"{call.action}: no answer within {left_s:.1f} s"
            return _Attempt(Retryable(TRANSIENT, text), not isinstance(error, _NOT_CONNECTED))
        except (aiohttp.ClientError, OSError) as error:
            text = f"{call.action}: no answer ({type(error).__name__})"
            return _Attempt(Retryable(TRANSIENT, text), not isinstance(error, _NOT_CONNECTED))

    def _judge(self, call: Call, answer: aiohttp.ClientResponse, content: bytes | None) -> _Attempt:
        if content is None:
            text = f"{call.action}: the answer is longer than {ANSWER_BYTES_MAX} bytes"
            return _Attempt(Retryable(TRANSIENT, text), executed=True)
        if answer.status // 100 == 2:  # noqa: PLR2004  the class of success
            return _Attempt(Ok(content), executed=True)
        body = content.decode("utf-8", "replace").replace(self._token.reveal(), HIDDEN)
        failure: Failure = classify(
            answer.status,
            body,
            subject=call.subject,
            retry_after=answer.headers.get("Retry-After"),
            now_ms=self._clock.now_ms(),
        )
        if unrecognised(answer.status, failure):
            _log.warning("%s: a refusal of no known kind: %s", call.action, failure.message)
        is_refused = isinstance(failure, Retryable) and failure.code == RATE_LIMITED
        return _Attempt(failure, executed=not is_refused)

    def _target(self, call: Call) -> str:
        """Return the path of a call, of segments that were checked."""
        return self._base.target("/" + "/".join(call.segments))

    def _headers(self, *, has_body: bool) -> dict[str, str]:
        token = self._token.reveal()
        # Macaroons, which Fly makes today, have a scheme of their own; older tokens are bearers'.
        scheme = "FlyV1" if token.startswith("fm") else "Bearer"
        headers = {"Authorization": f"{scheme} {token}", "Accept": "application/json"}
        return headers | {"Content-Type": "application/json"} if has_body else headers

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _decoded(call: Call, content: bytes, kind: type[T]) -> Outcome[T]:
    """Return the answer in its type; one that cannot be read is a fault of the other side."""
    try:
        return Ok(json_as(kind, content or b"{}"))
    except msgspec.DecodeError:
        return Retryable(TRANSIENT, f"{call.action}: the answer is not what the API describes")


async def _read(answer: aiohttp.ClientResponse) -> bytes | None:
    """Return the body; None for one that is too long."""
    parts: list[bytes] = []
    left = ANSWER_BYTES_MAX
    while part := await answer.content.read(65_536):
        left -= len(part)
        if left < 0:
            return None
        parts.append(part)
    return b"".join(parts)


async def _sleep(by_ms: float) -> None:
    await asyncio.sleep(by_ms / SECOND_MS)
