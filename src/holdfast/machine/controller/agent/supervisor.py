"""Keeps one agent running: executes what the policy decides and reports events to it.

There is no queue of operations. Each one is passed to the policy at once, and the policy remembers
what follows a stop, so a child that ignores SIGTERM cannot delay a shutdown. It must not decide
anything itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.machine.controller import supervise
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.supervise import BeginRepair, Event, Policy, Repair, State
from holdfast.machine.controller.supervise.ports import (
    Agent,
    Done,
    PortTakenError,
    Process,
    Repairs,
)


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of the supervisor: the policy's state, process id and uptime in seconds.

    `next_try_at_ms` is the time of day of the scheduled start, in ms since the epoch, 0 for none.
    """

    state: State
    pid: int | None
    uptime_s: int
    next_try_at_ms: int = 0


class Supervisor:
    """Runs the policy against real processes."""

    def __init__(
        self, policy: Policy, agent: Agent, repairs: Repairs, *, clock: Clock, log: Log
    ) -> None:
        self.policy = policy
        self._agent = agent
        self._repairs = repairs
        self._clock = clock
        self._log = log
        self._state = State()
        self._next_try_at_ms = 0
        self._process: Process | None = None
        self._repairing: asyncio.Task[Done] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._notes: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[State, State], None]] = []

    @property
    def state(self) -> State:
        """Return the policy's state."""
        return self._state

    def stats(self) -> Stats:
        """Return the current figures."""
        spawned = self._state.spawned_ms
        uptime_s = 0 if spawned is None else (self._now() - spawned) // 1_000
        pid = None if self._process is None else self._process.pid
        return Stats(self._state, pid, uptime_s, self._next_try_at_ms)

    def listen(self, listener: Callable[[State, State], None]) -> None:
        """Call `listener` with the state before and after each change."""
        self._listeners.append(listener)

    @property
    def is_changing(self) -> bool:
        """Return whether nothing starts the agent, because another version is being given to it."""
        return self._agent.is_changing

    def start(self) -> bool:
        """Start the agent; return False if it runs or is starting already, or may not."""
        if self.is_changing or self._state.status not in {"stopped", "crashed"}:
            return False
        self.feed(supervise.Start())
        return True

    async def stop(self, reason: str = "", *, drain_ms: int | None = None) -> bool:
        """Stop the agent and wait for its end; return False if nothing ran.

        Its work may take `drain_ms`, None for the policy's limit.
        """
        ran = not self._state.idle
        self.feed(supervise.Stop(reason or "a stop was asked for", drain_ms))
        await self._until(lambda state: state.status != "stopping")
        return ran

    async def restart(self, reason: str = "", *, drain_ms: int | None = None) -> bool:
        """Replace the agent and wait for the new one; return False while shutting down.

        Its work may take `drain_ms`, None for the policy's limit.
        """
        before = self._state.children
        self.feed(supervise.Restart(reason or "a restart was asked for", drain_ms))
        await self._until(
            lambda state: state.children > before or state.status not in {"stopping", "starting"}
        )
        return self._state.status != "shutting_down"

    async def shutdown(self, number: int) -> None:
        """End the agent with this signal, for good, and wait until no process of it runs."""
        self.feed(supervise.Shutdown(number))
        await self._until(lambda state: state.idle)
        if self._timer is not None:
            self._timer.cancel()
        for note in self._notes:
            note.cancel()

    def feed(self, event: Event) -> None:
        """Let the policy decide on `event`, and execute its commands.

        While another version is given to the agent nothing starts it: the boot does, afterwards.
        """
        if self.is_changing and isinstance(event, supervise.Start | supervise.Restart):
            self._log.emit("agent.start_waits", order=type(event).__name__)
            return
        before = self._state
        self._state, commands = supervise.step(self.policy, before, event, self._now())
        for command in commands:
            self._carry_out(command)
        self._arm()
        if self._state is not before:
            self._report(before)

    def _now(self) -> int:
        return int(self._clock.steady_ms())

    def _report(self, before: State) -> None:
        after = self._state
        if after.retry_at_ms != before.retry_at_ms:
            at_ms = after.retry_at_ms
            left_ms = None if at_ms is None else max(at_ms - self._now(), 0)
            self._next_try_at_ms = 0 if left_ms is None else self._clock.now_ms() + left_ms
        if before.status != after.status or before.ready != after.ready:
            self._log.emit(
                "agent.state", status=after.status, ready=after.ready, parked=after.parked,
                restarts=after.restarts, was=before.status,
            )  # fmt: skip
        if after.goodbye is not before.goodbye and after.goodbye is not None:
            goodbye = after.goodbye
            self._log.emit(
                "agent.ended",
                reason=goodbye.reason,
                work_cut=goodbye.cut,
                took_ms=goodbye.waited_ms,
            )
        if after.ladder.history != before.ladder.history:
            rung = after.ladder.history[-1]
            self._log.emit(
                "agent.rung", rung=rung.rung, reason=rung.reason, done=rung.done,
                detail=rung.detail,
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
            self._timer = loop.call_later(delay_s, self._due)

    def _due(self) -> None:
        self.feed(supervise.Due(self._clock.now_ms()))

    def _carry_out(self, command: supervise.Command) -> None:
        loop = asyncio.get_running_loop()
        match command:
            case supervise.Spawn(child):
                # Deferred, so that events of the spawn are folded after this step, not within it.
                loop.call_soon(self._spawn, child)
            case supervise.Drain() if self._process is not None:
                self._log.emit("agent.draining", child=command.child)
                self._agent.drain(self._process)
            case supervise.Terminate(_, number) if self._process is not None:
                self._process.send(number)
            case supervise.Kill(child) if self._process is not None:
                self._log.emit("agent.kill", child=child, because="it did not end in its grace")
                self._process.kill()
            case supervise.BeginRepair():
                loop.call_soon(self._repair, command)
            case supervise.CancelRepair() if self._repairing is not None:
                self._repairing.cancel()
            case supervise.BeHealthy():
                self._note(self._repairs.proved())
            case supervise.CancelRepair():
                pass  # not begun: `_repair` checks whether it is still wanted
            case _:
                self._log.emit("agent.nothing_to_signal", command=type(command).__name__)

    def _spawn(self, child: int) -> None:
        if self._state.child != child or self._state.status != "starting":
            # A stop came before the start: nothing to spawn, and the stop waits for this event.
            self.feed(supervise.SpawnFailed(child, self._clock.now_ms()))
            return

        def on_exit(code: int | None, signal_name: str | None) -> None:
            self._ended(child, code, signal_name)

        def on_work_ended(cut: bool | None) -> None:  # noqa: FBT001  a callback with one fact
            self.feed(supervise.WorkEnded(child, cut))

        try:
            process = self._agent.spawn(on_exit, on_work_ended)
        except PortTakenError as taken:
            self._log.emit("agent.port_taken", owner=taken.owner, freed=taken.freed)
            self.feed(supervise.PortTaken(child, taken.owner, freed=taken.freed))
            return
        except OSError as error:
            self._log.emit("agent.spawn_failed", child=child, error=brief(error))
            self.feed(supervise.SpawnFailed(child, self._clock.now_ms()))
            return
        self._process = process
        self._log.emit("agent.spawned", child=child, pid=process.pid)
        self.feed(supervise.Spawned(child))
        self._note(self._repairs.started())
        self._watch = asyncio.create_task(self._watch_ready(child))

    async def _watch_ready(self, child: int) -> None:
        def on_probe(ready: bool, answered: bool) -> None:  # noqa: FBT001  what a probe found
            self.feed(supervise.Probed(child, ready=ready, answered=answered))

        try:
            await self._agent.watch(on_probe)
        except Exception as error:  # noqa: BLE001  a broken probe must not end the supervision
            self._log.emit("agent.watch_failed", child=child, error=brief(error))

    def _ended(self, child: int, code: int | None, signal_name: str | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._process = None
        self._log.emit("agent.exited", child=child, code=code, signal=signal_name)
        self.feed(supervise.Exited(child, code, signal_name, self._clock.now_ms()))

    def _repair(self, wanted: BeginRepair) -> None:
        repair, reason = wanted.repair, wanted.reason
        if self._state.repair != repair or self._state.status != "starting":
            self._forgo(wanted, "it was not wanted any more")
            return
        self._log.emit("agent.repairing", repair=repair, reason=reason)
        doing = self._repairs.repair(repair, reason, trial=wanted.failed)
        self._repairing = asyncio.create_task(doing, name="repair")
        self._repairing.add_done_callback(lambda task: self._repair_ended(wanted, task))

    def _forgo(self, wanted: BeginRepair, because: str) -> None:
        """Cancel a repair; this is no verdict on a configuration on trial."""
        if wanted.failed:
            self._note(self._repairs.condemn(wanted.failed, wanted.reason))
        self._repaired(wanted.repair, Done(done=False, detail=because))

    def _repair_ended(self, wanted: BeginRepair, task: asyncio.Task[Done]) -> None:
        self._repairing = None
        repair = wanted.repair
        if task.cancelled():
            self._forgo(wanted, "it was ended")
        elif (error := task.exception()) is not None:
            self._log.emit("agent.repair_failed", repair=repair, error=brief(error))
            self._repaired(repair, Done(done=False, detail=type(error).__name__))
        else:
            self._repaired(repair, task.result())

    def _repaired(self, repair: Repair, found: Done) -> None:
        self._log.emit("agent.repaired", repair=repair, done=found.done, detail=found.detail)
        at_ms = self._clock.now_ms()
        self.feed(supervise.Repaired(repair, found.done, at_ms, found.detail))

    def _note(self, work: Coroutine[None, None, None]) -> None:
        """Run a write of records; a failure is logged and changes nothing."""
        task = asyncio.create_task(work, name="note")
        self._notes.add(task)
        task.add_done_callback(self._noted)

    def _noted(self, task: asyncio.Task[None]) -> None:
        self._notes.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.emit("agent.note_failed", error=brief(error))
