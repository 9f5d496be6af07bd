"""Apps: one for each sandbox, made when first needed, and never taken over from somebody else.

Names of apps are unique in all of Fly. A name that is taken may be our own app, made by a call
whose answer was lost, or anybody's; it is used only after its organisation and every machine in it
were seen to be ours. A check that could not be made is a failure, never a yes.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.fly.client import Call, FlyClient
from holdfast.world.clouds.fly.messages import (
    IP_TYPES,
    App,
    Apps,
    AssignIp,
    CreateApp,
    Done,
    SecretVersion,
    SeenMachine,
    SetSecret,
)
from holdfast.world.clouds.fly.names import Id, app_of
from holdfast.world.clouds.port import COLLISION, CONFLICT, INVALID, LABEL_SANDBOX
from holdfast.world.clouds.spec import KEY_NAME

TAKEN: Final = "taken"
"""What the refusal of an app's name says that exists, in whatever organisation."""


class FlyApps:
    """The apps of one plane in one organisation. It remembers which it has seen complete."""

    def __init__(self, client: FlyClient, *, org: str, prefix: str) -> None:
        self._client = client
        self._org = org
        self._prefix = prefix
        self._complete: set[str] = set()
        self._making: dict[str, asyncio.Lock] = {}
        self._keys: dict[str, tuple[bytes, int | None]] = {}

    async def ensure(self, app: str, *, deadline_ms: float) -> Outcome[None]:
        """Make the app with its addresses, unless it is there; fail with `collision`."""
        if app in self._complete:
            return Ok(None)
        async with self._making.setdefault(app, asyncio.Lock()):
            if app in self._complete:
                return Ok(None)
            made = await self._make(app, deadline_ms)
            if isinstance(made, Ok):
                self._complete.add(app)
                self._making.pop(app, None)
            return made

    async def key_version(
        self, app: str, key: Secret, *, deadline_ms: float
    ) -> Outcome[int | None]:
        """Set the key that opens sealed values, and return the number of the value.

        It is sent once in this process's life for each key, so that a secret which somebody
        removed is there again after a restart of the plane.
        """
        digest = hashlib.sha256(key.reveal().encode()).digest()
        known = self._keys.get(app)
        if known is not None and known[0] == digest:
            return Ok(known[1])
        call = Call(
            "set secret", app, "POST", ("apps", app, "secrets", KEY_NAME),
            body=SetSecret(value=key.reveal()),
        )  # fmt: skip
        answer = await self._client.call(call, SecretVersion, deadline_ms=deadline_ms)
        if not isinstance(answer, Ok):
            return answer
        self._keys[app] = (digest, answer.value.version)
        return Ok(answer.value.version)

    async def listed(self, *, deadline_ms: float) -> Outcome[tuple[str, ...]]:
        """Return the names of our apps in the organisation."""
        query = (("org_slug", self._org),)
        call = Call("list apps", self._org, "GET", ("apps",), query=query)
        answer = await self._client.call(call, Apps, deadline_ms=deadline_ms)
        if not isinstance(answer, Ok):
            return answer
        names = (app.name for app in answer.value.apps)
        return Ok(tuple(name for name in names if name.startswith(f"{self._prefix}-")))

    async def machines(
        self, app: str, labels: dict[str, str], *, deadline_ms: float
    ) -> Outcome[tuple[SeenMachine, ...]]:
        """Return the machines of an app that carry all these labels."""
        query = tuple((f"metadata.{name}", value) for name, value in sorted(labels.items()))
        call = Call("list machines", app, "GET", ("apps", app, "machines"), query=query)
        return await self._client.call(call, tuple[SeenMachine, ...], deadline_ms=deadline_ms)

    async def _make(self, app: str, deadline_ms: float) -> Outcome[None]:
        body = CreateApp(app_name=app, org_slug=self._org, network=app)
        call = Call("create app", app, "POST", ("apps",), body=body)
        made = await self._client.call(call, Done, deadline_ms=deadline_ms)
        if not isinstance(made, Ok):
            if not _may_be_taken(made):
                return made
            ours = await self._is_ours(app, made, deadline_ms)
            if not isinstance(ours, Ok):
                return ours
        for kind in IP_TYPES:
            call = Call(
                f"assign {kind}", app, "POST", ("apps", app, "ip_assignments"),
                body=AssignIp(type=kind),
            )  # fmt: skip
            assigned = await self._client.call(call, Done, deadline_ms=deadline_ms)
            if not isinstance(assigned, Ok) and not _may_be_taken(assigned):
                return assigned
        return Ok(None)

    async def _is_ours(self, app: str, refusal: Failure, deadline_ms: float) -> Outcome[None]:
        """Return Ok if the app of this name may be used; `refusal` is that of its creation."""
        call = Call("get app", app, "GET", ("apps", app))
        seen = await self._client.call(call, App, deadline_ms=deadline_ms)
        if not isinstance(seen, Ok):
            if isinstance(seen, Permanent) and TAKEN not in refusal.message.lower():
                return refusal  # no app has the name: the request itself was wrong
            if isinstance(seen, Permanent):
                return Conflict(COLLISION, f"the app {app} belongs to another organisation")
            return seen
        if seen.value.organization.slug != self._org:
            return Conflict(COLLISION, f"the app {app} belongs to another organisation")
        listed = await self.machines(app, {}, deadline_ms=deadline_ms)
        if not isinstance(listed, Ok):
            return listed
        for machine in listed.value:
            labels = (machine.config.metadata if machine.config is not None else None) or {}
            if (
                machine.state == "destroyed"
                or app_of(self._prefix, labels.get(LABEL_SANDBOX, "")) == app
            ):
                continue
            text = f"the app {app} holds machine {machine.id}, which is not of this sandbox"
            return Conflict(COLLISION, text, str(Id(app, machine.id)))
        return Ok(None)


def _may_be_taken(outcome: Outcome[Done]) -> bool:
    """Return whether this is the refusal of something that exists: 409 or 422."""
    match outcome:
        case Conflict(code) if code == CONFLICT:
            return True
        case Permanent(code, message) if code == INVALID:
            return message.startswith("422")
        case _:
            return False
