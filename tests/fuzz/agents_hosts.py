"""Agents' hosts of a plane under fuzz: callers signed over to a demo agent and to a hostile one.

Behind the first host is a machine with its controller and agent, as they are. Behind the second,
where the plane expects the controller, is an agent that means harm (`tests/fuzz/agent.py`).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.accounts.browser import AGENT_COOKIE
from holdfast.plane.agent_proxy.access import Machines, Passage, Place
from holdfast.wire.address import Address
from holdfast.wire.api.endpoint import Endpoint
from tests.fuzz.generator import Case, relayed
from tests.support.asgi import Answer, call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Made

Headers = list[tuple[bytes, bytes]]

_STARTS_S = 60.0
"""How long a machine and its agent may take to start."""


@dataclass
class Session:
    """A browser at the dashboard: its cookie, and what its changes repeat."""

    cookie: bytes = b""
    csrf: bytes = b""


@dataclass
class Guest:
    """A browser at an agent's host."""

    instance: str = ""
    host: bytes = b""
    cookie: bytes = b""

    def credentials(self, draw: random.Random, row: Endpoint) -> Headers:
        """Return its cookie, mostly."""
        del row
        return [(b"cookie", self.cookie)] if draw.random() < 0.9 else []

    def finish(self, draw: random.Random, case: Case) -> None:
        """Ask this agent."""
        case.headers[0] = (b"host", self.host)
        relayed(draw, case)


@dataclass
class Held:
    """What cases need to get anywhere, and may end: made again when it is gone.

    Without this a campaign knocks on closed doors from its first sign-out on.
    """

    made: Made
    hostile: Place
    stopped: list[str] = field(default_factory=list)
    session: Session = field(default_factory=Session)
    people: Session = field(default_factory=Session)
    """Another session, which no case has: what agents' hosts are reached by."""
    real: Guest = field(default_factory=Guest)
    bad: Guest = field(default_factory=Guest)
    renewed: int = 0

    def __post_init__(self) -> None:
        """Put the hostile agent in its place."""
        access = self.made.plane.subjects.agents.access
        access._machines = _Machines(access._machines, self)

    async def renew(self) -> None:
        """Make anew what is gone."""
        self.stopped[:] = [await self._instance(next(iter(self.stopped), ""), "stopped")]
        for session in (self.session, self.people):
            if await self._ended(session):
                session.cookie, session.csrf = await _sign_in(self.made)
                self.renewed += 1
        for guest in (self.real, self.bad):
            guest.instance = await self._instance(guest.instance, "running")
            if not await self._passes(guest):
                await self._sign_over(guest)
                self.renewed += 1

    def secrets(self) -> list[bytes]:
        """Return what no agent may ever be told."""
        own = [guest.cookie.partition(b"=")[2] for guest in (self.real, self.bad)]
        return [*own, self.people.cookie.partition(b"=")[2]]

    async def _call(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = json_headers(self.made.tokens.operator)
        return await call(self.made.plane.app, method, path, headers=headers, body=body)

    async def _instance(self, known: str, desired: str) -> str:
        """Return the instance that is known, or one that is made as desired where it is gone."""
        found = await self._call("GET", f"/api/instances/{known}") if known else None
        if found is None or found.status != 200 or _view(found)["desired"] == "destroyed":
            self.renewed += 1
            name = f"own-{self.renewed}"
            body = msgspec.json.encode({"name": name, "account": "local", "desired": desired})
            made = await self._call("POST", "/api/instances", body)
            assert made.status in {201, 202}, made.body
            known = str(made.json()["id"])
        if desired == "running":
            async with asyncio.timeout(patience(_STARTS_S)):
                while await self._status(known) != "running":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        return known

    async def _status(self, instance: str) -> str:
        found = await self._call("GET", f"/api/instances/{instance}")
        return str(_view(found)["status"])

    async def _ended(self, session: Session) -> bool:
        headers = {"cookie": session.cookie.decode()}
        found = await call(self.made.plane.app, "GET", "/api/session", headers=headers)
        return found.status != 200

    async def _passes(self, guest: Guest) -> bool:
        access = self.made.plane.subjects.agents.access
        header = {"cookie": guest.cookie.decode()}
        return isinstance(await access.admit(guest.instance, header, secure=False), Passage)

    async def _sign_over(self, guest: Guest) -> None:
        """Have the session that no case has open an agent, as its browser would."""
        headers = {"cookie": self.people.cookie.decode(), "x-csrf-token": self.people.csrf.decode()}
        opened = await call(
            self.made.plane.app, "POST", f"/api/instances/{guest.instance}/open", body=b"{}",
            headers=json_headers() | headers,
        )  # fmt: skip
        assert opened.status == 200, opened.body
        code = opened.json()["url"].partition("code=")[2]
        access = self.made.plane.subjects.agents.access
        cookie, _ = await access.enter(guest.instance, code, {}, secure=False)
        assert AGENT_COOKIE in cookie
        guest.cookie = cookie.partition(";")[0].encode()
        guest.host = access.hosts.host(guest.instance, beside="").encode()


def _view(found: Answer) -> dict[str, Any]:
    view: dict[str, Any] = found.json()["instance"]
    return view


class _Machines:
    """The plane's own way to controllers, but for one place."""

    def __init__(self, machines: Machines, held: Held) -> None:
        self._machines = machines
        self._held = held
        self.call = machines.call

    async def place(self, instance_id: str) -> Place:
        if instance_id == self._held.bad.instance:
            return self._held.hostile
        return await self._machines.place(instance_id)


def hostile_place(port: int) -> Place:
    """Return where the hostile agent listens."""
    return Place(Address("127.0.0.1", port), "token-of-the-proxy")


async def _sign_in(made: Made) -> tuple[bytes, bytes]:
    """Return the cookie of an operator's session, and what its changes repeat."""
    headers = json_headers(made.tokens.operator)
    people = await call(made.plane.app, "GET", "/api/people", headers=headers)
    name = next(one["name"] for one in people.json()["items"] if one["scope"] == "operator")
    body = msgspec.json.encode({"person": name})
    link = await call(made.plane.app, "POST", "/api/links", headers=headers, body=body)
    body = msgspec.json.encode({"link": link.json()["link"]})
    signed: Any = await call(
        made.plane.app, "POST", "/api/session/link", headers=json_headers(), body=body
    )
    assert signed.status == 200, signed.body
    cookie = signed.header("set-cookie").partition(";")[0]
    return cookie.encode(), signed.json()["csrf"].encode()
