"""The pages of the dashboard: one handler for each `page.*` row of the endpoint table.

A page is drawn from the API's own answers to its reader. Every page works for the eye without
scripts; what changes something needs them, because orders go to the API from the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.web.asking import Asking, Handler
from holdfast.web.assets import Assets
from holdfast.web.gather import Gather
from holdfast.web.live import Live
from holdfast.web.models.fleet import FleetQuery
from holdfast.web.render import Renderer
from holdfast.web.stream import Hub
from holdfast.wire.call import Call, Problem, Reply

_FLEET: Final = "/"


class Pages:
    """Every page, with what they are made of."""

    def __init__(
        self,
        api: Mapping[str, Handler],
        *,
        hub: Hub,
        clock: Clock,
        version: str,
        assets: Assets | None = None,
    ) -> None:
        """Make the pages over the API's handlers by endpoint name.

        Raise MissingAssetError where the third-party files are not installed.
        """
        self._assets = assets or Assets()
        self._renderer = Renderer(self._assets, version=version)
        self._gather = Gather(Asking(api))
        self.live = Live(self._gather, self._renderer, hub=hub, clock=clock)

    def by_endpoint(self) -> dict[str, Handler]:
        """Return the handlers by the names of their endpoints."""
        return {
            "page.fleet": self.show_fleet,
            "page.instance": self.show_instance,
            "page.instance-timeline": self.show_timeline,
            "page.instance-next": self.show_next,
            "page.operations": self.show_operations,
            "page.operation": self.show_operation,
            "page.quarantine": self.show_quarantine,
            "page.tokens": self.show_tokens,
            "page.audit": self.show_audit,
            "page.profile": self.show_profile,
            "page.sign-in": self.show_sign_in,
            "page.static": self._assets.serve,
            "page.events": self.live.serve,
        }

    def problem_page(self, status: int, problem: Problem) -> bytes:
        """Return the page of a refusal, for the edge."""
        return self._renderer.problem(status, problem)

    async def show_fleet(self, call: Call) -> Reply:
        """Show the fleet."""
        fleet = await self._gather.fleet(call, FleetQuery.parse(call.query))
        return self._renderer.page(call, "fleet.html", active="fleet", fleet=fleet)

    async def show_instance(self, call: Call) -> Reply:
        """Show one instance."""
        instance_id = call.path["id"]
        names = await self._gather.instance(call, instance_id)
        return self._renderer.page(call, "instance.html", active="fleet", id=instance_id, **names)

    async def show_timeline(self, call: Call) -> Reply:
        """Show more of a timeline."""
        found = await self._gather.timeline(
            call,
            call.path["id"],
            after=call.query.get("after", ""),
            cause=call.query.get("cause", ""),
        )
        return self._renderer.part("parts/stories.html", timeline=found, id=call.path["id"])

    async def show_next(self, call: Call) -> Reply:
        """Show what the next tick would do."""
        found = await self._gather.next(call, call.path["id"])
        return self._renderer.part("parts/next.html", next=found)

    async def show_operations(self, call: Call) -> Reply:
        """Show the list of operations."""
        names = await self._gather.operations(call)
        return self._renderer.page(call, "operations.html", active="operations", **names)

    async def show_operation(self, call: Call) -> Reply:
        """Show one operation."""
        row = await self._gather.operation(call, call.path["event"])
        return self._renderer.page(call, "operation.html", active="operations", row=row)

    async def show_quarantine(self, call: Call) -> Reply:
        """Show the events in quarantine."""
        names = await self._gather.quarantine(call)
        return self._renderer.page(call, "quarantine.html", active="quarantine", **names)

    async def show_tokens(self, call: Call) -> Reply:
        """Show the API tokens."""
        names = await self._gather.tokens(call)
        return self._renderer.page(call, "tokens.html", active="tokens", **names)

    async def show_audit(self, call: Call) -> Reply:
        """Show a page of the audit."""
        names = await self._gather.audit(call)
        return self._renderer.page(call, "audit.html", active="audit", **names)

    async def show_profile(self, call: Call) -> Reply:
        """Show who is signed in."""
        names = await self._gather.session(call)
        return self._renderer.page(call, "profile.html", active="profile", **names)

    async def show_sign_in(self, call: Call) -> Reply:
        """Show the sign-in page; looking at it signs nobody in."""
        return self._renderer.page(
            call,
            "sign_in.html",
            active="",
            link=call.query.get("link", ""),
            next=call.query.get("next", _FLEET),
        )
