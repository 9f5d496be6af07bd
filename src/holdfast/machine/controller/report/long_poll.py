"""The long poll: delivers changes at once to a machine that is unreachable from outside.

It requests anything newer than its revision; the plane answers when there is something, or after a
while with nothing. It must never become a hot loop, whatever the plane answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import OperationError, brief
from holdfast.machine.controller import limits
from holdfast.machine.controller.credentials import Credentials, machine_headers
from holdfast.machine.controller.http_body import read_answer
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.settings import Reporting
from holdfast.relay.urls import whole_url
from holdfast.wire.controller.directive import Directive
from holdfast.wire.limits import WAKE_WAIT_S_MAX

_BACKOFF: Final = Backoff(first_ms=1_000, cap_ms=60_000, jitter=0.5)


class Wake:
    """Polls until it is cancelled."""

    def __init__(
        self,
        reporting: Reporting,
        credentials: Credentials,
        session: aiohttp.ClientSession,
        *,
        revision: Callable[[], int],
        on_directive: Callable[[Directive], None],
        seed: str,
        clock: Clock,
        log: Log,
    ) -> None:
        """Request what is newer than `revision()`; pass each directive on."""
        self._reporting = reporting
        self._credentials = credentials
        self._session = session
        self._revision = revision
        self._on_directive = on_directive
        self._seed = seed
        self._clock = clock
        self._log = log
        self._failures = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            began_ms, had = self._clock.steady_ms(), self._revision()
            try:
                await self._poll(had)
                self._failures = 0
            except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
                self._failures += 1
                self._log.emit("wake.failed", error=brief(error), failures=self._failures)
            except Exception as error:  # noqa: BLE001  a fault of ours must not end the listening
                self._failures += 1
                self._log.emit("wake.fault", error=brief(error), failures=self._failures)
            await asyncio.sleep(self._pause_s(began_ms, had))

    def _pause_s(self, began_ms: float, had: int) -> float:
        if self._failures:
            return _BACKOFF.delay_ms(self._failures, self._seed) / 1_000
        if self._revision() > had:
            return 0
        return max(limits.WAKE_GAP_MS - (self._clock.steady_ms() - began_ms), 0) / 1_000

    async def _poll(self, revision: int) -> None:
        pair = self._credentials.current()
        if not pair.complete:
            message = "no credentials yet"
            raise OperationError(message)
        headers = {
            **machine_headers(pair),
            "x-holdfast-sandbox-id": self._reporting.sandbox_id,
        }
        timeout = aiohttp.ClientTimeout(total=WAKE_WAIT_S_MAX + limits.WAKE_SLACK_S)
        async with self._session.get(
            whole_url(self._reporting.wake_url),
            params={"sandbox": self._reporting.sandbox_id, "revision": str(revision)},
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            if answer.status == 204:  # noqa: PLR2004  nothing new
                return
            body = await read_answer(answer, limits.ANSWER_BYTES_MAX)
            if answer.status != 200:  # noqa: PLR2004  success in HTTP
                message = f"http_{answer.status}"
                raise OperationError(message)
        self._on_directive(msgspec.json.decode(body, type=Directive))
