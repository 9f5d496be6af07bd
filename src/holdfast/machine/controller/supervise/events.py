"""Events of an agent, as reported to the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.machine.controller.supervise.state import Repair


@dataclass(frozen=True, slots=True)
class Start:
    """An order to run the agent."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An order to stop the agent; its work may take `drain_ms`, None for the policy's limit."""

    reason: str = "a stop was asked for"
    drain_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """An order to replace the agent; the old one's work may take `drain_ms`, None as in Stop."""

    reason: str = "a restart was asked for"
    drain_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The agent's configuration was changed: it is on trial from the next start on.

    With `restart` that start comes as soon as running work allows.
    """

    etag: str
    restart: bool = True
    drain_ms: int | None = None
    reason: str = "its configuration was changed"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The controller shuts down; `signal` is the one it received and sends to the agent."""

    signal: int


@dataclass(frozen=True, slots=True)
class HoldLadder:
    """An order to stop the recovery: no further rung is taken."""

    reason: str = "somebody stopped the recovery"


@dataclass(frozen=True, slots=True)
class RetryLadder:
    """An order to begin the recovery anew, from the first rung, at once."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process exists. It is not ready yet."""

    child: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be started."""

    child: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class PortTaken:
    """The process was not started, because another program listens on the agent's port.

    With `freed` it was an orphan of the agent, and it was killed.
    """

    child: int
    owner: str
    freed: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """A child ended, by itself with `code` or by the signal named."""

    child: int
    code: int | None
    signal: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Probed:
    """A readiness probe of the child ended; `answered` is False if there was no answer at all."""

    child: int
    ready: bool
    answered: bool = True


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """The child, which is ending, reports that its work is over, or that it was `cut`.

    None if it does not report that.
    """

    child: int
    cut: bool | None = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """A repair ended; one that is not `done` changed nothing, and `detail` gives the reason."""

    repair: Repair
    done: bool
    at_ms: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline has come; `at_ms` is the time of day."""

    at_ms: int = 0


Event: TypeAlias = (
    Start | Stop | Restart | ConfigChanged | Shutdown | HoldLadder | RetryLadder
    | Spawned | SpawnFailed | PortTaken | Exited | Probed | WorkEnded | Repaired | Due
)  # fmt: skip
