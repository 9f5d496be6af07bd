"""Hosts of town agents for tests, with programs that end when they are told to."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Ok
from holdfast.world.hosts.port import EndedAttempt, Exited, Host, Launch
from holdfast.world.hosts.processes import ProcessHost
from holdfast.world.hosts.steps import Limits
from holdfast.world.processes.confine import Confine
from tests.support.logs import Lines

WAITS = (
    "trap 'echo drained; exit 9' TERM; echo up; "
    'while [ ! -e end ]; do sleep 0.05; done; echo "ended"; exit $(cat end)'
)
"""A program that ends with the code in the file `end` of its workspace, or by a drain with 9."""


class Bench(abc.ABC):
    """A host, and how its attempts are made to end."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.clock = clock
        self.folder = folder
        self.launched: list[Launch] = []

    @property
    @abc.abstractmethod
    def host(self) -> Host:
        """Return the host."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Open it."""

    async def close(self) -> None:
        """End what runs, and close it."""
        for launch in self.launched:
            await self.host.stop(launch.town, launch.agent, launch.epoch, 0)

    def launch(
        self, attempt: str, *, agent: str = "ada", epoch: int = 1, script: str = WAITS
    ) -> Launch:
        """Return an attempt with a workspace of its own."""
        workspace = self.folder / "workspaces" / attempt
        workspace.mkdir(parents=True, exist_ok=True)
        made = Launch(
            town="town", agent=agent, attempt=attempt, epoch=epoch, role="polecat",
            command=("sh", "-c", script), folder=str(workspace), prompt="do it",
        )  # fmt: skip
        self.launched.append(made)
        return made

    @abc.abstractmethod
    def end(self, launch: Launch, code: int) -> None:
        """Make a running attempt end by itself with this code."""


class ProcessBench(Bench):
    """Local processes, confined by all that this computer has."""

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        *,
        limits: Limits | None = None,
        confined: Callable[[], bool] = lambda: True,
        accept_unconfined: bool = False,
        inherit: tuple[str, ...] = (),
        whose: tuple[str, str] = ("town", "polecat"),
        modules: tuple[str, ...] = (),
    ) -> None:
        super().__init__(clock, folder)
        self.inherit, self.whose = inherit, whose
        self.modules = modules
        self.log = TotalLog(Lines())
        self.limits = limits
        self.confined = confined
        self.accept_unconfined = accept_unconfined
        self.processes = self.made()

    def made(self) -> ProcessHost:
        """Return a host over this home, as a plane that starts again makes it."""

        async def confined() -> bool:
            return self.confined()

        return ProcessHost(
            self.folder / "home",
            clock=self.clock,
            log=self.log,
            confine=Confine(hidden=(str(self.folder / "home"),)),
            confined=confined,
            accept_unconfined=self.accept_unconfined,
            limits=self.limits,
            inherit=lambda town, role: self.inherit if (town, role) == self.whose else (),
            modules=self.modules,
        )

    @property
    def host(self) -> Host:
        return self.processes

    async def open(self) -> None:
        await self.processes.open()

    async def restart(self) -> None:
        """Close the host and open another one over the same home."""
        await self.processes.close()
        self.processes = self.made()
        await self.processes.open()

    async def close(self) -> None:
        await super().close()
        await self.processes.close()

    def end(self, launch: Launch, code: int) -> None:
        draft = Path(launch.folder, "end.new")
        draft.write_text(str(code))
        draft.rename(Path(launch.folder, "end"))


async def released(_one: EndedAttempt) -> bool:
    """Release an attempt that has nothing elsewhere."""
    return True


async def ended(host: Host) -> dict[str, Exited]:
    """Return the attempts that ended and were not acknowledged."""
    found = await host.ended()
    assert isinstance(found, Ok), found
    return {one.attempt: one.seen for one in found.value}
