"""What the supervisor needs: an agent whose processes it can make, and somebody who repairs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from holdfast.machine.controller.supervise.state import Repair


class PortTakenError(Exception):
    """Somebody else listens on the agent's port; `freed` when it was ours and is ended now."""

    def __init__(self, owner: str, *, freed: bool) -> None:
        """Name the `owner` for people."""
        super().__init__(owner)
        self.owner = owner
        self.freed = freed


class Process(Protocol):
    """A child as the supervisor uses it."""

    @property
    def pid(self) -> int:
        """Return the process id."""
        ...

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        ...

    def kill(self) -> None:
        """End it and its group."""
        ...


class Agent(Protocol):
    """What is supervised: how its processes are made and asked."""

    def spawn(
        self,
        on_exit: Callable[[int | None, str | None], None],
        on_work_ended: Callable[[bool | None], None],
    ) -> Process:
        """Start it; raise OSError when it cannot be made, PortTakenError when it must not be.

        `on_work_ended` hears whether work was cut, None when it cannot tell, once it was told to
        drain.
        """
        ...

    def drain(self, process: Process) -> None:
        """Tell it to take no new work and to end what it has."""
        ...

    async def watch(self, on_probe: Callable[[bool, bool], None]) -> None:
        """Tell (ready, answered) of each probe, until cancelled."""
        ...


class Done(NamedTuple):
    """What came of a repair; `detail` says why nothing was done, or what was."""

    done: bool
    detail: str = ""


class Repairs(Protocol):
    """Who changes something about the agent between two starts."""

    async def repair(self, kind: Repair, reason: str, *, trial: str) -> Done:
        """Do it, in bounded time; when cancelled, leave nothing of it running.

        `trial` is the etag of the configuration whose trial failed, empty for none.
        """
        ...

    async def condemn(self, etag: str, reason: str) -> None:
        """Remember that the trial of a configuration failed, whatever replaces it."""
        ...

    async def started(self) -> None:
        """Take note of the configuration and the version that a child was just started with."""
        ...

    async def proved(self) -> None:
        """Remember those as healthy."""
        ...
