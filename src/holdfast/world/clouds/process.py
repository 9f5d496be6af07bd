"""The process cloud, the embedded default: each machine is a session of processes on this host.

Machines do not depend on the plane: their output goes to their own log, their records are on disk,
and a plane that was killed finds them again by pid, start time and boot id. This half only waits
and watches; whatever touches a disk or a process runs in its worker threads, so that the serving
loop is never blocked. docs/process-cloud.md describes the isolation and its limits. It must never
signal a process that it has not identified.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final, Self, TypeVar

from msgspec import Struct

from holdfast.kernel.clock import Clock
from holdfast.kernel.outcome import Ok, Outcome, Retryable
from holdfast.world.clouds.port import (
    LOG_LINES_MAX,
    TRANSIENT,
    WAIT_MS_MAX,
    WAIT_TIMEOUT,
    Capabilities,
    Execution,
    Machine,
    MachineSpec,
    Volume,
    VolumeSpec,
    WaitableState,
    judge_wait,
)
from holdfast.world.clouds.process_exec import run
from holdfast.world.clouds.process_host import PROGRAM, Adoption, Host
from holdfast.world.clouds.process_ports import FIRST_PORT, LAST_PORT
from holdfast.world.clouds.process_record import Record
from holdfast.world.clouds.spec import DeclinedError, EnvKeys, no_keys
from holdfast.world.processes.confine import Confine
from holdfast.world.processes.log import LOG_BYTES_MAX
from holdfast.world.processes.table import Identity, open_process, send

T = TypeVar("T")

WORKERS: Final = 8
"""Threads for blocking steps; a step takes milliseconds, but a stubborn kill takes seconds."""

WAIT_STEP_S: Final = 0.5
"""Time between two checks of a wait, in case another plane changed the machine, in seconds."""

ROTATE_EVERY_S: Final = 5.0
"""Time between two checks of the logs, in seconds."""

CAPABILITIES: Final = Capabilities(
    kind="process",
    isolation=(
        "agents are confined with bubblewrap and Landlock as far as the host has them, which hides "
        "files, processes and ports of others; user, kernel, network and memory are shared"
    ),
    forks=True,
    regions=("local",),
    sizes=False,
)
_log: Final = logging.getLogger("holdfast.clouds.process")


class _Watch(Struct, frozen=True, gc=False):
    """A process whose end is signalled by its pidfd."""

    leader: Identity
    handle: int


class ProcessCloud:
    """Machines as local processes. Open it before use, close it after; machines live on."""

    def __init__(
        self,
        home: Path,
        *,
        clock: Clock,
        keys: EnvKeys = no_keys,
        environ: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
        inherit: Sequence[str] = (),
        confine: Confine | None = None,
        log_bytes_max: int = LOG_BYTES_MAX,
        rotate_every_s: float = ROTATE_EVERY_S,
        ports: tuple[int, int] = (FIRST_PORT, LAST_PORT),
    ) -> None:
        """Keep everything below `home`; `inherit` names more variables machines may see.

        `ports` are the first and last port for machines, `confine` is how their programs are
        confined, None for not at all.
        """
        self.adoption = Adoption()
        self.on_exit: Callable[[Machine], None] | None = None
        self._clock = clock
        self._rotate_every_s = rotate_every_s
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="cloud")
        self._host = Host(
            home,
            clock=clock,
            keys=keys,
            environ=environ if environ is not None else dict(os.environ),
            program=program,
            inherit=inherit,
            confine=confine,
            log_bytes_max=log_bytes_max,
            ports=ports,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watches: dict[str, _Watch] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def capabilities(self) -> Capabilities:
        """Return the features of this cloud."""
        return CAPABILITIES

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> Adoption:
        """Find the machines that live, and finish what a killed plane left half done."""
        self._loop = asyncio.get_running_loop()
        self._host.on_spawn = self._spawned
        self.adoption = await self._loop.run_in_executor(self._pool, self._host.adopt)
        for record in self.adoption.running:
            self._watch(record)
        for record in self.adoption.pending:
            self._watch(record)
            if record.leader is not None and record.phase in {"stopping", "updating"}:
                # The last plane may have died between its intent and its signal.
                send(record.leader, SIGTERM)
            self._spawn_task(self._finish(record))
        for record in self.adoption.ended:
            self._spawn_task(self._record_end(record.id))
        for name in self.adoption.unreadable:
            _log.error("machine %s: its record cannot be read; it is left alone", name)
        self._spawn_task(self._keep_logs_small())
        return self.adoption

    async def close(self) -> None:
        """Stop watching; the next `open` resumes machines and running graces."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for machine_id in list(self._watches):
            self._unwatch(machine_id)
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    # ----------------------------------------------------------------- machines

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and start; the unique name is the idempotency, as in every cloud."""
        del idempotency_key
        return await self._machine(lambda: self._host.create(spec), timeout_ms)

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return the machine's state, with its resource use."""
        return await self._run(lambda: self._host.look(machine_id))

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """Return the machines that carry all these labels; this listing does not lag."""
        return await self._run(lambda: self._host.find(labels))

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a machine that is down."""
        return await self._machine(lambda: self._host.start(machine_id))

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Send the controller SIGTERM; kill the whole session after the grace."""
        begun = await self._run(lambda: self._host.begin_stop(machine_id, grace_ms=grace_ms))
        if not isinstance(begun, Ok):
            return begun
        if begun.value.phase == "stopping":
            self._watch(begun.value)
            self._spawn_task(self._finish(begun.value))
        return Ok(self._host.machine(begun.value))

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """End the running program, within 10 s, then start anew under the new spec."""
        begun = await self._run(lambda: self._host.begin_update(machine_id, spec))
        if not isinstance(begun, Ok):
            return begun
        self._watch(begun.value)
        # A task of its own: a cancelled caller must not leave the machine between two specs.
        return await asyncio.shield(self._spawn_task(self._finish_update(begun.value)))

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Store the new spec for the next start."""
        done = await self._run(lambda: self._host.store(machine_id, spec))
        if not isinstance(done, Ok):
            return done
        return await self.describe(machine_id)

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait until this incarnation is in a state, at most 60 s."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_ms, WAIT_MS_MAX) / 1_000
        while True:
            woken = self._wake_me(machine_id)
            try:
                seen = await self._run(lambda: self._host.brief(machine_id))
                judged = judge_wait(seen, state=state, incarnation=incarnation)
                if judged is not None:
                    return judged
                left_s = deadline - loop.time()
                if left_s <= 0:
                    return Retryable(WAIT_TIMEOUT, f"machine {machine_id} is not {state} yet")
                await asyncio.wait([woken], timeout=min(left_s, WAIT_STEP_S))
            finally:
                self._let_me_be(machine_id, woken)

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Kill every process of the machine and remove its folder; its volume stays."""
        done = await self._run(lambda: self._host.destroy(machine_id))
        if not isinstance(done, Ok):
            return done
        self._unwatch(machine_id)
        self._wake(machine_id)
        self._spawn_task(self._purge(done.value))
        return Ok(None)

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a command with the environment and in the home of a started machine."""
        found = await self._run(lambda: self._host.surroundings(machine_id))
        if not isinstance(found, Ok):
            return found
        env, home = found.value
        return await run(
            argv, env=env, home=home, timeout_ms=timeout_ms, wrapper=self._host.wrapper
        )

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return the newest lines of the machine's log."""
        wanted = min(lines, LOG_LINES_MAX)
        return await self._run(lambda: self._host.log_tail(machine_id, lines=wanted))

    # ------------------------------------------------------------------ volumes

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Make or fork a volume; the same name and key return the same one."""
        volumes, now_ms = self._host.volumes, self._clock.now_ms()
        return await self._run(
            lambda: volumes.create(spec, idempotency_key=idempotency_key, now_ms=now_ms),
            timeout_ms,
        )

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume's current state."""
        return await self._run(lambda: self._host.volumes.describe(volume_id))

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return the volumes of this name, oldest first."""
        return await self._run(lambda: self._host.volumes.find(name))

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume that is not attached, with its data."""
        return await self._run(lambda: self._host.volumes.destroy(volume_id))

    # ------------------------------------------------------------------ calling

    async def _machine(
        self, do: Callable[[], Record], timeout_ms: int | None = None
    ) -> Outcome[Machine]:
        done = await self._run(do, timeout_ms)
        return Ok(self._host.machine(done.value)) if isinstance(done, Ok) else done

    async def _run(self, do: Callable[[], T], timeout_ms: int | None = None) -> Outcome[T]:
        """Run a blocking step in a worker; it completes even if its caller is cancelled."""
        step = asyncio.get_running_loop().run_in_executor(self._pool, _answer, do)
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1_000):
                return await asyncio.shield(step)
        except TimeoutError:
            return Retryable(TRANSIENT, f"not done within {timeout_ms} ms; it may be done yet")

    # ----------------------------------------------------------------- watching

    def _spawned(self, record: Record) -> None:
        """Handle a start, in a worker thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._watch, record)

    def _watch(self, record: Record) -> None:
        if record.leader is None:
            return
        watch = self._watches.get(record.id)
        if watch is not None and watch.leader == record.leader:
            return
        self._unwatch(record.id)
        handle = open_process(record.leader)
        if handle is None:
            self._exited(record.id)
            return
        self._watches[record.id] = _Watch(record.leader, handle)
        asyncio.get_running_loop().add_reader(handle, self._exited, record.id)
        self._wake(record.id)

    def _unwatch(self, machine_id: str) -> None:
        watch = self._watches.pop(machine_id, None)
        if watch is not None:
            asyncio.get_running_loop().remove_reader(watch.handle)
            os.close(watch.handle)

    def _exited(self, machine_id: str) -> None:
        self._unwatch(machine_id)
        self._wake(machine_id)
        self._spawn_task(self._record_end(machine_id))

    async def _record_end(self, machine_id: str) -> None:
        ended = await self._run(lambda: self._host.record_end(machine_id))
        self._wake(machine_id)
        if isinstance(ended, Ok) and self.on_exit is not None:
            self.on_exit(self._host.machine(ended.value))

    async def _finish(self, record: Record) -> None:
        """Complete a stop, update or destroy once its grace is over."""
        steps: dict[str, Callable[[], object]] = {
            "stopping": lambda: self._host.finish_stop(record.id),
            "updating": lambda: self._host.finish_update(record.id),
            "destroying": lambda: self._host.purge(self._host.destroy(record.id)),
        }
        if record.phase != "destroying":
            await self._await_end(record)
        done = await self._run(steps[record.phase])
        self._wake(record.id)
        if not isinstance(done, Ok):
            _log.warning("machine %s %s: %s %s", record.id, record.phase, done.code, done.message)

    async def _finish_update(self, record: Record) -> Outcome[Machine]:
        await self._await_end(record)
        return await self._machine(lambda: self._host.finish_update(record.id))

    async def _await_end(self, record: Record) -> None:
        """Wait until the record's program has ended or its time is up."""
        left_ms = (record.stop_by_ms or 0) - self._clock.now_ms()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + left_ms / 1_000
        while (left_s := deadline - loop.time()) > 0:
            woken = self._wake_me(record.id)
            try:
                watch = self._watches.get(record.id)
                if watch is None or watch.leader != record.leader:
                    return
                await asyncio.wait([woken], timeout=left_s)
            finally:
                self._let_me_be(record.id, woken)

    def _wake_me(self, machine_id: str) -> asyncio.Future[None]:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(machine_id, set()).add(woken)
        return woken

    def _let_me_be(self, machine_id: str, woken: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(machine_id)
        if waiting is not None:
            waiting.discard(woken)
            if not waiting:
                del self._waiting[machine_id]
        woken.cancel()

    def _wake(self, machine_id: str) -> None:
        for woken in self._waiting.get(machine_id, ()):
            if not woken.done():
                woken.set_result(None)

    # --------------------------------------------------------------- background

    async def _keep_logs_small(self) -> None:
        while True:
            rotated = await self._run(self._host.rotate_logs)
            if not isinstance(rotated, Ok):
                _log.warning("logs were not rotated: %s %s", rotated.code, rotated.message)
            await asyncio.sleep(self._rotate_every_s)

    async def _purge(self, place: Path) -> None:
        await self._run(lambda: self._host.purge(place))

    def _spawn_task(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the process cloud failed", exc_info=error)


def _answer(do: Callable[[], T]) -> Outcome[T]:
    """Run a blocking step and turn a refusal or an OSError into a failure."""
    try:
        return Ok(do())
    except DeclinedError as declined:
        return declined.failure
    except OSError as error:
        return Retryable(TRANSIENT, f"{error.strerror or error}: {error.filename or ''}")
