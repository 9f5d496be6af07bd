"""The connection of one plane to the cloud: a sent call continues when its sender dies.

The cloud's half of a call runs outside the plane, so that a plane which crashes, or stops waiting,
leaves the call to be executed or not, as a network does. A dead plane calls nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from holdfast.kernel.outcome import Ok, Outcome
from holdfast.sim.trace import Trace
from holdfast.world.clouds.port import (
    Capabilities,
    Cloud,
    Execution,
    Machine,
    MachineSpec,
    Volume,
    VolumeSpec,
    WaitableState,
)

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class Troubles(Protocol):
    """The chance in a thousand of a fault around each call; it may change at any time."""

    crash_call: float


class FlakyCloud:
    """The `Cloud` as one plane reaches it."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        chance: random.Random,
        troubles: Troubles,
        trace: Trace,
        spawn: Spawn,
        crash: Callable[[str], None],
    ) -> None:
        """Call `cloud`; `spawn` starts a task that belongs to no plane."""
        self._cloud = cloud
        self._chance = chance
        self._troubles = troubles
        self._trace = trace
        self._spawn = spawn
        self._crash = crash
        self.dead = False

    @property
    def capabilities(self) -> Capabilities:
        """Return the cloud's features."""
        return self._cloud.capabilities

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and launch a machine."""
        return await self._far(
            "create",
            spec.sandbox_id,
            self._cloud.create(spec, idempotency_key=idempotency_key, timeout_ms=timeout_ms),
        )

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return a machine."""
        return await self._far("describe", machine_id, self._cloud.describe(machine_id))

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """List machines."""
        return await self._far("find", "", self._cloud.find(labels))

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a machine."""
        return await self._far("start", machine_id, self._cloud.start(machine_id))

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Stop a machine."""
        return await self._far("stop", machine_id, self._cloud.stop(machine_id, grace_ms=grace_ms))

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace a machine's spec and launch it."""
        return await self._far("update", machine_id, self._cloud.update(machine_id, spec))

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace a machine's spec for its next start."""
        return await self._far("store", machine_id, self._cloud.store(machine_id, spec))

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Remove a machine."""
        return await self._far("destroy", machine_id, self._cloud.destroy(machine_id))

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait for a state."""
        return await self._far(
            "wait",
            machine_id,
            self._cloud.wait(
                machine_id, state=state, incarnation=incarnation, timeout_ms=timeout_ms
            ),
        )

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a program in a machine."""
        return await self._far(
            "exec", machine_id, self._cloud.exec(machine_id, argv, timeout_ms=timeout_ms)
        )

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return a machine's newest output."""
        return await self._far(
            "log_tail", machine_id, self._cloud.log_tail(machine_id, lines=lines)
        )

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Create a volume."""
        return await self._far(
            "create_volume",
            spec.name,
            self._cloud.create_volume(spec, idempotency_key=idempotency_key, timeout_ms=timeout_ms),
        )

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return a volume."""
        return await self._far("describe_volume", volume_id, self._cloud.describe_volume(volume_id))

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """List volumes."""
        return await self._far("find_volumes", name, self._cloud.find_volumes(name))

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume."""
        return await self._far("destroy_volume", volume_id, self._cloud.destroy_volume(volume_id))

    async def close(self) -> None:
        """Do nothing: the cloud outlives its callers."""

    async def _far(
        self, verb: str, target: str, call: Coroutine[Any, Any, Outcome[T]]
    ) -> Outcome[T]:
        """Send a call and wait for its answer, if the plane lives until then."""
        if self.dead or self._falls(f"{verb}.before"):
            call.close()
            raise asyncio.CancelledError
        answer: Outcome[T] = await asyncio.shield(self._spawn(call))
        result = "ok" if isinstance(answer, Ok) else answer.code
        self._trace.step("called", verb, target, result)
        if self.dead or self._falls(f"{verb}.after"):
            raise asyncio.CancelledError
        return answer

    def _falls(self, point: str) -> bool:
        """Return whether the plane crashes at this point."""
        if self._chance.random() * 1_000 >= self._troubles.crash_call:
            return False
        self._trace.fault("crash at call", point)
        self._crash(point)
        return True
