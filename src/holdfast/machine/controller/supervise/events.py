"""What happens to an agent, as the supervisor is told it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.machine.controller.supervise.state import Repair


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody wants the agent to run."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody wants it not to run; its work may take `drain_ms`, None for the policy's."""

    reason: str = "a stop was asked for"
    drain_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """Somebody wants a new one; the old one's work may take `drain_ms`, None for the policy's."""

    reason: str = "a restart was asked for"
    drain_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The agent's configuration was changed: it is on trial from the start that follows.

    With `restart` that start comes as soon as running work allows.
    """

    etag: str
    restart: bool = True
    drain_ms: int | None = None
    reason: str = "its configuration was changed"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The controller ends; `signal` is what it was told, and what the agent is told."""

    signal: int


@dataclass(frozen=True, slots=True)
class HoldLadder:
    """Somebody stops the recovery: no further rung is to be taken."""

    reason: str = "somebody stopped the recovery"


@dataclass(frozen=True, slots=True)
class RetryLadder:
    """Somebody lets the recovery begin anew, from the first rung, at once."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The system reported that the process exists. It is not ready yet."""

    child: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be made."""

    child: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class PortTaken:
    """The process was not made, because somebody else listens on the agent's port.

    With `freed` it was something that the agent had left behind, and it was ended.
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
    """The child was asked whether it is ready; `answered` is False when it said nothing at all."""

    child: int
    ready: bool
    answered: bool = True


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """The child, which is ending, says that its work is over, or that it was `cut`.

    None is that it cannot tell.
    """

    child: int
    cut: bool | None = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """A repair ended; one that is not `done` changed nothing, and `detail` says why."""

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
