"""Authorises requests and WebSockets to agents, and finds their controllers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from holdfast.accounts.browser import AGENT_COOKIE, BrowserSessions
from holdfast.actors import calls
from holdfast.actors.ports import Reader
from holdfast.instances.views import INSTANCE_VIEW, decode_instance
from holdfast.plane.agent_proxy import pages
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.agent_proxy.sessions import Signed, SignOvers
from holdfast.wire.address import Address
from holdfast.wire.api.call import Call, Principal, Refusal, Reply
from holdfast.wire.api.instances import AgentPage, InstanceView
from holdfast.wire.controller.agent import GATEWAY_STATUS
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.endpoint import A, ControllerEndpoint
from holdfast.wire.controller.machine import AGENT_TOKEN, HEALTH

ENTER: Final = "/_holdfast/enter"
AGAIN: Final = "/_holdfast/again"
RESERVED: Final = (b"/_holdfast/", b"/_kilo/")
"""Paths reserved for the plane and for controllers; agents get neither."""


class Place(NamedTuple):
    """Where an instance's controller listens, and the token for its proxy."""

    address: Address
    token: str


class Machines(Protocol):
    """The controllers of instances, as far as the agent proxy needs them."""

    async def place(self, instance_id: str) -> Place:
        """Return the place; raise ControllerError."""
        ...

    async def call(self, instance_id: str, endpoint: ControllerEndpoint[Any, A]) -> A:
        """Return a controller's answer; raise ControllerError."""
        ...


class Passage(NamedTuple):
    """An authorised request: the session, the instance, its place and its account."""

    signed: Signed
    place: Place
    account: str


class AgentAccess:
    """Authorises and signs in."""

    def __init__(
        self,
        hosts: AgentHosts,
        signovers: SignOvers,
        *,
        reader: Reader,
        machines: Machines,
        sessions: Callable[[str], Awaitable[Principal | None]],
        browsers: BrowserSessions,
        dashboard: str,
        entitled: Callable[[InstanceView], bool] = lambda _view: True,
    ) -> None:
        """Look instances up by `reader` and sessions by their hash.

        `dashboard` is its URL; `entitled` returns whether an instance may be used now.
        """
        self.hosts = hosts
        self.signovers = signovers
        self._reader = reader
        self._machines = machines
        self._sessions = sessions
        self._browsers = browsers
        self._dashboard = dashboard.rstrip("/")
        self._entitled = entitled

    # ------------------------------------------------------------------ at the dashboard

    async def open(self, call: Call) -> Reply:
        """Sign a person over to an agent: the handler of an order of the dashboard's page.

        It is an order and no link, because the session's cookie alone must not be enough for it.
        """
        instance_id = call.path["id"]
        if await self._visible(instance_id, call.principal) is None:
            raise calls.missing("instance", field="id")
        if call.principal.kind != "session":
            raise Refusal(
                403, "needs_a_browser", "Only a browser that is signed in can open an agent.",
                fix="Open this address in one.",
            )  # fmt: skip
        host = call.header.get("host", "")
        if call.trusted_proxy:
            host = call.header.get("x-forwarded-host", host).split(",")[0].strip()
        scheme = "https" if call.secure else "http"
        code = self.signovers.offer(instance_id, call.principal.token_id, f"{scheme}://{host}")
        there = self.hosts.host(instance_id, beside=host)
        return Reply(AgentPage(url=f"{scheme}://{there}{ENTER}?code={quote(code)}"))

    # ------------------------------------------------------------------ at an agent's host

    async def enter(
        self, instance_id: str, code: str, header: Mapping[str, str], *, secure: bool
    ) -> tuple[str, str]:
        """Return the cookie of a new session and where it begins; ("", "") for a bad code.

        An agent whose page needs its token gets it in the fragment, which no server sees.
        """
        bound = self._browsers.bound(header.get("user-agent", ""), secure=secure)
        secret = self.signovers.redeem(code, instance_id, bound)
        if not secret:
            return "", ""
        return self._browsers.set_cookie(AGENT_COOKIE, secret, secure=secure), await self._start(
            instance_id
        )

    async def _start(self, instance_id: str) -> str:
        """Return where an agent's page begins."""
        view = await self._view(instance_id)
        if view is None or view.agent != "openclaw":
            return "/"
        try:
            told = await self._machines.call(instance_id, AGENT_TOKEN)
        except ControllerError:
            return "/"  # it is not up yet: the page that says so comes back here
        return f"/#token={quote(told.token)}"

    def way_back(self, instance_id: str, signed: Signed | None = None) -> str:
        """Return the dashboard's link that opens this agent."""
        origin = self._dashboard if signed is None else signed.dashboard
        return f"{origin}/instances/{instance_id}/open"

    async def admit(
        self, instance_id: str, header: Mapping[str, str], *, secure: bool
    ) -> Passage | Notice:
        """Return leave to pass, or the page that says why not."""
        signed = self._signed(instance_id, header, secure=secure)
        link = (self.way_back(instance_id, signed), "Open it from the dashboard")
        if signed is None:
            return pages.signed_out(link)
        principal = await self._sessions(signed.session)
        if principal is None:
            return pages.signed_out(link)
        view = await self._visible(instance_id, principal)
        page = (f"{signed.dashboard}/instances/{instance_id}", "Its page in the dashboard")
        if view is None:
            return pages.missing((f"{signed.dashboard}/", "All agents"))
        refusal = self._refusal(view, page)
        if refusal is not None:
            return refusal
        try:
            return Passage(signed, await self._machines.place(instance_id), view.account)
        except ControllerError:
            up = view.status in {"starting", "restarting"} or view.desired == "running"
            settled = view.status == "running"
            return pages.no_route(page) if settled else _waiting(page, up=up)

    def _refusal(self, view: InstanceView, page: tuple[str, str]) -> Notice | None:
        """Return the page for an instance that may not be used, or None."""
        if view.status in {"destroying", "destroyed"} or view.desired == "destroyed":
            return pages.destroying(page)
        if not self._entitled(view):
            return pages.suspended(page)
        if view.paused:
            return pages.paused(page)
        if view.desired == "stopped":
            return pages.stopped(page)
        return None if view.status == "running" else _waiting(page, up=True)

    async def still(self, signed: Signed) -> bool:
        """Return whether a session is still authorised: signed in, visible, wanted running."""
        principal = await self._sessions(signed.session)
        if principal is None:
            return False
        view = await self._visible(signed.instance, principal)
        return view is not None and self._refusal(view, ("", "")) is None

    async def why(self, passage: Passage) -> Notice:
        """Return the page for an agent whose controller reports that it is not ready."""
        instance_id = passage.signed.instance
        page = (f"{passage.signed.dashboard}/instances/{instance_id}", "Its page in the dashboard")
        try:
            health = await self._machines.call(instance_id, HEALTH)
            gateway = await self._machines.call(instance_id, GATEWAY_STATUS)
        except ControllerError:
            return pages.no_route(page)
        if health.state == "degraded":
            return pages.degraded(page, health.error or "")
        if gateway.parked or gateway.state == "crashed":
            return pages.crashed(page, gateway.parked or "")
        if gateway.state == "stopped":  # or its start is in flight
            return pages.stopped(page)
        return pages.starting((AGAIN, "Try now"))

    def _signed(
        self, instance_id: str, header: Mapping[str, str], *, secure: bool
    ) -> Signed | None:
        bound = self._browsers.bound(header.get("user-agent", ""), secure=secure)
        cookies = header.get("cookie", "")
        for secret in self._browsers.sent(AGENT_COOKIE, cookies, secure=secure):
            signed = self.signovers.find(secret, instance_id, bound)
            if signed is not None:
                return signed
        return None

    async def _visible(self, instance_id: str, principal: Principal) -> InstanceView | None:
        """Return an instance visible to this person."""
        view = await self._view(instance_id)
        if view is None or principal.scope not in {"owner", "operator"}:
            return None
        return view if principal.account in {None, view.account} else None

    async def _view(self, instance_id: str) -> InstanceView | None:
        found = await self._reader.view(INSTANCE_VIEW, instance_id)
        return None if found is None else decode_instance(found[0])


def _waiting(page: tuple[str, str], *, up: bool) -> Notice:
    return pages.starting((AGAIN, "Try now")) if up else pages.stopped(page)
