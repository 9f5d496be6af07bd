"""The pages of the dashboard: one handler for each `page.*` row of the endpoint table.

A page is drawn from the API's own answers to its reader. Every page works for the eye without
scripts; what changes something needs them, because orders go to the API from the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from holdfast.kernel.clock import Clock
from holdfast.web.api import Asking
from holdfast.web.assets import Assets
from holdfast.web.gather import Gather
from holdfast.web.hub import Hub
from holdfast.web.live import Live
from holdfast.web.models.corrections import FeedQuery
from holdfast.web.models.fleet import FleetQuery
from holdfast.web.render import Renderer
from holdfast.wire.api.call import Call, Handler, Problem, Reply

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
        self._hub = hub
        self.live = Live(self._gather, self._renderer, hub=hub, clock=clock)

    def by_endpoint(self) -> dict[str, Handler]:
        """Return the handlers by the names of their endpoints."""
        return {
            "page.fleet": self.show_fleet,
            "page.instance": self.show_instance,
            "page.instance-timeline": self.show_timeline,
            "page.instance-next": self.show_next,
            "page.instance-sources": self.show_sources,
            "page.instance-care": self.show_care,
            "page.pairing": self.show_pairing,
            "page.corrections": self.show_corrections,
            "page.correction": self.show_correction,
            "page.brains": self.show_brains,
            "page.brain": self.show_brain,
            "page.lessons": self.show_lessons,
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

    async def _page(self, call: Call, template: str, **names: Any) -> Reply:
        """Return a whole page, with the number of requests that wait in its bar."""
        waiting = 0
        if call.principal.scope in {"owner", "operator"}:
            waiting = (await self._gather.pairing.waiting(call)).total
        return self._renderer.page(call, template, **({"waiting": waiting} | names))

    async def show_fleet(self, call: Call) -> Reply:
        """Show the fleet."""
        fleet = await self._gather.fleet(call, FleetQuery.parse(call.query))
        return await self._page(call, "fleet.html", active="fleet", fleet=fleet)

    async def show_instance(self, call: Call) -> Reply:
        """Show one instance."""
        instance_id = call.path["id"]
        names = await self._gather.instance(call, instance_id)
        return await self._page(call, "instance.html", active="fleet", id=instance_id, **names)

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

    async def show_sources(self, call: Call) -> Reply:
        """Show how each source of an instance's requests stands."""
        names = await self._gather.pairing.sources(call, call.path["id"])
        return self._renderer.part("parts/sources.html", id=call.path["id"], **names)

    async def show_care(self, call: Call) -> Reply:
        """Show what only an instance's machine knows."""
        names = await self._gather.care(call, call.path["id"])
        return self._renderer.part("parts/care.html", id=call.path["id"], **names)

    async def show_pairing(self, call: Call) -> Reply:
        """Show who waits to be let in."""
        found = await self._gather.pairing.inbox(call, self._hub.recent(call.principal))
        return await self._page(call, "pairing.html", active="pairing", inbox=found)

    async def show_corrections(self, call: Call) -> Reply:
        """Show the feed of corrections."""
        found = await self._gather.brains.feed(call, FeedQuery.parse(call.query))
        return await self._page(call, "corrections.html", active="corrections", feed=found)

    async def show_correction(self, call: Call) -> Reply:
        """Show one correction."""
        found = await self._gather.brains.correction(call, call.path["id"])
        return await self._page(call, "correction.html", active="corrections", found=found)

    async def show_brains(self, call: Call) -> Reply:
        """Show the brains."""
        names = await self._gather.brains.brains(call)
        return await self._page(call, "brains.html", active="corrections", **names)

    async def show_brain(self, call: Call) -> Reply:
        """Show one brain."""
        names = await self._gather.brains.brain(call, call.path["id"])
        return await self._page(
            call, "brain.html", active="corrections", id=call.path["id"], **names
        )

    async def show_lessons(self, call: Call) -> Reply:
        """Show what brains learned."""
        found = await self._gather.brains.lessons(call)
        return await self._page(call, "lessons.html", active="corrections", lessons=found)

    async def show_operations(self, call: Call) -> Reply:
        """Show the list of operations."""
        names = await self._gather.operations(call)
        return await self._page(call, "operations.html", active="operations", **names)

    async def show_operation(self, call: Call) -> Reply:
        """Show one operation."""
        row = await self._gather.operation(call, call.path["event"])
        return await self._page(call, "operation.html", active="operations", row=row)

    async def show_quarantine(self, call: Call) -> Reply:
        """Show the events in quarantine."""
        names = await self._gather.quarantine(call)
        return await self._page(call, "quarantine.html", active="quarantine", **names)

    async def show_tokens(self, call: Call) -> Reply:
        """Show the API tokens."""
        names = await self._gather.tokens(call)
        return await self._page(call, "tokens.html", active="tokens", **names)

    async def show_audit(self, call: Call) -> Reply:
        """Show a page of the audit."""
        names = await self._gather.audit(call)
        return await self._page(call, "audit.html", active="audit", **names)

    async def show_profile(self, call: Call) -> Reply:
        """Show who is signed in."""
        names = await self._gather.session(call)
        return await self._page(call, "profile.html", active="profile", **names)

    async def show_sign_in(self, call: Call) -> Reply:
        """Show the sign-in page; looking at it signs nobody in."""
        return await self._page(
            call,
            "sign_in.html",
            active="",
            link=call.query.get("link", ""),
            next=call.query.get("next", _FLEET),
        )
