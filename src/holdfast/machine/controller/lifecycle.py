"""How far the controller itself has come: bootstrapping, starting, ready or degraded.

The agent's condition is another matter; see the supervisor. Health shows this to anybody, so a
reason here is a fixed text: a raw error may hold a secret, and belongs in the log.

`closing` is set in the turn of the loop that hears the first signal. Whoever begins something by
itself, such as a refresh, an approval or a check-in, looks at it first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

Going: TypeAlias = Literal["ahead", "running", "done", "failed", "repaired", "skipped"]

FAILED: Final = "it could not be done; the machine's log says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase: where it is, how long it took in its last run, and why it failed.

    `repaired` was made good by an agent that became ready anyway; those after it are `skipped`.
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
        """Have everything ahead."""
        self._steps = list(steps)
        self._steady_ms = steady_ms
        self._began_ms = 0
        self._again_ms = 0

    def begin(self, index: int) -> None:
        """Note that a phase begins; those after it are ahead again."""
        self._began_ms, self._again_ms = self._steady_ms(), 0
        self._set(index, "running")
        for later in range(index + 1, len(self._steps)):
            self._set(later, "ahead")

    def end(self, index: int) -> None:
        """Note that it is done."""
        self._set(index, "done", took_ms=self._steady_ms() - self._began_ms)

    def fail(self, index: int, *, late: bool, again_s: float) -> None:
        """Note that it failed, and in how many seconds it is tried again by itself (0: not)."""
        now_ms, deadline_s = self._steady_ms(), self._steps[index].deadline_ms / 1_000
        reason = f"it was not through within {deadline_s:g} s" if late else FAILED
        self._set(index, "failed", took_ms=now_ms - self._began_ms, reason=reason)
        self._again_ms = now_ms + int(again_s * 1_000) if again_s else 0

    def repair(self, index: int) -> None:
        """Note that the agent is ready although this one failed."""
        self._set(index, "repaired", took_ms=self._steps[index].took_ms)
        for later in range(index + 1, len(self._steps)):
            self._set(later, "skipped")

    def told(self) -> tuple[Step, ...]:
        """Return how they stand now; one that runs with the time it has taken so far."""
        spent_ms = self._steady_ms() - self._began_ms
        return tuple(
            replace(step, took_ms=spent_ms) if step.state == "running" else step
            for step in self._steps
        )

    @property
    def again_in_ms(self) -> int:
        """Return when the failed one is tried again by itself, from now; 0 where it is not."""
        return max(self._again_ms - self._steady_ms(), 1) if self._again_ms else 0

    def _set(self, index: int, state: Going, *, took_ms: int = 0, reason: str = "") -> None:
        step = self._steps[index]
        self._steps[index] = replace(step, state=state, took_ms=took_ms, reason=reason)


Stage: TypeAlias = Literal["bootstrapping", "starting", "ready", "degraded"]


class Lifecycle:
    """The one place that says how far the start has come."""

    def __init__(self) -> None:
        """Begin to bootstrap."""
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
        """Go on to a phase of the bootstrap."""
        self.stage, self.phase, self.error = "bootstrapping", phase, ""
        self._tell()

    def advance(self, stage: Literal["starting", "ready"]) -> None:
        """Leave the bootstrap behind, or be done."""
        self.stage, self.phase, self.error = stage, "", ""
        self._tell()

    def degrade(self, phase: str) -> None:
        """Say that the start failed in `phase`; the process stays up."""
        self.stage, self.phase = "degraded", phase
        self.error = f"Startup failed during {phase}"
        self._tell()

    def close(self) -> None:
        """Say that the controller ends: nothing new may be begun from here on."""
        if not self.closing:
            self.closing = True
            self._tell()

    def health(self, path: str) -> dict[str, object]:
        """Return the body for a health path; the platform's own gets no detail."""
        body: dict[str, object] = {"status": "ok"}
        if path == "/health":
            return body
        body["state"] = self.stage
        if self.stage == "bootstrapping":
            body["phase"] = self.phase
        if self.error:
            body["error"] = self.error
        return body

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
