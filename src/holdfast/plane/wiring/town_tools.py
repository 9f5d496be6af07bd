"""Makes the tools that agents of towns call: tokens of attempts, handlers, and who is silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from holdfast.kernel.clock import SECOND_MS
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part, every
from holdfast.plane.wiring.town_hosts import TownHosts
from holdfast.relay.rate import Rates
from holdfast.towns.attempts import Attempts, LiveTowns
from holdfast.towns.contact import AgentWatch
from holdfast.towns.policy import Policy
from holdfast.towns.silence import SLOT_MS, Silence
from holdfast.towns.tools import REPORTS, ToolDeps, tool_handlers

SEEN_S: Final = 30.0
"""Time between two looks at what runs: three of them within the wait for a heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TownTools:
    """`attempts` issues and revokes tokens and looks them up for the edge; `watch` hears agents."""

    part: Part
    attempts: Attempts
    watch: AgentWatch


def make_attempts(core: Core) -> Attempts:
    """Return the tokens of attempts."""
    key = core.plane_key.derive("town attempts")
    return Attempts(core.stores.towns, key=key, towns=LiveTowns(), clock=core.clock)


def make_town_tools(core: Core, attempts: Attempts, hosts: TownHosts) -> TownTools:
    """Return the tools with their part, which starts before the engine: no tick is missed."""
    due = asyncio.Event()
    watch = AgentWatch(
        attempts,
        attempts.towns,
        Silence(Policy(), core.clock.steady_ms()),
        mailboxes=core.mailbox,
        clock=core.clock,
        chance=core.chance,
        log=core.log,
        wake=due.set,
    )
    deps = ToolDeps(
        watch=watch,
        records=core.stores.towns,
        mailboxes=core.mailbox,
        chance=core.chance,
        rates=Rates(core.clock, calls=REPORTS),
        take=hosts.take,
    )
    part = Part(
        name="town-tools",
        handlers=tool_handlers(deps),
        on_commit=(watch.on_commit,),
        start=attempts.load,
        jobs=(
            Job("town-contact", partial(_work, watch, due)),
            every("town-programs", partial(_see, watch, hosts), SEEN_S, core.log),
        ),
    )
    return TownTools(part=part, attempts=attempts, watch=watch)


async def _see(watch: AgentWatch, hosts: TownHosts) -> None:
    """Count what runs as a sign of life, for programs that send no heartbeats."""
    for one in await hosts.running():
        watch.seen(one.town, one.agent, one.attempt)


async def _work(watch: AgentWatch, due: asyncio.Event) -> None:
    """Look at who is silent each second, and at once when something was heard."""
    while True:
        due.clear()
        if await watch.step():
            await asyncio.sleep(0)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(SLOT_MS / SECOND_MS):
                await due.wait()
