"""Handlers about the plane itself: health, API documents, agents, doctor.

Health and the OpenAPI document are public and reveal nothing about what runs here. A check of the
doctor is read-only, and an exception within one is its result and does not end the report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from holdfast.kernel.failure import brief
from holdfast.plane import openapi
from holdfast.wire.agents import AGENTS
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.plane import AgentList, AgentView, DoctorCheck, DoctorReport, Health
from holdfast.wire.limits import REASON_MAX

Check = Callable[[], Awaitable[DoctorCheck]]
HealthOf = Callable[[], str]

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNAVAILABLE: Final = 503


def about_handlers(
    table: Sequence[Endpoint],
    *,
    version: str,
    health: HealthOf,
    metrics: Callable[[], bytes],
    agents_folder: Path,
    checks: Sequence[Check],
) -> dict[str, Handler]:
    """Return the handlers by endpoint; `health` returns a status of the message `Health`."""
    document = msgspec.json.encode(openapi.document(table, version=version))
    page = openapi.page(table, version=version)

    async def show_health(_call: Call) -> Reply:
        status = health()
        body = Health(status=status, version=version)  # type: ignore[arg-type]
        return Reply(body, status=200 if status in {"ok", "degraded"} else _UNAVAILABLE)

    async def show_document(_call: Call) -> Reply:
        return Reply(document)

    async def show_page(_call: Call) -> Reply:
        return Reply(page, content_type="text/html; charset=utf-8")

    async def show_metrics(_call: Call) -> Reply:
        return Reply(metrics(), content_type=_METRICS_TYPE)

    async def list_agents(_call: Call) -> Reply:
        found = await asyncio.to_thread(_agents, agents_folder, version)
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


def installed_versions(folder: Path, prefix: str) -> list[str]:
    """Return the names of the folders with installations of an agent, newest last."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(prefix))


def _agents(folder: Path, version: str) -> tuple[AgentView, ...]:
    """Return every agent, and whether it can run here."""
    views = []
    for agent in AGENTS:
        found = installed_versions(folder, agent.folder) if agent.folder else [version]
        views.append(
            AgentView(
                name=agent.name,
                summary=agent.summary,
                bundled=not agent.folder,
                installed=bool(found),
                version=found[-1].removeprefix(agent.folder) if found else "",
                fix="" if found else f"holdfast agents install {agent.name}",
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
