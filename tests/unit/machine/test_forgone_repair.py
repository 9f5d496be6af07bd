"""A repair that a person's fix overtakes: what failed is still recorded as bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.supervise import Policy, Repair
from holdfast.machine.controller.supervise.ports import Done
from tests.support.patience import patience

POLICY = Policy(backoff=Backoff(first_ms=1, cap_ms=1), start_gap_ms=0)


class Ends:
    """An agent whose processes end when the test says so, or by a signal."""

    pid = 1

    def __init__(self) -> None:
        self.on_exit: Callable[[int | None, str | None], None] | None = None
        self.runs = asyncio.Event()

    is_changing = False

    def spawn(self, on_exit: Any, on_work_ended: Any) -> Any:
        del on_work_ended
        self.on_exit = on_exit
        self.runs.set()
        return self

    def end(self, code: int) -> None:
        on_exit, self.on_exit = self.on_exit, None
        self.runs.clear()
        assert on_exit is not None
        on_exit(code, None)

    def send(self, _number: int) -> None:
        asyncio.get_running_loop().call_soon(self.end, 0)

    def kill(self) -> None:
        """End by SIGTERM."""

    def drain(self, process: Any) -> None:
        """Do nothing: it has no work."""

    async def watch(self, on_probe: Any) -> None:
        del on_probe
        await asyncio.Event().wait()


class Waits:
    """A repair that does not end by itself, and a record of what was marked bad."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.condemned: list[tuple[str, str]] = []
        self.has_condemned = asyncio.Event()

    async def repair(self, kind: Repair, reason: str, *, trial: str) -> Done:
        del kind, reason
        assert trial == "bad"
        self.begun.set()
        await asyncio.Event().wait()
        return Done(done=True)

    async def condemn(self, etag: str, reason: str) -> None:
        self.condemned.append((etag, reason))
        self.has_condemned.set()

    async def started(self) -> None:
        """Record nothing."""

    async def proved(self) -> None:
        """Record nothing."""


@pytest.mark.parametrize("is_begun", [True, False], ids=["under way", "not begun"])
async def test_a_fix_that_overtakes_a_roll_back_does_not_absolve_what_failed(
    *, is_begun: bool
) -> None:
    agent, repairs, clock = Ends(), Waits(), SystemClock()
    supervisor = Supervisor(
        POLICY, agent, repairs, clock=clock, log=Log(clock, cast("Any", 2))
    )  # fmt: skip
    supervisor.feed(supervise.ConfigChanged("bad", restart=False))
    supervisor.start()
    async with asyncio.timeout(patience(10)):
        await agent.runs.wait()
        agent.end(1)
        assert supervisor.state.repair == "roll_back"
        if is_begun:
            await repairs.begun.wait()
        supervisor.feed(supervise.ConfigChanged("fix"))
        await repairs.has_condemned.wait()
        await agent.runs.wait()
        assert repairs.condemned == [("bad", "exit code 1")]
        assert supervisor.state.trial is not None
        assert supervisor.state.trial.etag == "fix"
        await supervisor.shutdown(15)
