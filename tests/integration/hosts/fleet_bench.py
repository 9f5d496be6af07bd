"""A real controller with the demo agent as a host of towns, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec.structs import replace

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import TotalLog
from holdfast.kernel.secret import Secret
from holdfast.wire.address import LOOPBACK, Address
from holdfast.wire.controller.calls import TIMEOUT_MS, ControllerError
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.world.controllers import ControllerClient, Target
from holdfast.world.hosts.carrying import Carrier
from holdfast.world.hosts.fleet import FleetHost
from holdfast.world.hosts.port import Host, Launch
from holdfast.world.hosts.records import record_id
from tests.integration.machine.rig import TOKEN, Machine, run_machine
from tests.support.git_workspaces import git
from tests.support.host_benches import WAITS, Bench
from tests.support.logs import Lines
from tests.support.rigs import confined


class OneController:
    """The client of one controller; it loses answers of the endpoint that `lose` names.

    `machine_is_gone` and `is_deleted` say what the plane knows of the instance.
    """

    def __init__(self) -> None:
        self.client = ControllerClient()
        self.machine: Machine | None = None
        self.lose = ""
        self.started = 0
        self.machine_is_gone = self.is_deleted = False

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> A:
        assert instance_id == "instance-1"
        if self.machine_is_gone or self.is_deleted:
            raise ControllerError("not_running", "The instance has no machine.")
        assert self.machine is not None, "the controller runs"
        target = Target(Address(LOOPBACK, self.machine.port), Secret(TOKEN))
        self.started += endpoint.name == "attempts.start"
        answer = await self.client.call(
            target, endpoint, path=path, query=query, body=body, timeout_ms=timeout_ms
        )
        if endpoint.name == self.lose:
            raise ControllerError("timeout", "the answer was lost")
        return answer

    async def exists(self, instance_id: str) -> bool:
        assert instance_id == "instance-1"
        return not self.is_deleted

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        del instance_id
        return frozenset({"work"})


class FleetBench(Bench):
    """A real controller with the demo agent, which runs the scripted agent."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        super().__init__(clock, folder)
        self.controllers = OneController()
        self.stack = AsyncExitStack()
        self.fleet = self.made()

    def made(self) -> FleetHost:
        return FleetHost(
            self.folder / "fleet",
            controllers=self.controllers,
            carrier=Carrier(confined(self.folder / "fleet")),
            clock=self.clock,
            log=TotalLog(Lines()),
            exists=self.controllers.exists,
        )

    @property
    def host(self) -> Host:
        return self.fleet

    async def open(self) -> None:
        machine = await self.stack.enter_async_context(run_machine(self.folder / "machine"))
        self.controllers.machine = await machine.opened()
        await machine.ready()
        await self.fleet.open()

    async def close(self) -> None:
        await super().close()
        await self.fleet.close()
        await self.controllers.client.close()
        await self.stack.aclose()

    def launch(
        self, attempt: str, *, agent: str = "ada", epoch: int = 1, script: str = WAITS
    ) -> Launch:
        made = super().launch(attempt, agent=agent, epoch=epoch, script=script)
        folder = Path(made.folder)
        if not (folder / ".git").exists():
            git(folder, "init", "--quiet", "--initial-branch", f"work/{attempt}")
            (folder / "README").write_text("a rig\n")
            git(folder, "add", "--all")
            git(folder, "commit", "--quiet", "--message", "begin")
        base = git(folder, "rev-parse", "HEAD")
        return replace(
            made, host="instance-1", branch=f"work/{attempt}", base=base,
            prompt=f"# Your work\n- role: polecat\n\n## What is asked\n\nscript: exec {script}\n",
            env={"HOLDFAST_SCRIPTED_TOOL": "true", "GIT_AUTHOR_EMAIL": f"{agent}@town.invalid"},
        )  # fmt: skip

    def clone(self, launch: Launch) -> Path:
        """Return the clone of an attempt in its agent's home."""
        one = record_id(launch.town, launch.attempt)
        return self.folder / "machine" / "agent" / "work" / one / "clone"

    def end(self, launch: Launch, code: int) -> None:
        draft = self.clone(launch) / "end.new"
        draft.write_text(str(code))
        draft.rename(draft.with_name("end"))
