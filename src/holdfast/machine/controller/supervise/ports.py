"""Ports of the supervisor: an agent whose processes it can start, and its repairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from holdfast.machine.controller.supervise.state import Repair


class PortTakenError(Exception):
    """Another program listens on the agent's port; `freed` if it was ours and is killed now."""

    def __init__(self, owner: str, *, freed: bool) -> None:
        super().__init__(owner)
        self.owner = owner
        self.freed = freed


class Process(Protocol):
    """A child process as the supervisor uses it."""

    @property
    def pid(self) -> int:
        """Return the process id."""
        ...

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        ...

    def kill(self) -> None:
        """Kill it and its group."""
        ...


class Agent(Protocol):
    """The supervised agent: how its processes are started and probed."""

    @property
    def is_changing(self) -> bool:
        """Return whether another version may be being given to it, so that nothing starts it."""
        ...

    def spawn(
        self,
        on_exit: Callable[[int | None, str | None], None],
        on_work_ended: Callable[[bool | None], None],
    ) -> Process:
        """Start it; raise OSError, or PortTakenError if another program has its port.

        `on_work_ended` is called with whether work was cut, None if unknown, at the
        end of a drain.
        """
        ...

    def drain(self, process: Process) -> None:
        """Make it refuse new work and finish its own."""
        ...

    async def watch(self, on_probe: Callable[[bool, bool], None]) -> None:
        """Yield (ready, answered) of each probe, until cancelled."""
        ...


class Done(NamedTuple):
    """Result of a repair; `detail` gives the reason why nothing was done, or what was."""

    done: bool
    detail: str = ""


class Repairs(Protocol):
    """Repairs of the agent between two starts."""

    async def repair(self, kind: Repair, reason: str, *, trial: str) -> Done:
        """Run it within a time limit; if cancelled, leave no process of it running.

        `trial` is the etag of the configuration whose trial failed, empty for none.
        """
        ...

    async def condemn(self, etag: str, reason: str) -> None:
        """Record that the trial of a configuration failed, whatever replaces it."""
        ...

    async def started(self) -> None:
        """Record the configuration and the version that a child was just started with."""
        ...

    async def proved(self) -> None:
        """Record those as healthy."""
        ...
