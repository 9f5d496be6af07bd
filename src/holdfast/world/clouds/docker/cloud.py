"""The container cloud: the port's calls, each a few steps on the engine.

The engine is the only record: nothing about a machine is kept here that a plane which is started
anew could not ask for. What a stop that is under way lacks then is its grace, and the plane orders
it again. It must never touch a container, volume or network that does not carry its owner's label.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct, structs

from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.wire.address import Address, Base
from holdfast.world.clouds.docker.answers import Container
from holdfast.world.clouds.docker.engine import Engine, Version, client_context
from holdfast.world.clouds.docker.execute import execute
from holdfast.world.clouds.docker.forwarders import Forwarders
from holdfast.world.clouds.docker.listing import list_ours
from holdfast.world.clouds.docker.machines import Containers, Pair, full
from holdfast.world.clouds.docker.networks import Network, Networks
from holdfast.world.clouds.docker.sampler import EVERY_S, Sampler
from holdfast.world.clouds.docker.shape import (
    CONTROLLER,
    WRAPPER,
    Limits,
    Plan,
    machine_of,
)
from holdfast.world.clouds.docker.volumes import UID_COUNT, UID_FIRST, Volumes, uid_of
from holdfast.world.clouds.docker.watch import Watch, machine_id
from holdfast.world.clouds.port import (
    CONFLICT,
    INVALID,
    LOG_LINES_MAX,
    NOT_FOUND,
    TRANSIENT,
    WAIT_MS_MAX,
    WAIT_TIMEOUT,
    Capabilities,
    Execution,
    Machine,
    MachineSpec,
    MachineState,
    Volume,
    VolumeSpec,
    WaitableState,
    judge_wait,
)
from holdfast.world.clouds.spec import EnvKeys, refusal

T = TypeVar("T")

UPDATE_GRACE_MS: Final = 10_000
"""Time for a running machine to end for an update, in milliseconds."""
FULL_GRACE_MS: Final = 5_000
"""Time for a machine to end whose volume is too large, in milliseconds."""
KILLED_S: Final = 15.0
"""The longest that a killed container may take to be gone, in seconds."""
STEP_S: Final = 0.5
"""Time between two looks of a wait, in case an event is lost, in seconds."""
_ID_CHARS: Final = 14
_log: Final = logging.getLogger("holdfast.clouds.docker")


class Options(Struct, frozen=True, kw_only=True):
    """How an operator wants machines: which engine and image, which way out, which limits.

    `tls` is a folder of certificates. `plane` is the plane's URL as machines are told it, and
    `plane_at` where its listener is; machines reach it at the host's address in their network.
    `proxy` is a proxy on this host that machines may use to get out.
    """

    url: str
    image: str
    owner: str
    tls: str = ""
    internal: bool = True
    subnet: str = "10.213.0.0/16"
    publish: str = ""
    plane: str = ""
    plane_at: Address | None = None
    proxy: Address | None = None
    limits: Limits = Limits()


class DockerCloud:
    """Machines as containers. Open it before use, close it after; machines live on."""

    def __init__(
        self,
        options: Options,
        *,
        clock: Clock,
        keys: EnvKeys,
        program: tuple[str, ...] = CONTROLLER,
        wrapper: tuple[str, ...] = WRAPPER,
        sample_every_s: float = EVERY_S,
    ) -> None:
        """Run `program` in each machine, and commands behind `wrapper`, which confines them."""
        self.on_exit: Callable[[Machine], None] | None = None
        self._options = options
        self._clock = clock
        self._keys = keys
        self._program = program
        self._wrapper = wrapper
        self._sample_every_s = sample_every_s
        self._version: Version | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stopping: dict[str, float] = {}
        self._moved: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forwarders = Forwarders(
            tuple(one for one in (options.plane_at, options.proxy) if one)
        )

    @property
    def capabilities(self) -> Capabilities:
        """Return the features of this cloud."""
        way_out = "has no way out but the plane" if self._options.internal else "reaches out"
        return Capabilities(
            kind="docker",
            isolation=(
                "agents are in containers without rights, each with a user, a network, processors,"
                f" memory and a volume of its own, that {way_out}; the kernel is shared"
            ),
            forks=True,
            regions=("local",),
            snapshots="copy",
        )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect, and follow what happens to machines; an engine that is away is waited for.

        Raise OSError for certificates that cannot be read.
        """
        options = self._options
        tls = client_context(options.tls) if options.tls else None
        self.engine = Engine(options.url, tls=tls)
        owner = options.owner
        self._containers = Containers(self.engine, owner=owner, keys=self._keys)
        self.volumes = Volumes(self.engine, owner=owner, image=options.image, limits=options.limits)
        self._networks = Networks(
            self.engine, owner=owner, subnet=options.subnet, internal=options.internal
        )
        self.sampler = Sampler(
            self.engine, self.volumes, owner=owner, disk_gb=options.limits.disk_gb,
            stop=lambda one: self.stop(one, grace_ms=FULL_GRACE_MS), every_s=self._sample_every_s,
        )  # fmt: skip
        watch = Watch(
            self.engine, owner=owner, changed=self._wake, ended=self._tell_end,
            connected=self._open_forwarders,
        )  # fmt: skip
        self._spawn(watch.run())
        self._spawn(self.sampler.run())

    async def close(self) -> None:
        """Stop following; machines and their networks stay."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._forwarders.close()
        await self.engine.close()

    # ----------------------------------------------------------------- machines

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and start; the unique name is the idempotency, as in every cloud."""
        machine = derive("machine", spec.name, self._clock.now_ms(), idempotency_key)[:_ID_CHARS]
        return await self._bounded(self._create(spec, machine), timeout_ms)

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return the machine's state, with its last figures."""
        found = await self._containers.find(machine_id)
        return Ok(self._machine(found.value.now)) if isinstance(found, Ok) else found

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """Return the machines that carry all these labels; this listing does not lag."""
        pairs = [f"{name}={value}" for name, value in labels.items()]
        listed = await list_ours(self.engine, self._options.owner, *pairs)
        if not isinstance(listed, Ok):
            return listed
        machines = []
        for machine in sorted({machine_id(one) for one in listed.value} - {""}):
            described = await self.describe(machine)
            if isinstance(described, Ok):
                machines.append(described.value)
            elif not (isinstance(described, Permanent) and described.code == NOT_FOUND):
                return described
        return Ok(tuple(machines))

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a machine that is down, with the specification stored last."""
        return await self._held(machine_id, self._start)

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Send its program SIGTERM; kill it after the grace."""
        found = await self._containers.find(machine_id)
        if not isinstance(found, Ok) or not found.value.running:
            return Ok(self._machine(found.value.now)) if isinstance(found, Ok) else found
        by_s = asyncio.get_running_loop().time() + grace_ms / 1_000
        under_way = machine_id in self._stopping
        self._stopping[machine_id] = min(by_s, self._stopping.get(machine_id, by_s))
        if not under_way:
            await self._containers.signal(found.value.now.id, "SIGTERM")
            self._spawn(self._finish_stop(machine_id, found.value.now.id))
        return Ok(self._machine(found.value.now))

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace the container, the old program having 10 s to end."""

        async def replace(pair: Pair) -> Outcome[Machine]:
            if pair.running and machine_id in self._stopping:
                return Conflict(CONFLICT, f"machine {machine_id} is stopping")
            stored = await self._store(pair, spec)
            if not isinstance(stored, Ok):
                return stored
            if pair.running:
                ended = await self._end(pair.now.id, UPDATE_GRACE_MS / 1_000)
                if not isinstance(ended, Ok):
                    return ended
            return await self._launch(structs.replace(pair, following=stored.value))

        # A task of its own: a cancelled caller must not leave the machine between two specs.
        return await asyncio.shield(self._spawn(self._held(machine_id, replace)))

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Store the new spec for the next start, as a container that waits for it."""

        async def keep(pair: Pair) -> Outcome[Machine]:
            had = self._machine(pair.now).volume_id
            if spec.volume_id != had:
                return Permanent(INVALID, f"machine {machine_id} keeps its volume {had}")
            stored = await self._store(pair, spec)
            return Ok(self._machine(pair.now)) if isinstance(stored, Ok) else stored

        return await self._held(machine_id, keep)

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait until this incarnation is in a state, at most 60 s."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_ms, WAIT_MS_MAX) / 1_000
        while True:
            moved = self._moved.setdefault(machine_id, asyncio.Event())
            judged = judge_wait(
                await self.describe(machine_id), state=state, incarnation=incarnation
            )
            if judged is not None:
                return judged
            left_s = deadline - loop.time()
            if left_s <= 0:
                return Retryable(WAIT_TIMEOUT, f"machine {machine_id} is not {state} yet")
            try:
                async with asyncio.timeout(min(left_s, STEP_S)):
                    await moved.wait()
            except TimeoutError:
                continue

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Kill and remove its containers and its network; its volume stays."""

        async def remove(pair: Pair) -> Outcome[None]:
            for container in (pair.following, pair.now.id):
                removed = await self._containers.remove(container) if container else Ok(None)
                if not isinstance(removed, Ok):
                    return removed
            network = await self._networks.remove(pair.name)
            if network is not None:
                self._forwarders.close_at(network.gateway)
            self.sampler.forget(machine_id)
            self._wake(machine_id)
            return Ok(None)

        return await self._held(machine_id, remove)

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a command as the user of a started machine, confined like its agent."""
        found = await self._containers.find(machine_id)
        if not isinstance(found, Ok):
            return found
        if not found.value.running:
            return Conflict(CONFLICT, f"machine {machine_id} is not started")
        return await execute(
            self.engine, found.value.now.id, argv, wrapper=self._wrapper, timeout_ms=timeout_ms
        )

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return the newest lines of the container's output; an update begins a new one."""
        found = await self._containers.find(machine_id)
        if not isinstance(found, Ok):
            return found
        wanted = min(lines, LOG_LINES_MAX)
        container = found.value.now.id
        printed = await self.engine.call(
            lambda docker: docker.containers.container(container).log(
                stdout=True, stderr=True, tail=wanted
            )
        )
        if not isinstance(printed, Ok):
            return printed
        return Ok(tuple("".join(printed.value).splitlines()[-wanted:]))

    # ------------------------------------------------------------------ volumes

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Make or copy a volume; the same name and key return the same one."""
        async with self._lock(f"volume:{spec.name}"):
            return await self.volumes.create(
                spec, idempotency_key=idempotency_key, timeout_ms=timeout_ms
            )

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume's current state."""
        return await self.volumes.describe(volume_id)

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return the volumes of this name, oldest first."""
        return await self.volumes.find(name)

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume that is not attached, with its data."""
        return await self.volumes.destroy(volume_id)

    # -------------------------------------------------------------------- steps

    async def _create(self, spec: MachineSpec, machine: str) -> Outcome[Machine]:
        refused = refusal(spec)
        if refused is not None:
            return refused
        async with self._lock(spec.name):
            held = await self._containers.holder(spec.name)
            if not isinstance(held, Ok):
                return held
            planned = await self._plan(spec, machine)
            if not isinstance(planned, Ok):
                return planned
            made = await self._containers.make(planned.value)
            if not isinstance(made, Ok):
                return made
            shown = await self._containers.show(made.value)
            started = await self._containers.start(shown.value) if isinstance(shown, Ok) else shown
            if isinstance(started, Permanent):  # it would hold the name of a machine that never was
                await self._containers.remove(made.value)
        return Ok(self._machine(started.value)) if isinstance(started, Ok) else started

    async def _start(self, pair: Pair) -> Outcome[Machine]:
        if pair.running:
            return Ok(self._machine(pair.now))
        volume = self._machine(pair.now).volume_id
        if volume is not None:
            checked = await self.volumes.check(volume, machine_id=self._machine(pair.now).id)
            if not isinstance(checked, Ok):
                return checked
        return await self._launch(pair)

    async def _launch(self, pair: Pair) -> Outcome[Machine]:
        """Start what is not running, the next container if there is one."""
        promoted = await self._containers.promote(pair)
        if not isinstance(promoted, Ok):
            return promoted
        too_large = self.sampler.full.get(self._machine(promoted.value).volume_id or "")
        if too_large is not None:
            return full(too_large)
        network = await self._reach(pair.name)
        if not isinstance(network, Ok):
            return network
        # It has ended: a stop that has not noticed yet must not end what is started now.
        self._stopping.pop(self._machine(promoted.value).id, None)
        started = await self._containers.start(promoted.value)
        return Ok(self._machine(started.value)) if isinstance(started, Ok) else started

    async def _store(self, pair: Pair, spec: MachineSpec) -> Outcome[str]:
        """Make the container that replaces a machine's; return its id."""
        refused = refusal(spec)
        if refused is not None:
            return refused
        if spec.name != pair.name:
            return Permanent(INVALID, f"name {spec.name!r}: the machine keeps {pair.name!r}")
        planned = await self._plan(spec, self._machine(pair.now).id)
        if not isinstance(planned, Ok):
            return planned
        if pair.following:
            removed = await self._containers.remove(pair.following)
            if not isinstance(removed, Ok):
                return removed
        return await self._containers.make(planned.value, following=True)

    async def _plan(self, spec: MachineSpec, machine: str) -> Outcome[Plan]:
        """Return what a machine's container is made of, its network and volume checked."""
        uid = UID_FIRST + int(derive("uid", machine)[:8], 16) % UID_COUNT
        if spec.volume_id is not None:
            checked = await self.volumes.check(spec.volume_id, machine_id=machine)
            if not isinstance(checked, Ok):
                return checked
            uid = uid_of(checked.value)
        version = await self._engine_version()
        network = await self._reach(spec.name)
        if not isinstance(network, Ok):
            return network
        if not isinstance(version, Ok):
            return version
        options, gateway = self._options, network.value.gateway
        at, proxy = options.plane_at, options.proxy
        return Ok(
            Plan(
                spec=spec, machine_id=machine, owner=options.owner, image=options.image, uid=uid,
                network=network.value.name, gateway=gateway, publish=options.publish,
                plane=options.plane, podman=version.value.engine == "podman",
                plane_here=_url_at(gateway, at),
                proxy_here=_url_at(gateway, proxy),
                limits=options.limits, program=self._program, confined=bool(self._wrapper),
            )
        )  # fmt: skip

    async def _reach(self, name: str) -> Outcome[Network]:
        """Return a machine's network, with the plane listening in it."""
        version = await self._engine_version()
        if not isinstance(version, Ok):
            return version
        network = await self._networks.ensure(name, podman=version.value.engine == "podman")
        if isinstance(network, Ok):
            await self._forwarders.ensure(network.value.gateway)
        return network

    async def _engine_version(self) -> Outcome[Version]:
        if self._version is None:
            found = await self.engine.version()
            if not isinstance(found, Ok):
                return found
            self._version = found.value
        return Ok(self._version)

    # ------------------------------------------------------------------- ending

    async def _finish_stop(self, machine_id: str, container: str) -> None:
        """Kill a container whose grace is over, unless it has ended, and was started again."""
        loop = asyncio.get_running_loop()

        async def kill(_pair: Pair) -> Outcome[None]:
            return await self._kill(container) if machine_id in self._stopping else Ok(None)

        try:
            while (by_s := self._stopping.get(machine_id)) is not None:
                if not await self._runs(container):
                    return
                if loop.time() >= by_s:
                    await self._held(machine_id, kill)  # no start comes in between
                    return
                await self._pause(machine_id, min(by_s - loop.time(), STEP_S))
        finally:
            self._stopping.pop(machine_id, None)
            self._wake(machine_id)

    async def _end(self, container: str, grace_s: float) -> Outcome[None]:
        """Send SIGTERM, kill after the grace, and wait until it is down."""
        loop = asyncio.get_running_loop()
        by_s = loop.time() + grace_s
        await self._containers.signal(container, "SIGTERM")
        while loop.time() < by_s:
            if not await self._runs(container):
                return Ok(None)
            await asyncio.sleep(0.05)
        return await self._kill(container)

    async def _kill(self, container: str) -> Outcome[None]:
        loop = asyncio.get_running_loop()
        by_s = loop.time() + KILLED_S
        while await self._runs(container):
            if loop.time() > by_s:
                return Retryable(TRANSIENT, f"container {container[:12]} does not end when killed")
            await self._containers.signal(container, "SIGKILL")
            await asyncio.sleep(0.05)
        return Ok(None)

    async def _runs(self, container: str) -> bool:
        """Return whether a container runs; True if the engine does not say."""
        shown = await self._containers.show(container)
        if isinstance(shown, Ok):
            return Pair(shown.value).running
        return not (isinstance(shown, Permanent) and shown.code == NOT_FOUND)

    # ----------------------------------------------------------------- watching

    async def _tell_end(self, machine_id: str) -> None:
        described = await self.describe(machine_id)
        if isinstance(described, Ok) and self.on_exit is not None:
            self.on_exit(described.value)

    async def _open_forwarders(self) -> None:
        networks = await self._networks.listed()
        if isinstance(networks, Ok):
            for network in networks.value:
                await self._forwarders.ensure(network.gateway)

    def _machine(self, container: Container) -> Machine:
        direct = not self._options.publish
        machine = machine_of(container, direct=direct)
        state: MachineState = machine.state
        if machine.id in self._stopping and state == "started":
            state = "stopping"
        return structs.replace(machine, state=state, usage=self.sampler.usage(machine.id))

    def _wake(self, machine_id: str) -> None:
        moved = self._moved.pop(machine_id, None)
        if moved is not None:
            moved.set()

    async def _pause(self, machine_id: str, seconds: float) -> None:
        moved = self._moved.setdefault(machine_id, asyncio.Event())
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await moved.wait()
        except TimeoutError:
            return

    # ------------------------------------------------------------------ calling

    async def _held(
        self, machine_id: str, do: Callable[[Pair], Coroutine[Any, Any, Outcome[T]]]
    ) -> Outcome[T]:
        """Do something with a machine's containers while nobody else does."""
        found = await self._containers.find(machine_id)
        if not isinstance(found, Ok):
            return found
        async with self._lock(found.value.name):
            again = await self._containers.find(machine_id)
            return await do(again.value) if isinstance(again, Ok) else again

    def _lock(self, name: str) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    async def _bounded(self, work: Coroutine[Any, Any, Outcome[T]], timeout_ms: int) -> Outcome[T]:
        """Wait for a step of ours; it goes on if its time is over or its caller cancelled."""
        task = self._spawn(work)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await asyncio.shield(task)
        except TimeoutError:
            return Retryable(TRANSIENT, f"not done within {timeout_ms} ms; it may be done yet")

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _url_at(gateway: str, service: Address | None) -> str:
    """Return where a machine reaches a service of the host, empty for none."""
    return Base("http", Address(gateway, service.port), "").url() if service else ""
