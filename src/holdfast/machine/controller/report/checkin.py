"""The check-in: reports to the plane on a cadence, and at once after a change.

At most one request is in flight. A failure advances nothing: the next success carries it all.
Reports continue while the controller is degraded, when they matter most. Counts are on disk before
they are sent, and earlier boots' counts are included until acknowledged. Its own failures are
reported by kind, never with an answer's text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import aiohttp
import msgspec

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.machine.controller import limits
from holdfast.machine.controller.credentials import Credentials, Pair, machine_headers
from holdfast.machine.controller.http_body import read_answer
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.report import cadence
from holdfast.machine.controller.report.boot_counters import counters_of
from holdfast.machine.controller.report.facts import Delivered, Facts, Identity, build, totals_of
from holdfast.relay.urls import whole_url
from holdfast.wire.controller.checkin import BootCounters, CheckIn, CommandOutcome
from holdfast.wire.controller.directive import Directive
from holdfast.wire.parsers import json_as


class Survey(Protocol):
    """Collects the facts of a report."""

    async def __call__(
        self, *, failed: int, last_error: str, interval_ms: int,
        outcomes: tuple[CommandOutcome, ...],
    ) -> Facts:  # fmt: skip
        """Return the current facts, including these of the check-in itself."""
        ...


class Outcomes(Protocol):
    """The outcomes of finished commands that are not yet delivered."""

    def pending(self) -> tuple[CommandOutcome, ...]:
        """Return the undelivered outcomes."""
        ...

    def delivered(self, outcomes: tuple[CommandOutcome, ...]) -> None:
        """Remove what was delivered."""
        ...


class Counts(Protocol):
    """Counts that outlive the boot that made them."""

    @property
    def included(self) -> tuple[BootCounters, ...]:
        """Return the earlier boots that the next report includes."""
        ...

    @property
    def waits(self) -> bool:
        """Return whether more of them wait for the report after it."""
        ...

    async def save(self, current: BootCounters) -> None:
        """Return when these counts of the current boot are on disk."""
        ...

    def delivered(self, included: tuple[BootCounters, ...]) -> None:
        """Count the answer to a report with these."""
        ...


class CheckIns:
    """Sends reports until it is cancelled."""

    def __init__(
        self,
        identity: Identity,
        survey: Survey,
        outcomes: Outcomes,
        *,
        counts: Counts,
        credentials: Credentials,
        session: aiohttp.ClientSession,
        on_directive: Callable[[Directive], None],
        closing: Callable[[], bool],
        clock: Clock,
        log: Log,
    ) -> None:
        """Report what `survey` returns as `identity`; pass each directive on.

        Once `closing` returns True, no report is begun.
        """
        self._identity = identity
        self._survey = survey
        self._outcomes = outcomes
        self._counts = counts
        self._credentials = credentials
        self._session = session
        self._on_directive = on_directive
        self._closing = closing
        self._clock = clock
        self._log = log
        self._delivered = Delivered()
        self._sequence = 0
        self._last_error = ""
        self._moved = asyncio.Event()
        self._cadence = cadence.begin(
            self._now(),
            first_ms=identity.reporting.first_ms,
            interval_ms=identity.reporting.interval_ms,
            seed=identity.boot_id,
        )

    @property
    def interval_ms(self) -> int:
        """Return the current interval."""
        return self._cadence.interval_ms

    @property
    def sequence(self) -> int:
        """Return the number of the latest report that was begun."""
        return self._sequence

    def notice(self) -> None:
        """Report soon: something changed."""
        self._cadence = cadence.change(self._cadence)
        self._moved.set()

    def set_interval(self, interval_ms: int) -> None:
        """Use another interval, if it is allowed."""
        self._cadence = cadence.set_interval(self._cadence, interval_ms, self._now())
        self._moved.set()

    async def run(self) -> None:
        """Send until cancelled, or until the controller shuts down."""
        while True:
            await self._wait()
            if self._closing():
                return
            await self._send()

    async def _wait(self) -> None:
        while (left_ms := self._cadence.next_ms - self._now()) > 0:
            self._moved.clear()
            try:
                async with asyncio.timeout(left_ms / 1_000):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _send(self) -> None:
        unsent = self._cadence.unsent
        self._cadence = cadence.send(self._cadence, self._now())
        pair = self._credentials.current()
        if not (pair.complete and self._identity.reporting.sandbox_id):
            self._fail("credentials_missing", unsent=unsent)
            return
        try:
            facts = await self._collect()
            report = self._number(facts)
            await self._counts.save(counters_of(report))
            status, body = await self._post(report, pair)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._fail(type(error).__name__, unsent=unsent)
            return
        except Exception as error:  # noqa: BLE001  a fault of ours must not silence the machine
            self._log.emit("checkin.fault", error=brief(error))
            self._fail("internal", unsent=unsent)
            return
        if 200 <= status < 300:  # noqa: PLR2004  success in HTTP
            self._record_delivery(facts, report)
            self._take(body)
            return
        # New credentials meanwhile: the refusal was for the old ones. Try again soon.
        rotated = status in {401, 403} and self._credentials.current() != pair
        self._fail(f"http_{status}", unsent=unsent or rotated)
        if rotated:
            self.notice()

    async def _collect(self) -> Facts:
        return await self._survey(
            failed=self._cadence.failures,
            last_error=self._last_error,
            interval_ms=self._cadence.interval_ms,
            outcomes=self._outcomes.pending(),
        )

    def _number(self, facts: Facts) -> CheckIn:
        """Return the next report; its facts must be of this loop iteration.

        Later counts are stored under the number after it.
        """
        self._sequence += 1
        return build(
            self._identity, facts, self._delivered, self._sequence, earlier=self._counts.included
        )

    async def _post(self, report: CheckIn, pair: Pair) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=limits.CHECKIN_TIMEOUT_S)
        async with self._session.post(
            whole_url(self._identity.reporting.checkin_url),
            data=msgspec.json.encode(report),
            headers={"Content-Type": "application/json", **machine_headers(pair)},
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            return answer.status, await read_answer(answer, limits.ANSWER_BYTES_MAX)

    def _record_delivery(self, facts: Facts, report: CheckIn) -> None:
        self._delivered = totals_of(facts)
        self._counts.delivered(report.earlier_boots)
        self._outcomes.delivered(facts.outcomes)
        self._cadence = cadence.succeed(self._cadence)
        self._last_error = ""
        self._log.emit("checkin.delivered", sequence=self._sequence)
        if self._counts.waits:
            self.notice()

    def _take(self, body: bytes) -> None:
        if not body:
            return
        try:
            directive = json_as(Directive, body)
        except (msgspec.DecodeError, RecursionError) as error:
            self._last_error = "directive_unreadable"
            self._log.emit("checkin.directive_unreadable", error=brief(error))
            return
        self._on_directive(directive)

    def _fail(self, code: str, *, unsent: bool) -> None:
        self._cadence = cadence.fail(self._cadence, unsent=unsent)
        self._last_error = code
        self._log.emit("checkin.failed", code=code, failures=self._cadence.failures)

    def _now(self) -> int:
        return int(self._clock.steady_ms())
