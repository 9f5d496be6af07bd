"""The simulated cloud: the in-memory twin of Fly's machines, with its behaviour and faults.

It answers in statuses and texts, which the same classifier reads as for the real one, so a test
against it is a test of that too. Time is that of the given clock and passes only by the given
`sleep`, so it runs in virtual time. It does not limit a sandbox to one machine: a caller that
creates two has two, and a checker finds them through `machines_of`. It must never start a task.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from holdfast.kernel.clock import Clock
from holdfast.kernel.outcome import Ok, Outcome, Retryable
from holdfast.world.clouds.errors import Subject, classify
from holdfast.world.clouds.faults import Call, Draws, Fault, Faults, no_faults
from holdfast.world.clouds.port import (
    LABEL_SANDBOX,
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
from holdfast.world.clouds.rates import Buckets
from holdfast.world.clouds.simulated_world import RefusedError, Row, Timing, World

T = TypeVar("T")
Sleep: TypeAlias = Callable[[int], Awaitable[None]]
"""Lets so many milliseconds pass, on the clock the cloud was given too."""
Executor: TypeAlias = Callable[[Machine, tuple[str, ...]], Execution]

CALL_TIMEOUT_MS: Final = 30_000
"""Time that a caller without its own timeout waits for an answer, in milliseconds."""

READS: Final = frozenset(
    {"describe", "find", "wait", "describe_volume", "find_volumes", "log_tail"}
)
WAIT_STEP_MS: Final = 1_000

CAPABILITIES: Final = Capabilities(
    kind="simulated",
    isolation="none: nothing runs",
    forks=True,
    regions=("ams", "fra", "iad"),
    more_regions=True,
    routes_by_id=True,
    call_per_s=1.0,
    call_burst=3,
    read_per_s=5.0,
    read_burst=10,
)


class SimulatedCloud:
    """A cloud in memory. `calls` counts by verb, `answers` by (verb, code or "ok")."""

    def __init__(
        self,
        *,
        clock: Clock,
        chance: Draws,
        sleep: Sleep,
        faults: Faults = no_faults,
        timing: Timing | None = None,
    ) -> None:
        """Begin empty; the attribute `faults` may be replaced at any time."""
        self.faults = faults
        self.calls: Counter[str] = Counter()
        self.answers: Counter[tuple[str, str]] = Counter()
        self.executor: Executor = lambda _machine, _argv: Execution(exit_code=0)
        self.rate_limited = True
        self._clock = clock
        self._sleep = sleep
        self._world = World(now_ms=clock.now_ms, chance=chance, timing=timing or Timing())
        self._writes = Buckets(per_s=CAPABILITIES.call_per_s, burst=CAPABILITIES.call_burst)
        self._reads = Buckets(per_s=CAPABILITIES.read_per_s, burst=CAPABILITIES.read_burst)
        self._late: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = 0

    @property
    def capabilities(self) -> Capabilities:
        """Return Fly's features, as far as they are simulated."""
        return CAPABILITIES

    @property
    def world(self) -> World:
        """Return the true state, for checkers and tests; due late calls are executed first."""
        self._catch_up()
        return self._world

    # ----------------------------------------------------------------- machines

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and launch; as with Fly the name is the only idempotency, the key is ignored."""
        del idempotency_key
        return await self._call(
            "create", spec.name, lambda: self._world.create(spec).machine(), timeout_ms
        )

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return the machine as it is now."""
        return await self._call(
            "describe", machine_id, lambda: self._world.row(machine_id).machine()
        )

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """Return the listing, which lags."""
        target = labels.get(LABEL_SANDBOX, "")
        return await self._call("find", target, lambda: self._world.listed(labels))

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a machine that is down."""
        return await self._call(
            "start", machine_id, lambda: self._world.start(machine_id).machine()
        )

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Begin to stop; `Timing` sets how long it takes."""
        del grace_ms
        return await self._call("stop", machine_id, lambda: self._world.stop(machine_id).machine())

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace the spec and launch anew."""
        return await self._call(
            "update", machine_id, lambda: self._world.update(machine_id, spec).machine()
        )

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Keep the spec for the next start."""
        return await self._call(
            "store", machine_id, lambda: self._world.store(machine_id, spec).machine()
        )

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Begin to remove; it is gone after a while."""
        return await self._call("destroy", machine_id, lambda: self._world.destroy(machine_id))

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait for a state of an incarnation, at most 60 s."""
        first = await self._call("wait", machine_id, lambda: self._world.row(machine_id).machine())
        deadline = self._clock.steady_ms() + min(timeout_ms, WAIT_MS_MAX)
        machine = first
        while True:
            done = judge_wait(machine, state=state, incarnation=incarnation)
            if done is not None:
                return done
            left_ms = deadline - self._clock.steady_ms()
            if left_ms <= 0:
                return Retryable(WAIT_TIMEOUT, f"408: {machine_id} is not {state} yet")
            await self._sleep(max(1, min(int(left_ms), self._until_change(machine_id))))
            machine = self._look(machine_id)

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Return what `executor` answers; refuse if the machine is not started."""

        def run() -> Execution:
            machine = self._world.row(machine_id).machine()
            if machine.state != "started":
                raise RefusedError(412, '{"error":"failed_precondition: machine not running"}')
            return self.executor(machine, argv)

        return await self._call("exec", machine_id, run, timeout_ms)

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return one made-up line for each incarnation."""

        def tail() -> tuple[str, ...]:
            row = self._world.row(machine_id)
            printed = [f"{row.id} incarnation {number + 1}" for number in range(row.starts)]
            return tuple(printed[-min(lines, LOG_LINES_MAX) :] if lines > 0 else ())

        return await self._call("log_tail", machine_id, tail)

    # ------------------------------------------------------------------ volumes

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Create or fork a volume; as with Fly the key is ignored, so repeating makes two."""
        del idempotency_key
        return await self._call(
            "create_volume", spec.name, lambda: self._world.create_volume(spec), timeout_ms
        )

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume as it is now."""
        return await self._call("describe_volume", volume_id, lambda: self._world.volume(volume_id))

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return the volumes of this name in the listing, which lags."""

        def listed() -> tuple[Volume, ...]:
            seen_ms = self._clock.now_ms() - self._world.timing.listing_lag_ms
            return tuple(
                volume
                for volume in self._world.volumes()
                if volume.name == name and volume.created_at_ms <= seen_ms
            )

        return await self._call("find_volumes", name, listed)

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume that nothing holds."""
        return await self._call(
            "destroy_volume", volume_id, lambda: self._world.destroy_volume(volume_id)
        )

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    # -------------------------------------------------------------------- truth

    def machines_of(self, sandbox_id: str) -> tuple[Machine, ...]:
        """Return every machine of a sandbox that is not destroyed, in its true state."""
        rows = self.world.rows_of(sandbox_id)
        return tuple(row.machine() for row in rows if row.state != "destroyed")

    def all_machines(self) -> tuple[Machine, ...]:
        """Return every machine that is not destroyed, in its true state."""
        return tuple(row.machine() for row in self.world.rows() if row.state != "destroyed")

    def all_volumes(self) -> tuple[Volume, ...]:
        """Return every volume, in its true state."""
        return tuple(self.world.volumes())

    # ------------------------------------------------------------------- within

    async def _call(
        self, verb: str, target: str, do: Callable[[], T], timeout_ms: int = CALL_TIMEOUT_MS
    ) -> Outcome[T]:
        self.calls[verb] += 1
        call = Call(verb=verb, target=target, number=self.calls[verb], now_ms=self._clock.now_ms())
        answer = await self._carry_out(call, self.faults(call), do, timeout_ms)
        self.answers[verb, "ok" if isinstance(answer, Ok) else answer.code] += 1
        return answer

    async def _carry_out(
        self, call: Call, fault: Fault | None, do: Callable[[], T], timeout_ms: int
    ) -> Outcome[T]:
        """Wait the way there, execute or not, wait the way back, and return the answer."""
        there_ms = self._world.timing.call_ms // 2
        await self._sleep(there_ms)
        kind = fault.kind if fault is not None else None
        if fault is not None and kind == "refuse":
            await self._sleep(there_ms)
            return classify(fault.status, fault.body, subject=_subject(call.verb))
        if fault is not None and (kind == "late" or fault.delay_ms >= timeout_ms):
            self._put_off(fault.delay_ms, lambda: self._do(call, do))
            await self._sleep(max(timeout_ms - there_ms, 0))
            return Retryable(TRANSIENT, f"{call.verb}: no answer within {timeout_ms} ms")
        if fault is not None and kind == "delay":
            await self._sleep(fault.delay_ms)
        answer = self._do(call, do)
        if kind == "repeat":
            answer = self._do(call, do)
        if kind == "lose_reply":
            await self._sleep(max(timeout_ms - there_ms, 0))
            return Retryable(TRANSIENT, f"{call.verb}: the connection was lost")
        await self._sleep(there_ms)
        return answer

    def _do(self, call: Call, do: Callable[[], T]) -> Outcome[T]:
        self._catch_up()
        now = self._clock.now_ms()
        buckets = self._reads if call.verb in READS else self._writes
        pause_ms = buckets.take(f"{call.verb}\x1f{call.target}", now_ms=now)
        if pause_ms and self.rate_limited:
            seconds = str(-(-pause_ms // 1_000))
            return classify(429, '{"error":"rate limit exceeded"}', retry_after=seconds)
        try:
            return Ok(do())
        except RefusedError as refusal:
            return classify(
                refusal.status,
                refusal.body,
                subject=_subject(call.verb),
                retry_after=refusal.retry_after,
            )

    def _put_off(self, delay_ms: int, do: Callable[[], object]) -> None:
        self._numbers += 1
        heapq.heappush(self._late, (self._clock.now_ms() + delay_ms, self._numbers, do))

    def _catch_up(self) -> None:
        """Execute the delayed calls that are due."""
        while self._late and self._late[0][0] <= self._clock.now_ms():
            _, _, do = heapq.heappop(self._late)
            do()

    def _look(self, machine_id: str) -> Outcome[Machine]:
        self._catch_up()
        try:
            return Ok(self._world.row(machine_id).machine())
        except RefusedError as refusal:
            return classify(refusal.status, refusal.body)

    def _until_change(self, machine_id: str) -> int:
        """Return the time until this machine is due to change, at most a polling step."""
        try:
            row: Row = self._world.row(machine_id)
        except RefusedError:
            return WAIT_STEP_MS
        if row.due_state is None:
            return WAIT_STEP_MS
        return row.due_at_ms - self._clock.now_ms()


def _subject(verb: str) -> Subject:
    return "volume" if "volume" in verb else "machine"
