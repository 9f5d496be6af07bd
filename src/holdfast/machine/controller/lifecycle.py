"""The controller's own progress: bootstrapping, starting, ready or degraded.

The agent's condition is separate; see the supervisor. Health shows this without authentication, so
a reason here is a fixed text: a raw error may hold a secret, and belongs in the log.

`closing` is set in the loop iteration that receives the first signal. Code that starts work on its
own, such as a refresh, an approval or a check-in, checks it first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

Going: TypeAlias = Literal["ahead", "running", "done", "failed", "repaired", "skipped"]

FAILED: Final = "it could not be done; the machine's log says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase: state, duration of its last run, and why it failed.

    `repaired` means that the agent became ready anyway; the phases after it are `skipped`.
    """

    name: str
    deadline_ms: int
    critical: bool
    state: Going = "ahead"
    took_ms: int = 0
    reason: str = ""


class Steps:
    """The phases of one boot, in order."""

    def __init__(self, steps: Iterable[Step], steady_ms: Callable[[], int]) -> None:
        self._steps = list(steps)
        self._steady_ms = steady_ms
        self._began_ms = 0
        self._again_ms = 0

    def begin(self, index: int) -> None:
        """Mark a phase as running; those after it are pending again."""
        self._began_ms, self._again_ms = self._steady_ms(), 0
        self._set(index, "running")
        for later in range(index + 1, len(self._steps)):
            self._set(later, "ahead")

    def end(self, index: int) -> None:
        """Mark it as done."""
        self._set(index, "done", took_ms=self._steady_ms() - self._began_ms)

    def fail(self, index: int, *, late: bool, again_s: float) -> None:
        """Mark it as failed; `again_s` is the time to an automatic retry (0: none)."""
        now_ms, deadline_s = self._steady_ms(), self._steps[index].deadline_ms / 1_000
        reason = f"it was not through within {deadline_s:g} s" if late else FAILED
        self._set(index, "failed", took_ms=now_ms - self._began_ms, reason=reason)
        self._again_ms = now_ms + int(again_s * 1_000) if again_s else 0

    def repair(self, index: int) -> None:
        """Mark it as repaired: the agent is ready although it failed."""
        self._set(index, "repaired", took_ms=self._steps[index].took_ms)
        for later in range(index + 1, len(self._steps)):
            self._set(later, "skipped")

    def snapshot(self) -> tuple[Step, ...]:
        """Return the current steps; a running one with its duration so far."""
        spent_ms = self._steady_ms() - self._began_ms
        return tuple(
            replace(step, took_ms=spent_ms) if step.state == "running" else step
            for step in self._steps
        )

    @property
    def again_in_ms(self) -> int:
        """Return the time to the automatic retry of the failed one; 0 if there is none."""
        return max(self._again_ms - self._steady_ms(), 1) if self._again_ms else 0

    def _set(self, index: int, state: Going, *, took_ms: int = 0, reason: str = "") -> None:
        step = self._steps[index]
        self._steps[index] = replace(step, state=state, took_ms=took_ms, reason=reason)


Stage: TypeAlias = Literal["bootstrapping", "starting", "ready", "degraded"]


class Lifecycle:
    """Holds the progress of the start."""

    def __init__(self) -> None:
        self.stage: Stage = "bootstrapping"
        self.phase = "init"
        self.error = ""
        self.closing = False
        self.steps = Steps((), lambda: 0)
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change."""
        self._listeners.append(listener)

    def enter(self, phase: str) -> None:
        """Enter a phase of the bootstrap."""
        self.stage, self.phase, self.error = "bootstrapping", phase, ""
        self._notify()

    def advance(self, stage: Literal["starting", "ready"]) -> None:
        """Leave the bootstrap, or become ready."""
        self.stage, self.phase, self.error = stage, "", ""
        self._notify()

    def degrade(self, phase: str) -> None:
        """Record that the start failed in `phase`; the process stays up."""
        self.stage, self.phase = "degraded", phase
        self.error = f"Startup failed during {phase}"
        self._notify()

    def close(self) -> None:
        """Record the shutdown: no new work may begin from here on."""
        if not self.closing:
            self.closing = True
            self._notify()

    def health(self, path: str) -> dict[str, object]:
        """Return the body for a health path; the platform's own path gets no detail."""
        body: dict[str, object] = {"status": "ok"}
        if path == "/health":
            return body
        body["state"] = self.stage
        if self.stage == "bootstrapping":
            body["phase"] = self.phase
        if self.error:
            body["error"] = self.error
        return body

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()
