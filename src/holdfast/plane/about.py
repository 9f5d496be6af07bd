"""Handlers about the plane itself: health, API documents, agents, doctor.

Health and the OpenAPI document are public and reveal nothing about what runs here. A check of the
doctor is read-only, and an exception within one is its result and does not end the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Final

import msgspec

from holdfast.kernel.failure import brief
from holdfast.plane import openapi
from holdfast.plane.installations import Installations
from holdfast.wire.agents import AGENTS
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.plane import (
    AgentList,
    AgentVersion,
    AgentView,
    DoctorCheck,
    DoctorReport,
    Health,
)
from holdfast.wire.limits import REASON_MAX

Check = Callable[[], Awaitable[DoctorCheck]]
HealthOf = Callable[[], str]
Uses = Callable[[], Awaitable[Mapping[tuple[str, str], int]]]
"""Counts instances by agent and version."""

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNAVAILABLE: Final = 503


def about_handlers(
    table: Sequence[Endpoint],
    *,
    version: str,
    health: HealthOf,
    metrics: Callable[[], bytes],
    installations: Installations,
    uses: Uses,
    checks: Sequence[Check],
) -> dict[str, Handler]:
    """Return the handlers by endpoint; `health` returns a status of the message `Health`.

    `uses` counts the instances by agent and version.
    """
    # Made when they are first asked for: a tenth of a second that a start need not take.
    document = cache(lambda: msgspec.json.encode(openapi.document(table, version=version)))
    page = cache(lambda: openapi.page(table, version=version))

    async def show_health(_call: Call) -> Reply:
        status = health()
        body = Health(status=status, version=version)  # type: ignore[arg-type]
        return Reply(body, status=200 if status in {"ok", "degraded"} else _UNAVAILABLE)

    async def show_document(_call: Call) -> Reply:
        return Reply(await asyncio.to_thread(document))

    async def show_page(_call: Call) -> Reply:
        return Reply(await asyncio.to_thread(page), content_type="text/html; charset=utf-8")

    async def show_metrics(_call: Call) -> Reply:
        return Reply(metrics(), content_type=_METRICS_TYPE)

    async def list_agents(_call: Call) -> Reply:
        used = await uses()
        found = await asyncio.to_thread(_agents, installations, version, used)
        return Reply(AgentList(items=found))

    async def examine(_call: Call) -> Reply:
        results = tuple([await _run(check) for check in checks])
        return Reply(DoctorReport(ok=all(c.result != "failed" for c in results), checks=results))

    return {
        "plane.health": show_health,
        "plane.openapi": show_document,
        "plane.docs": show_page,
        "plane.metrics": show_metrics,
        "plane.doctor": examine,
        "agent.list": list_agents,
    }


def _agents(
    installations: Installations, version: str, used: Mapping[tuple[str, str], int]
) -> tuple[AgentView, ...]:
    """Return every agent, whether it can run here, in which versions, and who uses them."""
    views = []
    for agent in AGENTS:
        found = installations.versions(agent.name)
        default = installations.default(agent.name) if agent.folder else version
        kept = (one for name, one in sorted(used) if name == agent.name and one)
        known = dict.fromkeys((*found, *kept))
        views.append(
            AgentView(
                name=agent.name,
                summary=agent.summary,
                bundled=not agent.folder,
                installed=bool(default),
                version=default,
                versions=tuple(
                    AgentVersion(
                        version=one,
                        installed=one in found,
                        default=one == default,
                        instances=used.get((agent.name, one), 0),
                    )
                    for one in known
                ),
                fix="" if default else f"holdfast agents install {agent.name}",
            )
        )
    return tuple(views)


async def _run(check: Check) -> DoctorCheck:
    """Return a check's result, or a failure if it raised."""
    try:
        return await check()
    except Exception as error:  # noqa: BLE001  a check that raises is a failed check
        name = getattr(check, "__name__", "check").replace("check_", "").replace("_", " ")
        text = f"the check itself failed: {brief(error)}"
        return DoctorCheck(name=name, result="failed", message=text[:REASON_MAX])
