"""A doctor run that waits for the priority lock, and for the agent to be stopped.

OpenClaw's doctor repairs nothing while a gateway runs on the same state. The agent is stopped as
always, with its work drained; waiting counts towards the run's time limit.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.doctor.jobs import Launch, Process
from holdfast.machine.controller.process.children import Child, OnExit, OnLine
from holdfast.machine.controller.process.priority_lock import Rank

_REASON: Final = "its doctor repairs"


class PatientRun:
    """One run that waits for the lock, and for a repair until the agent is stopped."""

    def __init__(
        self,
        agent: AgentProcesses,
        supervisor: Supervisor,
        *,
        fix: bool,
        closing: Callable[[], bool],
        on_line: OnLine,
        on_exit: Callable[[int], None],
    ) -> None:
        """Start; `on_exit` is called exactly once."""
        self._agent = agent
        self._closing = closing
        self._supervisor = supervisor
        self._fix = fix
        self._on_line = on_line
        self._code = -int(signal.SIGTERM)
        self._child: Child | None = None
        self._working = asyncio.create_task(self._work(), name="doctor waits")
        # Not at the end of the work, which a cancelled task may never have begun.
        self._working.add_done_callback(lambda _: on_exit(self._code))

    def send(self, number: int) -> None:
        """Signal the doctor; before it has started, cancel the wait."""
        if self._child is None:
            self._working.cancel()
        else:
            self._child.send(number)

    def kill(self) -> None:
        """Kill the doctor."""
        if self._child is None:
            self._working.cancel()
        else:
            self._child.kill()

    async def _work(self) -> None:
        # The lock comes first, so that the agent is not down while other command lines hold it.
        async with self._agent.commands.hold(Rank.ORDER, on_wait=self._log_wait):
            try:
                if _wants_alone(self._agent, self._supervisor, fix=self._fix):
                    await self._run_alone()
                else:
                    await self._run()
            except OSError as error:
                self._on_line("stderr", f"[the doctor cannot be started: {error.strerror}]")
                self._code = 1

    def _log_wait(self) -> None:
        self._on_line("stdout", "[waiting for another command of the agent's to end]")

    async def _run_alone(self) -> None:
        self._on_line("stdout", "[the agent is stopped for the repair]")
        try:
            await self._supervisor.stop(_REASON)
            await self._run()
        finally:
            self._start_again()

    async def _run(self) -> None:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._child = self._agent.call_doctor(
            fix=self._fix, on_line=self._on_line, on_exit=done.set_result
        )
        self._code = await done

    def _start_again(self) -> None:
        """Start the agent, even while it is stopping; not while the controller shuts down."""
        if self._closing() or self._supervisor.start():
            return
        if self._supervisor.state.status == "stopping":
            self._supervisor.feed(supervise.Restart(_REASON, None))


def launch_with(
    agent: AgentProcesses, supervisor: Supervisor, *, closing: Callable[[], bool]
) -> Launch:
    """Return a launcher for this agent's doctor.

    It holds the lock, and for a repair the agent is stopped.
    """

    def launch(*, fix: bool, on_line: OnLine, on_exit: Callable[[int], None]) -> Process:
        def start(ended: OnExit) -> Process:
            return agent.call_doctor(fix=fix, on_line=on_line, on_exit=ended)

        child = None
        if not _wants_alone(agent, supervisor, fix=fix):
            child = agent.commands.begin(start, on_exit)
        if child is not None:
            return child
        return PatientRun(
            agent, supervisor, fix=fix, closing=closing, on_line=on_line, on_exit=on_exit
        )

    return launch


def _wants_alone(agent: AgentProcesses, supervisor: Supervisor, *, fix: bool) -> bool:
    return fix and agent.profile.doctor_alone and bool(supervisor.state.child)
