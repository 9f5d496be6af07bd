"""The host port: where attempts of town agents run, and typed answers.

An attempt is one run of a program on one bead, and is started at most once: every call names it,
and one that runs, ran or was stopped is never started again. Calls may be lost after they were
carried out. This module is pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct, field

from holdfast.kernel.outcome import Outcome

NO_COMMAND: Final = "no_command"
"""Permanent: the role has no command here, or its program does not exist."""
UNCONFINED: Final = "unconfined"
"""Permanent: this host cannot confine programs, and running them without is not accepted."""
NOT_HERE: Final = "not_here"
"""Permanent: the attempt does not run here."""
STOPPED: Final = "stopped"
"""Conflict: the attempt was stopped before its start, or a later one of its agent was started."""
CANNOT_START: Final = "cannot_start"
"""Conflict: the host could not start the attempt; for certain nothing of it ran."""
UNREACHABLE: Final = "unreachable"
"""Retryable: the instance does not answer; nothing is known of its attempts now."""
UNSURE: Final = "unsure"
"""Retryable: it is not known whether the attempt was started; asking again finds out."""
STUCK: Final = "stuck"
"""Retryable: processes of the attempt do not end when they are killed."""

How: TypeAlias = Literal["exited", "signalled", "gone"]


class Launch(Struct, frozen=True, kw_only=True):
    """An attempt to start. `epoch` grows with each attempt of the same agent.

    `command` is the template of its role with `{prompt}` for the path of its prompt file and
    `{folder}` for its workspace. `env` may hold the attempt's own token and nothing else secret.
    `read` are folders beside the workspace that it may see, such as objects that a clone borrows.
    `bead` is what it works on, empty for a mayor's. Before a later attempt of its agent starts, it
    may go on for `linger_s`: a host that shares the workspace waits for what it writes at its end.
    `host` names an instance of the fleet, empty for the host of the plane. `branch` begins at the
    commit `base`; both are needed where the clone has to be carried to the attempt and back.
    """

    town: str
    agent: str
    attempt: str
    epoch: int
    role: str
    rig: str = ""
    bead: str = ""
    command: tuple[str, ...]
    folder: str
    branch: str = ""
    base: str = ""
    prompt: str
    read: tuple[str, ...] = ()
    linger_s: float = 0
    host: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        """Return it without its environment and prompt."""
        return f"Launch(town={self.town!r}, agent={self.agent!r}, attempt={self.attempt!r})"


class Running(Struct, frozen=True, kw_only=True, gc=False):
    """It runs, since `started_ms`."""

    started_ms: int


class Exited(Struct, frozen=True, kw_only=True, gc=False):
    """It ended. `code` is its exit code, or the number of the signal; gone is not known how.

    `because` is `memory` or `processes` where it passed a limit, `asked` where it was asked to end,
    `unconfined` or `not_started` where its program never ran; empty if it ended by itself.
    """

    how: How
    code: int = 0
    because: str = ""


class Unknown(Struct, frozen=True, gc=False):
    """The host never heard of it, or forgot it."""


Seen: TypeAlias = Running | Exited | Unknown


class RunningAttempt(Struct, frozen=True, kw_only=True):
    """An attempt that runs."""

    town: str
    agent: str
    attempt: str


class EndedAttempt(Struct, frozen=True, kw_only=True, gc=False):
    """An attempt that ended without having been stopped, with the template of its command."""

    town: str
    agent: str
    attempt: str
    rig: str = ""
    bead: str = ""
    command: tuple[str, ...] = ()
    seen: Exited


Release: TypeAlias = Callable[[EndedAttempt], Awaitable[bool]]
"""Deletes what an attempt has elsewhere, once or again; returns whether nothing is left of it."""


class Host(Protocol):
    """A place where attempts run."""

    async def start(self, launch: Launch) -> Outcome[None]:
        """Start an attempt once, whatever was asked before."""
        ...

    async def stop(self, town: str, agent: str, epoch: int, drain_s: float) -> Outcome[None]:
        """Ask an agent's attempts up to an epoch to end, and kill them after `drain_s`."""
        ...

    async def look(self, town: str, attempt: str) -> Outcome[Seen]:
        """Return how an attempt is."""
        ...

    async def gather(self, town: str, attempt: str) -> Outcome[None]:
        """Bring what an attempt committed on its branch into the workspace it was launched with.

        A host that runs attempts in that workspace has nothing to do.
        """
        ...

    async def running(self) -> Outcome[tuple[RunningAttempt, ...]]:
        """Return the attempts that were seen to run at the last look."""
        ...

    async def ended(self) -> Outcome[tuple[EndedAttempt, ...]]:
        """Return what ended without having been stopped and was not acknowledged, oldest first."""
        ...

    async def acknowledge(self, town: str, attempt: str) -> Outcome[None]:
        """Note that the end of an attempt was passed on; one that is unknown is acknowledged."""
        ...

    async def prune(self, before_ms: int, release: Release) -> Outcome[tuple[EndedAttempt, ...]]:
        """Forget attempts that ended before a time and are of no interest; return them.

        Each is released first, and forgotten only if nothing is left of it: one for which that was
        cut short is released again.
        """
        ...

    async def poke(self, town: str, attempt: str, text: str) -> Outcome[None]:
        """Tell a running attempt that something waits for it; `text` is for its model."""
        ...

    async def output(self, town: str, attempt: str, bytes_max: int) -> Outcome[bytes]:
        """Return the end of what an attempt wrote."""
        ...
