"""Keeps one agent running: carries out what the policy decides, and tells it what happened.

There is no queue of operations. Each one is a value given to the policy at once, and the policy
remembers what follows a stop, so a child that ignores SIGTERM cannot hold up the shutdown behind
it. It must never decide anything itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from holdfast.kernel.clock import Clock
from holdfast.machine.controller import supervise
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.supervise import Event, Policy, State


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

    def spawn(self, on_exit: Callable[[int | None, str | None], None]) -> Process:
        """Start it; raise OSError when it cannot be made."""
        ...

    def mend(self, on_exit: Callable[[], None]) -> Process:
        """Start its own repair; raise OSError when it cannot be made."""
        ...

    async def watch(self, on_ready: Callable[[bool], None]) -> None:
        """Tell each time it becomes ready or stops being so, until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Stats:
    """What the supervisor tells: the policy's state, with process id and uptime in seconds."""

    state: State
    pid: int | None
    uptime_s: int


class Supervisor:
    """Runs the policy against real processes."""

    def __init__(self, policy: Policy, agent: Agent, *, clock: Clock, log: Log) -> None:
        """Supervise `agent`; nothing is started yet."""
        self._policy = policy
        self._agent = agent
        self._clock = clock
        self._log = log
        self._state = State()
        self._process: Process | None = None
        self._mender: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[State, State], None]] = []

    @property
    def state(self) -> State:
        """Return the policy's state."""
        return self._state

    def stats(self) -> Stats:
        """Return the figures of now."""
        spawned = self._state.spawned_ms
        uptime_s = 0 if spawned is None else (self._now() - spawned) // 1_000
        return Stats(self._state, None if self._process is None else self._process.pid, uptime_s)

    def listen(self, listener: Callable[[State, State], None]) -> None:
        """Call `listener` with the state before and after each change."""
        self._listeners.append(listener)

    def start(self) -> bool:
        """Start the agent; return False when it runs already or is on its way."""
        if self._state.status not in {"stopped", "crashed"}:
            return False
        self.feed(supervise.Start())
        return True

    async def stop(self) -> bool:
        """Stop the agent and wait for its end; return False when nothing ran."""
        ran = not self._state.idle
        self.feed(supervise.Stop())
        await self._until(lambda state: state.status != "stopping")
        return ran

    async def restart(self) -> bool:
        """Replace the agent and wait for the new one; return False while shutting down."""
        before = self._state.children
        self.feed(supervise.Restart())
        await self._until(lambda state: state.children > before or state.status != "stopping")
        return self._state.status != "shutting_down"

    async def shutdown(self, number: int) -> None:
        """End the agent with this signal, for good, and wait until nothing of it runs."""
        self.feed(supervise.Shutdown(number))
        await self._until(lambda state: state.idle)
        if self._timer is not None:
            self._timer.cancel()

    def signal(self, number: int) -> bool:
        """Send a signal to the agent; return False when there is none."""
        if self._process is None:
            return False
        self._process.send(number)
        return True

    def feed(self, event: Event) -> None:
        """Let the policy decide on `event`, and carry its commands out."""
        before = self._state
        self._state, commands = supervise.step(self._policy, before, event, self._now())
        for command in commands:
            self._carry_out(command)
        self._arm()
        if self._state is not before:
            self._tell(before)

    def _now(self) -> int:
        return int(self._clock.steady_ms())

    def _tell(self, before: State) -> None:
        after = self._state
        if before.status != after.status or before.ready != after.ready:
            self._log.emit(
                "agent.state", status=after.status, ready=after.ready, parked=after.parked,
                restarts=after.restarts, was=before.status,
            )  # fmt: skip
        for listener in self._listeners:
            listener(before, after)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, wanted: Callable[[State], bool]) -> None:
        while not wanted(self._state):
            await self._changed.wait()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._state.deadline_ms
        if deadline is not None:
            delay_s = max(deadline - self._clock.steady_ms(), 0) / 1_000
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_s, self.feed, supervise.Due())

    def _carry_out(self, command: supervise.Command) -> None:
        loop = asyncio.get_running_loop()
        match command:
            case supervise.Spawn(child):
                # Later, so that what the spawn reports is folded after this step, not within it.
                loop.call_soon(self._spawn, child)
            case supervise.Terminate(_, number) if self._process is not None:
                self._process.send(number)
            case supervise.Kill(child) if self._process is not None:
                self._log.emit("agent.kill", child=child, because="it did not end in its grace")
                self._process.kill()
            case supervise.Mend():
                loop.call_soon(self._mend)
            case supervise.CancelMend() if self._mender is not None:
                self._mender.kill()
            case _:
                self._log.emit("agent.nothing_to_signal", command=type(command).__name__)

    def _spawn(self, child: int) -> None:
        if self._state.child != child or self._state.status != "starting":
            # A stop overtook the start: there is nothing to make, and the stop waits to hear it.
            self.feed(supervise.SpawnFailed(child, self._clock.now_ms()))
            return

        def on_exit(code: int | None, signal_name: str | None) -> None:
            self._ended(child, code, signal_name)

        try:
            process = self._agent.spawn(on_exit)
        except OSError as error:
            self._log.emit("agent.spawn_failed", child=child, error=str(error))
            self.feed(supervise.SpawnFailed(child, self._clock.now_ms()))
            return
        self._process = process
        self._log.emit("agent.spawned", child=child, pid=process.pid)
        self.feed(supervise.Spawned(child))
        self._watch = asyncio.create_task(self._watch_ready(child))

    async def _watch_ready(self, child: int) -> None:
        def on_ready(ready: bool) -> None:  # noqa: FBT001  a callback that carries one fact
            self.feed(supervise.BecameReady(child) if ready else supervise.LostReady(child))

        try:
            await self._agent.watch(on_ready)
        except Exception as error:  # noqa: BLE001  a broken probe must not end the supervision
            self._log.emit("agent.watch_failed", child=child, error=repr(error))

    def _ended(self, child: int, code: int | None, signal_name: str | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._process = None
        self._log.emit("agent.exited", child=child, code=code, signal=signal_name)
        self.feed(supervise.Exited(child, code, signal_name, self._clock.now_ms()))

    def _mend(self) -> None:
        if self._state.mending != "running":
            return
        self._log.emit("agent.mending")
        try:
            self._mender = self._agent.mend(self._mended)
        except OSError as error:
            self._log.emit("agent.mend_failed", error=str(error))
            self._mended()
            return
        if self._state.status != "starting":
            self._mender.kill()

    def _mended(self) -> None:
        self._mender = None
        self._log.emit("agent.mended")
        self.feed(supervise.Mended())
