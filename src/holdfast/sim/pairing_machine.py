"""The model machine of the pairing simulation, and the network to it.

A store with the true state, a controller with a cache that may be old, routes that come and go, and
a command line. Every call waits until the seed releases it, and may be lost before or after it was
executed. It is independent of the plane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.outcome import Ok, Outcome, Retryable
from holdfast.pairing.commands import DEVICES
from holdfast.pairing.limits import CHANNEL_LIFE_MS, DEVICE_LIFE_MS, ORDER_RUNS_MS
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.wire.controller.pairing import PairingAnswer
from holdfast.wire.times import time_text
from holdfast.world.clouds.port import Capabilities, Execution

ROUTES: Final = frozenset({"pairing.channels", "pairing.devices", "pairing.dismiss"})

_LOST: Final = (
    ControllerError("unreachable", "reset"),
    ControllerError("broken", "cut short", status=200),
    ControllerError("refused", "It answered 500", status=500),
)
"""The error for an order that still runs; a timeout would have come after its end."""

_LATE_DONE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One request's true state; `number` is its identity, which no source reveals."""

    number: int
    kind: str
    sender: str
    code: str
    created_ms: int

    def ends_ms(self) -> int:
        """Return the last moment at which it is valid."""
        life = CHANNEL_LIFE_MS if self.kind == "channel" else DEVICE_LIFE_MS
        return self.created_ms + life


class World:
    """The network: every call waits until the seed releases it, and may be lost."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.waiting: list[asyncio.Future[None]] = []
        self.lossy = True

    def chance(self, share: float) -> bool:
        """Return whether an event of this chance happens; never once calm."""
        return self.lossy and self.random.random() < share

    def fails(self, when: str) -> bool:
        """Return whether the connection fails here."""
        return self.chance(0.06 if when == "before" else 0.12)

    def may_fail(self, when: str) -> None:
        """Fail the connection here, perhaps."""
        if self.fails(when):
            trouble: Any = self.random.choice(("timeout", "unreachable", "broken"))
            raise ControllerError(trouble, "lost on the way")

    async def way(self) -> None:
        """Wait until the seed releases this call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def let_one_go(self) -> bool:
        """Release any one of the waiting calls; False if none waits."""
        self.waiting = [one for one in self.waiting if not one.done()]
        if not self.waiting:
            return False
        self.waiting.pop(self.random.randrange(len(self.waiting))).set_result(None)
        return True


class Machine:
    """A machine with an agent, as the plane can reach it; `World` decides what gets through."""

    def __init__(self, clock: ManualClock, world: World) -> None:
        self.clock = clock
        self.world = world
        self.store: dict[int, Row] = {}
        self.cache: dict[int, Row] = {}
        self.snapshot: dict[int, Row] = {}
        self.has_routes = True
        self.announces = True
        self.lists_code = True
        self.approved: dict[int, int] = {}
        self.carried: dict[int, int] = {}  # by number, when (ms)
        self.late: list[tuple[int, Callable[[], object]]] = []  # until when (ms) it may run

    # -- as `Controllers`

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        """Return the controller's announced features, possibly outdated."""
        del instance_id
        await self.world.way()
        return ROUTES if self.announces else frozenset()

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = 0,
    ) -> A:
        """Answer as a controller does, or fail as a connection does."""
        del instance_id, path, timeout_ms
        asks, verb = endpoint.method == "GET", endpoint.tail.rpartition("/")[2]
        try:
            await self.world.way()
        except asyncio.CancelledError:  # the caller died, and the order is under way
            if not asks and self.has_routes:
                self._run_late(lambda: self._decide(body, verb=verb))
            raise
        self.world.may_fail("before")
        if not self.has_routes:
            raise ControllerError("too_old", "no such route", status=404)
        if not asks and self.world.chance(0.1):
            self._run_late(lambda: self._decide(body, verb=verb))
            raise self.world.random.choice(_LOST)
        if asks:
            rows = self._listed(refresh=query is not None)
            await self.world.way()
            self.world.may_fail("after")
            return msgspec.convert(self._list_body(rows, verb), endpoint.response)
        found = self._decide(body, verb=verb)
        await self.world.way()
        self.world.may_fail("after")
        if not found.success:
            raise ControllerError("refused", found.message, status=404, code=found.code)
        return msgspec.convert(found, endpoint.response, from_attributes=True)

    def _run_late(self, order: Callable[[], object]) -> None:
        """Keep an order whose answer is lost; it may still be executed."""
        self.late.append((self.clock.now_ms() + ORDER_RUNS_MS - 1, order))

    def go_on_late(self, until_ms: int) -> None:
        """Execute, or lose, some late orders; expired ones are dropped."""
        kept: list[tuple[int, Callable[[], object]]] = []
        for end_ms, order in self.late:
            if self.world.random.random() < _LATE_DONE:
                order()
            elif end_ms > until_ms:
                kept.append((end_ms, order))
        self.late = kept

    def _listed(self, *, refresh: bool) -> dict[int, Row]:
        """Return the controller's cache, refreshed if requested and possible."""
        if refresh or not self.world.chance(0.4):
            self.cache = dict(self.store)
        return dict(self.cache)

    def _list_body(self, rows: Mapping[int, Row], kind: str) -> dict[str, Any]:
        body = {"lastUpdated": time_text(self.clock.now_ms()), "epoch": 1, "state": "known"}
        if kind == "channels":
            found = [self._channel(row) for row in rows.values() if row.kind == "channel"]
        else:
            found = [_device(row) for row in rows.values() if row.kind == "device"]
        return {**body, "requests": found}

    def _channel(self, row: Row) -> dict[str, Any]:
        return {
            "channel": "telegram",
            "id": row.sender,
            "code": row.code if self.lists_code else "",
            "requestId": f"{row.number:032d}",
            "createdAt": time_text(row.created_ms),
        }

    def _decide(self, body: Any, *, verb: str) -> PairingAnswer:
        row = self._meant(body)
        if row is None:
            return PairingAnswer(success=False, message="gone", code="pairing_not_found")
        self._carry_out(row, approve=verb == "approve")
        return PairingAnswer(success=True, message="done")

    def _meant(self, body: Any) -> Row | None:
        for row in self.store.values():
            if row.kind == "device":
                if body.request_id.lower() == uuid_of(row):
                    return row
            elif getattr(body, "code", "") == row.code or body.request_id == f"{row.number:032d}":
                return row
        return None

    def _carry_out(self, row: Row, *, approve: bool) -> None:
        del self.store[row.number]
        self.carried[row.number] = self.clock.now_ms()
        if approve:
            self.approved[row.number] = self.approved.get(row.number, 0) + 1
        if self.world.chance(0.7):
            self.cache = dict(self.store)

    # -- as a `Cloud` in which commands run

    @property
    def capabilities_of_cloud(self) -> Capabilities:
        """Return the features of this cloud: the one with the image's commands."""
        return Capabilities(kind="fly", isolation="none")

    async def exec(self, argv: Sequence[str]) -> Outcome[Execution]:
        """Run one of the image's commands."""
        await self.world.way()
        if self.world.fails("before"):
            return Retryable("transient", "it was killed")
        words = argv[2:]
        code, text = 0, "ok"
        if words[0] == "node":
            kind = "device" if "device" in words[1] else "channel"
            rows = [row for row in self.store.values() if row.kind == kind]
            found = [_device(row) if kind == "device" else self._printed(row) for row in rows]
            text = msgspec.json.encode({"requests": found}).decode()
            if self.world.chance(0.05):
                text = "Killed"
        else:
            if self.world.chance(0.1):
                self._run_late(lambda: self._run(words[1:]))
                return Retryable("transient", "the way to it broke")
            code = self._run(words[1:])
        await self.world.way()
        if self.world.fails("after"):
            return Retryable("transient", "it was killed")
        stderr = "No pending pairing request found" if code else ""
        return Ok(Execution(exit_code=code, stdout=text, stderr=stderr))

    def _printed(self, row: Row) -> dict[str, Any]:
        return {**self._channel(row), "code": row.code, "requestId": ""}

    def _run(self, words: Sequence[str]) -> int:
        name = words[2] if words[0] == DEVICES else words[3]
        for row in self.store.values():
            if name in {row.code, uuid_of(row)}:
                self._carry_out(row, approve=words[1] == "approve")
                return 0
        return 1


class ModelCloud:
    """The machine's commands, under the cloud port's name for them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.capabilities = machine.capabilities_of_cloud

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a command in the machine."""
        del machine_id, timeout_ms
        return await self._machine.exec(argv)


def uuid_of(row: Row) -> str:
    """Return the request id of a device's row."""
    return f"00000000-0000-4000-8000-{row.number:012d}"


def _device(row: Row) -> dict[str, Any]:
    return {
        "requestId": uuid_of(row),
        "deviceId": row.sender,
        "role": "operator",
        "scopes": ["operator.read"],
        "ts": row.created_ms,
    }
