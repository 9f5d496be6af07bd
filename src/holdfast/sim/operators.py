"""The people of a simulation: they order at random times, twice when in doubt, and retry.

An order is repeated under the same idempotency key until the plane has answered it, as a correct
client does; some are sent twice concurrently. Orders do not depend on the fleet's state, so every
order meets every status.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from holdfast.actors.ports import UnwritableError
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.effects import KEY_NAME
from holdfast.instances.handlers import KEY_PREFIX
from holdfast.instances.ports import Context
from holdfast.kernel.clock import HOUR_MS
from holdfast.kernel.ids import address
from holdfast.sim.plane import ACCOUNT, DownError
from holdfast.wire.api.budgets import BudgetSet
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.api.instances import (
    InstanceCreate,
    InstanceDestroy,
    InstanceOrder,
    InstancePatch,
)
from holdfast.wire.controller.identity import key_hash

if TYPE_CHECKING:
    from holdfast.sim.fleet import Fleet
    from holdfast.sim.plane import Plane

RETRY_S: Final = 3.0
AGAIN: Final = frozenset({429, 503})
GONE: Final = frozenset({"no_such_instance", "destroyed"})
_PASSING: Final = (DownError, UnwritableError)
"""No answer, and the edge's 503: both may be temporary."""

ORDERS: Final = (
    ("create", 3),
    ("start", 5),
    ("stop", 4),
    ("restart", 4),
    ("ladder-stop", 1),
    ("ladder-retry", 1),
    ("patch", 3),
    ("destroy", 1),
    ("rotate key", 1),
    ("rotate token", 1),
    ("look", 2),
)


class People:
    """All people; `known` are the ids and names of created instances."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.known: dict[str, str] = {}
        self.refusals: dict[str, int] = {}
        self._fleet = fleet
        self._chance = chance
        self._orders = 0

    async def live(self, name: str) -> None:
        """Order for ever, as one person."""
        fault_plan = self._fleet.fault_plan
        who = Principal(name, "owner", ACCOUNT, "token")
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / fault_plan.order_every_s))
            await self._order(who)

    async def _order(self, who: Principal) -> None:
        """Send a random order, and perhaps the same again."""
        names = [name for name, weight in ORDERS for _ in range(weight)]
        what = self._chance.choice(names)
        if not self.known or (
            what == "create" and len(self.known) < self._fleet.fault_plan.fleet_max
        ):
            what = "create"
        elif what == "create":
            what = "start"
        act = self._prepare(who, what)
        copies = [act()]
        if self._chance.random() * 1_000 < self._fleet.fault_plan.repeats:
            copies.append(act())
        await asyncio.gather(*copies)

    def _prepare(self, who: Principal, what: str) -> Callable[[], Any]:
        """Return the call of one order; sending it twice repeats the same order."""
        self._orders += 1
        key = f"order-{self._orders}"
        if what == "create":
            # Few names, so that claims conflict.
            name = f"agent-{self._chance.randrange(2 * self._fleet.fault_plan.fleet_max)}"
            desired = "stopped" if self._chance.random() < 0.15 else "running"  # noqa: PLR2004
            return lambda: self.create(name, who=who, key=key, desired=desired)
        instance = self._chance.choice(list(self.known))
        value = str(self._chance.randrange(4))
        match what:
            case "patch":
                return lambda: self.patch(instance, value, who=who, key=key)
            case "destroy":
                return lambda: self.destroy(instance, who=who, key=key)
            case "rotate key" | "rotate token":
                event = self._rotation(instance, what)
                return lambda: self.say(instance, event, key)
            case "look":
                return lambda: self.look(instance, who=who)
            case _:
                return lambda: self.order(instance, what, who=who, key=key)

    # ------------------------------------------------------------------------------- orders

    async def create(
        self, name: str, *, who: Principal | None = None, key: str = "", desired: Any = "running"
    ) -> str:
        """Create an instance and return its id, or None if it was refused."""
        body = InstanceCreate(name=name, desired=desired, secrets={"TOKEN": f"secret of {name}"})
        reply = await self._ask("instance.create", who, key or self._key(), body=body)
        if reply is None:
            return ""
        instance: str = reply.body.id
        self.known[instance] = name
        return instance

    async def order(
        self, instance: str, what: str, *, who: Principal | None = None, key: str = ""
    ) -> bool:
        """Start, stop or restart; return whether it was accepted."""
        body = InstanceOrder()
        path = {"id": instance}
        reply = await self._ask(f"instance.{what}", who, key or self._key(), body=body, path=path)
        return reply is not None

    async def patch(
        self, instance: str, value: str, *, who: Principal | None = None, key: str = ""
    ) -> bool:
        """Change a variable and a secret."""
        body = InstancePatch(env={"MOOD": value}, secrets={"TOKEN": value})
        path = {"id": instance}
        reply = await self._ask("instance.patch", who, key or self._key(), body=body, path=path)
        return reply is not None

    async def destroy(self, instance: str, *, who: Principal | None = None, key: str = "") -> bool:
        """Destroy, with the name confirmed."""
        name = self.known.get(instance, "")
        body = InstanceDestroy(confirm=name)
        path = {"id": instance}
        reply = await self._ask("instance.destroy", who, key or self._key(), body=body, path=path)
        if reply is not None:
            self.known.pop(instance, None)
        return reply is not None

    async def limit(self, instance: str, budget: BudgetSet) -> bool:
        """Set a budget, or remove it."""
        path = {"id": instance}
        reply = await self._ask("instance.set-budget", None, self._key(), body=budget, path=path)
        return reply is not None

    async def look(self, instance: str, *, who: Principal | None = None) -> None:
        """Request the explanation of its status."""
        await self._ask("instance.explain", who, "", path={"id": instance})

    async def say(self, instance: str, event: events.Event, key: str) -> None:
        """Accept an event that has no handler yet: a rotation."""
        row = arrival(event, dedupe=key, source="api", by="operator")
        where = address(KIND, instance)
        while True:
            try:
                plane = self._fleet.plane_now()
                await plane.request(plane.engine.mailbox.tell([(where, row)]))
            except _PASSING:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _rotation(self, instance: str, what: str) -> events.Event:
        until_ms = self._fleet.clock.now_ms() + HOUR_MS
        if what == "rotate token":
            return events.TokenRotated(previous_expires_ms=until_ms)
        api_key = self._fleet.names.token(KEY_PREFIX)
        return events.KeyRotated(
            key_hash=key_hash(api_key),
            sealed_key=self._fleet.keyring.seal(api_key, Context(ACCOUNT, instance, KEY_NAME)),
            previous_expires_ms=until_ms,
        )

    def _key(self) -> str:
        self._orders += 1
        return f"order-{self._orders}"

    async def _ask(
        self, endpoint: str, who: Principal | None, key: str, *, body: Any = None, path: Any = None
    ) -> Reply | None:
        """Retry until there is an answer; None if it is a refusal."""
        principal = who or Principal("operator", "owner", ACCOUNT, "token")
        call = Call(endpoint, principal, path=path or {}, body=body, idempotency_key=key)
        while True:
            try:
                plane: Plane = self._fleet.plane_now()
                reply = await plane.call(endpoint, call)
            except _PASSING:
                await asyncio.sleep(RETRY_S)
                continue
            except Refusal as refusal:
                if refusal.status in AGAIN:
                    await asyncio.sleep(RETRY_S)
                    continue
                code = refusal.problem.code
                self._fleet.trace.note("refused", endpoint, call.path.get("id", ""), code)
                self.refusals[code] = self.refusals.get(code, 0) + 1
                if code in GONE:
                    self.known.pop(call.path.get("id", ""), None)
                return None
            if reply.status == 202:  # noqa: PLR2004
                await asyncio.sleep(RETRY_S)
                continue
            self._fleet.trace.note("answered", endpoint, call.path.get("id", ""), reply.status)
            return reply
