"""Measures what machines use, and holds volumes to their size where the engine has no quotas.

Every ten seconds: CPU time, resident memory and processes of each running machine, and the bytes of
each volume. A volume that is larger than its size stops its machine, and it stays stopped until the
volume is small enough: an agent that fills the disk would otherwise take every other agent with it.
What is written within ten seconds is not held back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiodocker import Docker

from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.docker.answers import DiskUse, Figures, stats_of
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.listing import list_ours
from holdfast.world.clouds.docker.shape import LABEL_VOLUME
from holdfast.world.clouds.docker.volumes import Volumes, size_gb
from holdfast.world.clouds.docker.watch import machine_id
from holdfast.world.clouds.port import Usage

EVERY_S: Final = 10.0
DISK_S: Final = 60.0
"""The longest an engine may take to add up its volumes, in seconds."""
PAUSE_FACTOR: Final = 5
"""A measurement that took a second is followed by a pause of five, if that is longer."""
GB: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_log: Final = logging.getLogger("holdfast.clouds.docker")


class Sampler:
    """The last figures of each machine, and the volumes that are too large."""

    def __init__(
        self, engine: Engine, volumes: Volumes, *, owner: str, disk_gb: int,
        stop: Callable[[str], Awaitable[object]], every_s: float = EVERY_S,
    ) -> None:  # fmt: skip
        """Call `stop` with a machine whose volume is too large; `disk_gb` 0 means its own size."""
        self._engine = engine
        self._volumes = volumes
        self._owner = owner
        self._disk_gb = disk_gb
        self._stop = stop
        self._every_s = every_s
        self._usage: dict[str, Usage] = {}
        self._sizes: dict[str, int] = {}
        self.full: dict[str, str] = {}
        """Volumes that are too large, each with a text for people."""

    def usage(self, machine: str) -> Usage | None:
        """Return the last figures of a machine."""
        return self._usage.get(machine)

    def forget(self, machine: str) -> None:
        """Drop the figures of a machine that is not there any more."""
        self._usage.pop(machine, None)

    async def run(self) -> None:
        """Measure for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.measure()
            except Exception as error:  # noqa: BLE001  the next measurement may be had
                _log.warning("machines could not be measured: %s", brief(error))
            took_s = loop.time() - began
            await asyncio.sleep(max(self._every_s - took_s, PAUSE_FACTOR * took_s, 0))

    async def measure(self) -> None:
        """Measure once; what cannot be had keeps its last figure."""
        await self._measure_disk()
        running = await list_ours(self._engine, self._owner, status=["running"])
        if not isinstance(running, Ok):
            return
        machines = {machine_id(one): one for one in running.value if machine_id(one)}
        for gone in self._usage.keys() - machines.keys():
            del self._usage[gone]
        for machine, one in machines.items():
            volume = (one.labels or {}).get(LABEL_VOLUME, "")
            if volume in self.full:
                _log.error("machine %s is stopped: %s", machine, self.full[volume])
                await self._stop(machine)
            await self._measure_machine(machine, one.id, self._sizes.get(volume))

    async def _measure_machine(self, machine: str, container: str, disk: int | None) -> None:
        async def ask(docker: Docker) -> object:
            return stats_of(await docker.containers.container(container).stats(stream=False))

        found = await self._engine.read(Figures, ask)
        if not isinstance(found, Ok):
            return
        figures = found.value
        self._usage[machine] = Usage(
            cpu_ms=figures.cpu_stats.cpu_usage.total_usage // _NS_PER_MS,
            rss_bytes=figures.memory_stats.resident,
            disk_bytes=disk,
            processes=figures.pids_stats.current,
        )

    async def _measure_disk(self) -> None:
        listed = await self._volumes.listed()
        if not isinstance(listed, Ok) or not listed.value:
            return
        used = await self._engine.read(
            DiskUse,
            lambda docker: docker._query_json(  # noqa: SLF001  it has no method for it
                "system/df", params={"type": "volume"}
            ),
            subject="volume",
            within_s=DISK_S,
        )
        if not isinstance(used, Ok):
            return
        self._sizes = {
            one.name: one.usage_data.size
            for one in used.value.volumes or ()
            if one.usage_data is not None and one.usage_data.size >= 0
        }
        self.full = {
            one.name: f"volume {one.name} holds {size / GB:.1f} GB of {limit} GB"
            for one in listed.value
            if (limit := self._disk_gb or size_gb(one))
            and (size := self._sizes.get(one.name, 0)) > limit * GB
        }
