"""Makes the clouds that machines are placed in, and who calls them for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from holdfast.actors.dispatch import Provider
from holdfast.actors.probing import Lookout
from holdfast.instances.environment import Platform
from holdfast.instances.ports import Holders, KeyMint
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.secret import Secret
from holdfast.plane.keyring import KeyRing
from holdfast.plane.settings import PORTS_PER_MACHINE, Settings, paths_in
from holdfast.plane.wiring.rooms import join_cloud
from holdfast.plane.wiring.secret_files import env_key_text
from holdfast.world.clouds.port import Cloud
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.process_confine import Confine

AGENTS_FOLDER: Final = "agents"
OPENCLAW_LINK: Final = "openclaw"
PROCESS: Final = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clouds:
    """Clouds by name, with the calls that the engine makes to them."""

    by_name: Mapping[str, Cloud]
    process: ProcessCloud
    providers: Mapping[str, Provider]
    lookouts: Mapping[str, Lookout]


async def open_clouds(
    home: Path,
    settings: Settings,
    closing: AsyncExitStack,
    *,
    clock: Clock,
    keyring: KeyRing,
    token_secret: Secret,
    mint: KeyMint,
    holders: Holders,
    url: str,
) -> Clouds:
    """Open the process cloud, which finds its living machines, and wire its calls."""
    last_port = settings.port_first + settings.machines_max * PORTS_PER_MACHINE - 1
    process = ProcessCloud(
        home,
        clock=clock,
        keys=partial(env_key_text, keyring),
        ports=(settings.port_first, last_port),
        confine=_confine(home, settings, url),
    )
    await process.open()
    closing.push_async_callback(process.close)
    provider, lookout = join_cloud(
        process,
        sealer=keyring,
        platform=_platform(home, settings, url),
        token_secret=token_secret,
        mint=mint,
        holders=holders,
        clock=clock,
    )
    return Clouds(
        by_name={PROCESS: process},
        process=process,
        providers={PROCESS: provider},
        lookouts={PROCESS: lookout},
    )


def _confine(home: Path, settings: Settings, url: str) -> Confine:
    """Return how machines are confined: nothing of the plane's own is for agents to see."""
    return Confine(
        kind=settings.confine,
        hidden=(str(home), str(settings.keys_folder)),
        read=tuple(paths_in(settings.confine_read)),
        write=tuple(paths_in(settings.confine_write)),
        plane=urlsplit(url).port or 0,
    )


def _platform(home: Path, settings: Settings, url: str) -> Platform:
    """Return what every machine is told about this plane."""
    return Platform(
        checkin_url=f"{url}/api/controller/checkin",
        wake_url=f"{url}/api/controller/wake",
        checkin_first_ms=round(settings.checkin_first_s * SECOND_MS),
        checkin_interval_ms=round(settings.checkin_interval_s * SECOND_MS),
        fixed={"HOLDFAST_OPENCLAW_HOME": str(home / AGENTS_FOLDER / OPENCLAW_LINK)},
    )
