"""The pages of the dashboard: one handler for each `page.*` row of the endpoint table.

A page is drawn from the API's own answers to its reader. Every page works for the eye without
scripts; what changes something needs them, because orders go to the API from the browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.web.api import Api
from holdfast.web.assets import Assets
from holdfast.web.hub import Hub
from holdfast.web.live_page import Live
from holdfast.web.page import Context, Page, Renderer
from holdfast.web.pages import (
    agent_open,
    audit,
    brains,
    corrections,
    costs,
    fleet,
    instance,
    lessons,
    node_cron,
    node_keys,
    node_logs,
    node_memory,
    node_sessions,
    nodes,
    observability,
    operations,
    pairing,
    profile,
    quarantine,
    sign_in,
    tokens,
    towns,
)
from holdfast.web.parts.inbox import waiting
from holdfast.wire.api.call import Call, Handler, Problem, Reply
from holdfast.wire.salvage import first_damages

PAGES: Final = (
    fleet.PAGE,
    instance.PAGE,
    *instance.PARTS,
    agent_open.PAGE,
    pairing.PAGE,
    nodes.PAGE,
    nodes.ONE,
    observability.PAGE,
    costs.PAGE,
    towns.PAGE,
    towns.ONE,
    towns.BEAD,
    *towns.PARTS,
    corrections.PAGE,
    corrections.ONE,
    brains.PAGE,
    brains.ONE,
    lessons.PAGE,
    node_sessions.PAGE,
    node_keys.PAGE,
    node_logs.PAGE,
    node_memory.PAGE,
    node_cron.PAGE,
    operations.PAGE,
    operations.ONE,
    quarantine.PAGE,
    tokens.PAGE,
    audit.PAGE,
    profile.PAGE,
    sign_in.PAGE,
)
"""Every page. To add one: its file, its template, its endpoint row, and its line here."""


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
        renderer = Renderer(self._assets, version=version)
        self.context = Context(Api(api), hub, renderer, clock)
        self.live = Live(self.context, PAGES)

    def by_endpoint(self) -> dict[str, Handler]:
        """Return the handlers by the names of their endpoints."""
        shown = {page.endpoint.name: self._handler(page) for page in PAGES}
        return shown | {"page.static": self._assets.serve, "page.events": self.live.serve}

    def problem_page(self, status: int, problem: Problem) -> bytes:
        """Return the page of a refusal, for the edge."""
        return self.context.renderer.problem(status, problem)

    def _handler(self, page: Page) -> Handler:
        async def show(call: Call) -> Reply:
            damages: list[str] = []
            context = replace(self.context, api=self.context.api.noting(damages))
            names = await page.load(context, call)
            renderer = self.context.renderer
            if page.is_part:
                return renderer.part(page.template, **names)
            counted = 0
            if call.principal.scope in {"owner", "operator"}:
                counted = (await waiting(self.context, call)).total
            active = page.name if page.section is None else page.section
            names |= {"damages": first_damages(damages)}
            if page.live is not None:
                names["stream_href"] = page.stream_href(call)
            return renderer.page(call, page.template, active=active, waiting=counted, **names)

        return show
