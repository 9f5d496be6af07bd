"""Makes the pages over the API's handlers, and the edge."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from holdfast import __version__
from holdfast.accounts.access import Access
from holdfast.kernel import metrics
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.metrics import Meter
from holdfast.plane.edge.app import Edge
from holdfast.plane.edge.auth import https_host, known_hosts, parse_networks
from holdfast.plane.edge.ports import KeyOwner, Observer, Resolve
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part
from holdfast.relay.rate import Rates
from holdfast.web.hub import Hub
from holdfast.web.site import Pages
from holdfast.wire.api.call import Handler
from holdfast.wire.api.table import ENDPOINTS


def make_pages(core: Core, api: Mapping[str, Handler], hub: Hub) -> Pages:
    """Return the pages, rendered from answers of `api` to their reader."""
    return Pages(api, hub=hub, clock=core.clock, version=__version__)


def pages_part(pages: Pages) -> Part:
    """Return the pages as a part."""
    return Part(name="pages", handlers=pages.by_endpoint())


def make_edge(
    core: Core,
    handlers: Mapping[str, Handler],
    *,
    access: Access,
    key_owner: KeyOwner,
    node_owner: KeyOwner,
    attempt_owner: KeyOwner,
    pages: Pages,
    resolve: Resolve,
) -> Edge:
    """Return the application that serves every row of the endpoint table."""
    settings = core.settings
    return Edge(
        ENDPOINTS,
        handlers,
        authenticator=access,
        browsers=core.browsers,
        audit=core.stores.accounts,
        clock=core.clock,
        log=core.log,
        rates=Rates(core.clock),
        request_prefix=secrets.token_hex(4),
        key_owner=key_owner,
        node_owner=node_owner,
        attempt_owner=attempt_owner,
        trusted_proxies=parse_networks(settings.trusted_proxies),
        hosts=known_hosts(settings.host, settings.public_url),
        https_host=https_host(settings.public_url),
        problem_page=pages.problem_page,
        resolve=resolve,
        observe=_measure_calls(core.meter),
    )


def _measure_calls(meter: Meter) -> Observer:
    """Return the edge's observer, which measures calls."""

    def measure(endpoint: str, status: int, spent_ms: float) -> None:
        meter.count(metrics.CALLS, endpoint=endpoint, status=str(status))
        meter.observe(metrics.CALL_SECONDS, spent_ms / SECOND_MS, endpoint=endpoint)

    return measure
