"""The phases of the start as data, and their runner, which can retry from a failed one.

A critical phase that fails leaves health alone, because no credential can be checked yet; since no
order can arrive, it is retried automatically where that can help. Any other failed phase leaves the
control routes, for repair and retry. Degraded is never final: it ends when the phases are complete,
or when the agent becomes ready anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from holdfast.kernel.failure import brief
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.lifecycle import Lifecycle, Step, Steps
from holdfast.machine.controller.log import Log

Work: TypeAlias = Callable[[], Awaitable[None]]

AGAIN_MAX_S: Final = 300.0
"""The longest wait before an automatic retry of a critical phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One step of the start.

    `shown` names its failure on health. It must end within `deadline_s` seconds. `again_s` is the
    first wait before a critical one is retried automatically; None if a retry would fail the same
    way.
    """

    name: str
    shown: str
    critical: bool = False
    deadline_s: float
    again_s: float | None = None


PHASES: Final = (
    Phase(name="decrypting", shown="bootstrap", critical=True, deadline_s=10),
    Phase(name="directories", shown="bootstrap", critical=True, deadline_s=10, again_s=30),
    Phase(name="runtime-config", shown="runtime-config", critical=True, deadline_s=60, again_s=30),
    Phase(name="upgrade", shown="upgrade", deadline_s=3_600),
    Phase(name="onboard", shown="onboard", deadline_s=30),
    Phase(name="device-pairing", shown="device-pairing", deadline_s=30),
    Phase(name="doctor", shown="doctor", deadline_s=180),
    Phase(name="gateway-start", shown="gateway-start", deadline_s=30),
)
"""The start, in order; a test compares the effect of each failure with compat/controller.md."""


class PhaseError(Exception):
    """A phase cannot be completed; the message goes to the log alone."""


class Bootstrap:
    """Runs the phases, one run at a time."""

    def __init__(
        self, phases: Sequence[Phase], work: Mapping[str, Work], lifecycle: Lifecycle, log: Log
    ) -> None:
        """Run `work[name]` for each phase, and report progress to `lifecycle`."""
        self._phases = tuple(phases)
        self._work = work
        self._lifecycle = lifecycle
        self._log = log
        self._failed: int | None = None
        self._steps = lifecycle.steps = Steps(
            (
                Step(name=p.name, deadline_ms=int(p.deadline_s * 1_000), critical=p.critical)
                for p in self._phases
            ),
            lambda: int(asyncio.get_running_loop().time() * 1_000),
        )
        self._again_s = 0.0
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def failed(self) -> Phase | None:
        """Return the failed phase that was not repaired yet."""
        return None if self._failed is None else self._phases[self._failed]

    async def run(self) -> None:
        """Run all phases; return at the end or at the first failure."""
        self._begin(0)
        assert self._running is not None, "just begun"
        try:
            await asyncio.shield(self._running)
        except asyncio.CancelledError:
            self._running.cancel()
            raise

    def retry(self) -> Phase:
        """Start again at the failed phase, and return it; raise RefusedError."""
        if self._lifecycle.closing:
            raise RefusedError(409, "shutting_down", "Controller is shutting down")
        if self._running is not None and not self._running.done():
            raise RefusedError(
                409, "bootstrap_running", "The start is under way", phase=self._lifecycle.phase
            )
        if self._failed is None:
            raise RefusedError(409, "bootstrap_not_failed", "No phase of the start has failed")
        failed = self._failed
        self._log.emit("bootstrap.retry", phase=self._phases[failed].name)
        self._begin(failed)
        return self._phases[failed]

    def note_ready(self) -> None:
        """Record that the agent is ready: an earlier failure has been repaired."""
        phase = self.failed
        if phase is None or phase.critical:
            return
        if self._running is not None and not self._running.done():
            return
        self._log.emit("bootstrap.repaired", phase=phase.name)
        self._steps.repair(self._phases.index(phase))
        self._failed = None
        self._lifecycle.advance("ready")

    async def close(self) -> None:
        """Cancel a running phase."""
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _begin(self, first: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running = asyncio.create_task(self._go(first), name="bootstrap")

    async def _go(self, first: int) -> None:
        for index in range(first, len(self._phases)):
            phase = self._phases[index]
            self._steps.begin(index)
            self._lifecycle.enter(phase.name)
            because, late = await self._try(phase)
            if because:
                self._fail(index, because, late=late)
                return
            self._steps.end(index)
        self._failed = None
        self._lifecycle.advance("ready")

    async def _try(self, phase: Phase) -> tuple[str, bool]:
        """Run one phase; return why it failed, or an empty string, and whether by its deadline."""
        deadline = asyncio.timeout(phase.deadline_s)
        try:
            async with deadline:
                await self._work[phase.name]()
        except TimeoutError as error:
            late = f"not within {phase.deadline_s:g} s"
            return (late, True) if deadline.expired() else (brief(error), False)
        except PhaseError as error:
            return str(error) or repr(error), False
        except Exception as error:  # noqa: BLE001  whatever it is, the process stays up and says so
            return brief(error), False
        return "", False

    def _fail(self, index: int, because: str, *, late: bool) -> None:
        phase = self._phases[index]
        self._again_s = self._next_wait_s(phase, same=self._failed == index)
        self._failed = index
        self._steps.fail(index, late=late, again_s=self._again_s)
        self._lifecycle.degrade(phase.shown)
        self._log.emit(
            "controller.degraded", phase=phase.shown, at=phase.name, reason=because,
            again_s=self._again_s,
        )  # fmt: skip
        if self._again_s and not self._lifecycle.closing:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._again_s, self._again, index)

    def _next_wait_s(self, phase: Phase, *, same: bool) -> float:
        if not phase.critical or phase.again_s is None:
            return 0.0
        return min(self._again_s * 2, AGAIN_MAX_S) if same and self._again_s else phase.again_s

    def _again(self, index: int) -> None:
        if not self._lifecycle.closing:
            self._begin(index)
