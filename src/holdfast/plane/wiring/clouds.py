"""Makes the clouds that machines run in, their executors, and the client of controllers.

Clouds and controllers need each other: a cloud's calls send secrets to running machines through
their controllers, and a controller's address comes from its cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from holdfast.actors.dispatch import Provider
from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import Mailboxes
from holdfast.actors.probing import Lookout
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.effects import CloudCalls
from holdfast.instances.environment import Platform
from holdfast.instances.ports import Holders, KeyMint, LogChunk
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok
from holdfast.plane.about import Check
from holdfast.plane.installations import AGENTS_FOLDER, Installations
from holdfast.plane.settings import PORTS_PER_MACHINE, Settings, paths_in
from holdfast.plane.wiring.containers import open_containers
from holdfast.plane.wiring.controllers import MachineControllers
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.fly import FLY, FLY_CALLS_MAX, fly_check, open_fly
from holdfast.plane.wiring.machine_secrets import ControllersAsHolders, OwnMint
from holdfast.plane.wiring.part import Part
from holdfast.plane.wiring.secret_files import env_key_text
from holdfast.wire.address import Base
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.controller.calls import Controllers
from holdfast.world.clouds.port import CAPACITY, Cloud, Machine
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.controllers import ControllerClient
from holdfast.world.processes.confine import Confine

PROCESS: Final = "process"
DOCKER: Final = "docker"
"""The provider on which every instance has a volume: a container keeps nothing."""

CALLS_MAX: Final = 16
"""Concurrent calls to one cloud."""
CALLS_PER_S: Final = 200.0
"""Calls to one cloud that begin in a second; a cloud may have lower limits of its own."""
SETTLING: Final = frozenset({CAPACITY})
"""Codes without retries: no capacity appears within seconds, so the instance's backoff waits."""

C_co = TypeVar("C_co", bound=Controllers, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clouds:
    """Clouds by name, with the engine's executors for them."""

    by_name: Mapping[str, Cloud]
    providers: Mapping[str, Provider]
    lookouts: Mapping[str, Lookout]
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach(Generic[C_co]):
    """The clouds, and the client of their machines' controllers."""

    by_name: Mapping[str, Cloud]
    controllers: C_co
    part: Part


async def make_reach(core: Core) -> Reach[MachineControllers]:
    """Open the clouds, and return them with the client of controllers."""
    holders = ControllersAsHolders()
    clouds = await open_clouds(core, mint=OwnMint(core.chance, core.clock), holders=holders)
    client = ControllerClient()
    core.closing.push_async_callback(client.close)
    controllers = MachineControllers(
        core.stores.reader, clouds.by_name, client=client, secret=core.token_secret,
        clock=core.clock,
    )  # fmt: skip
    holders.controllers = controllers
    return Reach(by_name=clouds.by_name, controllers=controllers, part=clouds_part(clouds))


def clouds_part(clouds: Clouds) -> Part:
    """Return clouds as a part."""

    async def check_clouds() -> DoctorCheck:
        capabilities = [cloud.capabilities for cloud in clouds.by_name.values()]
        kinds = ", ".join(f"{one.kind}: {one.isolation}" for one in capabilities)
        return DoctorCheck(name="clouds", result="ok", message=kinds[:512])

    return Part(
        name="clouds",
        providers=clouds.providers,
        lookouts=clouds.lookouts,
        checks=(check_clouds, *clouds.checks),
    )


async def open_clouds(core: Core, *, mint: KeyMint, holders: Holders) -> Clouds:
    """Open the clouds, which find their running machines, and wire their calls."""
    settings = core.settings
    process = ProcessCloud(
        core.home,
        clock=core.clock,
        keys=partial(env_key_text, core.keyring),
        ports=machine_ports(settings),
        confine=make_confine(core.home, settings, core.url),
    )
    await process.open()
    core.closing.push_async_callback(process.close)
    process.on_exit = watch_exits(core.mailbox, core.run)
    platform = platform_of(
        core.home, settings, core.url, consent_key=lambda: core.consent_key.public_key
    )
    by_name: dict[str, Cloud] = {PROCESS: process}
    platforms = {PROCESS: platform}
    checks: tuple[Check, ...] = ()
    if settings.cloud == DOCKER or settings.docker_socket:
        containers = await open_containers(core, platform, key=partial(env_key_text, core.keyring))
        containers.cloud.on_exit = watch_exits(core.mailbox, core.run)
        by_name[DOCKER], platforms[DOCKER] = containers.cloud, containers.platform
        checks = containers.checks
    fly = open_fly(core)
    if fly is not None:
        by_name[FLY] = fly
        # An image has its agent; the installations of this host are not there.
        platforms[FLY] = replace(platform, installed=None)
        checks = (*checks, fly_check(core, fly))
    calls_max = {FLY: FLY_CALLS_MAX}
    joined = {
        name: join_cloud(
            core, cloud, platform=platforms[name], mint=mint, holders=holders,
            calls_max=calls_max.get(name, CALLS_MAX),
        )
        for name, cloud in by_name.items()
    }  # fmt: skip
    return Clouds(
        by_name=by_name,
        providers={name: provider for name, (provider, _) in joined.items()},
        lookouts={name: lookout for name, (_, lookout) in joined.items()},
        checks=checks,
    )


def machine_ports(settings: Settings) -> tuple[int, int]:
    """Return the first and the last port of machines on this host."""
    return settings.port_first, settings.port_first + settings.machines_max * PORTS_PER_MACHINE - 1


def make_confine(home: Path, settings: Settings, url: str) -> Confine:
    """Return the confinement of machines, which hides the plane's own files from agents."""
    return Confine(
        kind=settings.confine,
        hidden=(str(home), str(settings.keys_folder)),
        read=tuple(paths_in(settings.confine_read)),
        write=tuple(paths_in(settings.confine_write)),
        plane=urlsplit(url).port or 0,
    )


def join_cloud(
    core: Core,
    cloud: Cloud,
    *,
    platform: Platform,
    mint: KeyMint,
    holders: Holders,
    calls_max: int = CALLS_MAX,
) -> tuple[Provider, Lookout]:
    """Return a cloud's executors of effects and probes; they share one limiter."""
    calls = CloudCalls(
        cloud,
        sealer=core.keyring,
        platform=platform,
        token_secret=core.token_secret,
        mint=mint,
        holders=holders,
    )
    gate = Limiter(core.clock, concurrency=calls_max, rate_per_s=CALLS_PER_S)
    provider = Provider(execute=calls.execute, gate=gate, settling=SETTLING)
    return provider, Lookout(look=calls.look, gate=gate)


def platform_of(
    home: Path, settings: Settings, url: str, *, consent_key: Callable[[], str] | None = None
) -> Platform:
    """Return the data about this plane for every machine.

    `consent_key` returns the public key that signs grants, which observers trust from their start;
    without one, no machine has an observer.
    """
    base = Base.parse(url)
    return Platform(
        checkin_url=base.url("/api/controller/checkin"),
        wake_url=base.url("/api/controller/wake"),
        checkin_first_ms=round(settings.checkin_first_s * SECOND_MS),
        checkin_interval_ms=round(settings.checkin_interval_s * SECOND_MS),
        plane_url=url,
        consent_key=consent_key if settings.observers else None,
        installed=Installations(home / AGENTS_FOLDER).home,
    )


class CloudLogs:
    """The output of machines, from the cloud that runs them."""

    def __init__(self, clouds: Mapping[str, Cloud]) -> None:
        """Read from `clouds`, by provider."""
        self._clouds = clouds

    async def tail(self, provider: str, machine_id: str, *, lines: int) -> LogChunk:
        """Return the newest lines; without any, the note is the reason."""
        cloud = self._clouds.get(provider)
        if cloud is None:
            return LogChunk((), f"no cloud called {provider!r} is configured here")
        outcome = await cloud.log_tail(machine_id, lines=lines)
        if isinstance(outcome, Ok):
            return LogChunk(outcome.value, "" if outcome.value else "it has printed nothing yet")
        return LogChunk((), f"{outcome.code}: {outcome.message}")


def watch_exits(
    mailboxes: Mailboxes, run: Callable[[Coroutine[Any, Any, Any]], None]
) -> Callable[[Machine], None]:
    """Return a cloud's callback for a machine that ended by itself: it sends an event at once."""

    def ended(machine: Machine) -> None:
        instance = machine.labels.get("holdfast_instance", "")
        if not instance:
            return
        event = events.MachineWatched(machine.id, machine.state)
        dedupe = f"watched:{machine.id}:{machine.incarnation}:{machine.state}"
        row = arrival(event, dedupe=dedupe, source="probe")
        run(mailboxes.tell([(address(KIND, instance), row)]))

    return ended
