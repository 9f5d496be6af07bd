"""How far the controller itself has come: bootstrapping, starting, ready or degraded.

The agent's condition is another matter; see the supervisor. Health shows this to anybody, so a
reason here is a fixed text: a raw error may hold a secret, and belongs in the log.

`closing` is set in the turn of the loop that hears the first signal. Whoever begins something by
itself, such as a refresh, an approval or a check-in, looks at it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from holdfast.machine.controller.steps import Steps

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
