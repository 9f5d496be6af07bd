"""One read: which sources, in which order, and what was found where.

The profile sets the order by the agent's version. A source whose content is not understood is
skipped for the next one, part by part; any other failure is final, because the next source would
only repeat it, or hide it: OpenClaw's own command line reads a broken file as empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.machine.agents.pairing import Means, Pairing, Plan
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.channels import detect
from holdfast.machine.controller.pairing.ports import Source
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Found, Look, Row
from holdfast.wire.controller.pairing import Kind

_NO_VERSION = "The agent's version is not known, so neither is where it keeps requests"


class Reader:
    """Reads the agent's stores."""

    def __init__(
        self,
        pairing: Pairing,
        sources: Mapping[Means, Source],
        *,
        env: Mapping[str, str],
        version: VersionProbe,
        running_version: Callable[[], str | None],
        read_config: Callable[[], Mapping[str, Any]],
    ) -> None:
        """Read from `sources`, for an agent whose environment is `env`.

        `version` queries the program, `running_version` the running agent.
        `read_config` returns the agent's configuration or raises OSError or ValueError.
        """
        self._pairing = pairing
        self._sources = sources
        self._env = env
        self._version = version
        self._running_version = running_version
        self._read_config = read_config

    def plan(self) -> Plan:
        """Return the plan for the agent's version, as far as it is known."""
        return self._pairing.plan(self._version.known.version or self._running_version())

    def debounce_ms(self, kind: Kind) -> int:
        """Return the wait after a hint that the first source needs."""
        order = self._order(self.plan(), kind)
        return order[0].debounce_ms if order else limits.DEBOUNCE_COMMAND_MS

    async def look(self, kind: Kind) -> Look:
        """Return the stored requests of each channel, or of the devices."""
        await self._version.find()
        names: Sequence[str] | Failure = (DEVICES,)
        if kind == "channels":
            names = await self._channels()
        if isinstance(names, Failure):
            return names
        order = self._order(self.plan(), kind)
        if not order:
            return Failure("version_unknown", _NO_VERSION, strange=True)
        return await self._through(order, kind, names)

    def _order(self, plan: Plan, kind: Kind) -> list[Source]:
        wanted = plan.channels if kind == "channels" else plan.devices
        return [self._sources[means] for means in wanted if means in self._sources]

    async def _channels(self) -> tuple[str, ...] | Failure:
        try:
            async with asyncio.timeout(limits.STORE_TIMEOUT_S):
                config = await asyncio.to_thread(self._read_config)
        except (OSError, ValueError, RecursionError, TimeoutError) as error:
            message = "The agent's configuration cannot be read"
            return Failure("config_unreadable", message, detail=type(error).__name__)
        return detect(config, self._env)

    async def _through(
        self, order: Sequence[Source], kind: Kind, names: Sequence[str]
    ) -> dict[str, Found]:
        """Read source after source for parts that earlier ones did not understand."""
        found: dict[str, Found] = {}
        left = list(names)
        for source in order:
            if not left:
                break
            parts = await source.look(kind, left)
            for name in left:
                found[name] = _better(found.get(name), Found(source.name, parts[name]))
            left = [name for name in left if _is_strange(parts[name])]
        return {name: found[name] for name in names}


def _is_strange(result: tuple[Row, ...] | Failure) -> bool:
    return isinstance(result, Failure) and result.strange


def _better(before: Found | None, now: Found) -> Found:
    """Return the preferred of two reads of one part: the later, unless it failed too."""
    if before is None:
        return now
    first = before.result
    assert isinstance(first, Failure), "only what was not understood is asked for again"
    if isinstance(now.result, Failure):
        return before
    return Found(now.source, now.result, note=f"{before.source}: {first.message}")
