"""Opens the container cloud as the settings say, and checks it for the doctor.

Its client is loaded here alone, and only where it is used: it is an extra.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import structs

from holdfast.instances.environment import Platform
from holdfast.instances.ports import UnsealError
from holdfast.kernel.outcome import Ok
from holdfast.kernel.secret import Secret
from holdfast.plane.about import Check
from holdfast.plane.settings import PREFIX, SettingError, Settings
from holdfast.plane.wiring.core import Core
from holdfast.wire.address import LOOPBACK, Address
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX
from holdfast.world.clouds.port import MachineSpec

if TYPE_CHECKING:
    from holdfast.world.clouds.docker.cloud import DockerCloud, Options

DEFAULT_ENGINE: Final = "unix:///var/run/docker.sock"
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  told apart, not bound
_OWNER_CHARS: Final = 16


class Containers(NamedTuple):
    """The open cloud, what its machines are told of the plane, and the doctor's checks."""

    cloud: DockerCloud
    platform: Platform
    checks: tuple[Check, ...]


async def open_containers(
    core: Core, platform: Platform, *, key: Callable[[MachineSpec], Secret | None]
) -> Containers:
    """Open the cloud; an engine that does not answer is waited for. Raise SettingError."""
    try:
        from holdfast.world.clouds.docker.cloud import DockerCloud  # noqa: PLC0415  an extra
        from holdfast.world.clouds.docker.shape import AGENTS  # noqa: PLC0415  with it
    except ModuleNotFoundError as error:
        raise SettingError(
            f"{PREFIX}CLOUD: docker needs the extra `docker`: pip install 'holdfast[docker]'"
        ) from error
    owner = core.plane_key.derive("containers").hex()[:_OWNER_CHARS]
    options = container_options(core.settings, core.url, owner=owner)
    cloud = DockerCloud(options, clock=core.clock, keys=partial(open_key, key))
    try:
        await cloud.open()
    except OSError as error:
        raise SettingError(
            f"{PREFIX}DOCKER_TLS: {error.filename or error}: cannot be used"
        ) from error
    core.closing.push_async_callback(cloud.close)
    on_host = platform.installed

    def installed(agent: str, version: str) -> str:
        folder = on_host(agent, version) if on_host is not None else ""
        return f"{AGENTS}/{PurePosixPath(folder).name}" if folder else ""

    async def check() -> DoctorCheck:
        return await check_engine(cloud, options)

    return Containers(cloud, structs.replace(platform, installed=installed), (check,))


def open_key(key: Callable[[MachineSpec], Secret | None], spec: MachineSpec) -> Secret | None:
    """Return a machine's key; raise ValueError, as clouds have it, where the ring has none."""
    try:
        return key(spec)
    except UnsealError as error:
        raise ValueError(f"no key of the ring opens them: {error}") from error


def container_options(settings: Settings, url: str, *, owner: str) -> Options:
    """Return how machines in containers are to be; raise SettingError for what cannot be.

    Where machines have no way out, or the plane has no URL for the network, they reach it at their
    own network's address of the host.
    """
    from holdfast.world.clouds.docker.cloud import Options  # noqa: PLC0415  an extra
    from holdfast.world.clouds.docker.shape import Limits  # noqa: PLC0415  with it

    engine = settings.docker_socket or DEFAULT_ENGINE
    internal = settings.docker_egress == "internal"
    refuse_unreachable(settings, engine, internal=internal)
    here = settings.public_url and not internal
    return Options(
        url=engine, image=settings.docker_image, owner=owner, tls=settings.docker_tls,
        internal=internal, subnet=settings.docker_subnet, publish=settings.docker_publish,
        plane=url, plane_at=None if here else _listener(settings, url),
        proxy=Address.parse(settings.docker_proxy) if settings.docker_proxy else None,
        limits=Limits(
            pids=settings.docker_pids, open_files=settings.docker_open_files,
            temporary_mb=settings.docker_tmp_mb, disk_gb=settings.docker_disk_gb,
        ),
    )  # fmt: skip


def refuse_unreachable(settings: Settings, engine: str, *, internal: bool) -> None:
    """Raise SettingError where plane and machines could not reach each other."""
    if settings.docker_publish and internal:
        raise SettingError(
            f"{PREFIX}DOCKER_PUBLISH: an internal network publishes nothing; set"
            f" {PREFIX}DOCKER_EGRESS=open, or take it away"
        )
    if not engine.startswith("tcp://"):
        return
    if not settings.docker_tls:
        raise SettingError(
            f"{PREFIX}DOCKER_TLS: missing; an engine reached without TLS gives its host away"
        )
    if not (settings.docker_publish and settings.public_url):
        raise SettingError(
            f"{PREFIX}DOCKER_SOCKET: machines of another host are reached where they are published,"
            f" and reach the plane by its URL; set {PREFIX}DOCKER_PUBLISH,"
            f" {PREFIX}DOCKER_EGRESS=open and {PREFIX}PUBLIC_URL"
        )


def _listener(settings: Settings, url: str) -> Address:
    """Return where the plane listens, as this host reaches it."""
    host = LOOPBACK if settings.host in _EVERYWHERE else settings.host
    if settings.port:
        return Address(host, settings.port)
    if settings.public_url:
        raise SettingError(
            f"{PREFIX}PORT: machines in containers reach the plane at its port, so want one that is"
            f" fixed beside {PREFIX}PUBLIC_URL"
        )
    return Address(host, int(url.rpartition(":")[2]))


async def check_engine(cloud: DockerCloud, options: Options) -> DoctorCheck:
    """Return whether the engine answers, has the image, and keeps machines in."""
    from holdfast.world.clouds.docker.examine import examine  # noqa: PLC0415  an extra

    found = await examine(cloud.engine, options)
    if not isinstance(found, Ok):
        return DoctorCheck(
            name="containers", result="failed", message=found.message[:REASON_MAX],
            fix=f"start the engine, or set {PREFIX}DOCKER_SOCKET to where it listens",
        )  # fmt: skip
    full = tuple(cloud.sampler.full.values())
    troubles = (*found.value.troubles, *full)
    failed = bool(full) or not found.value.image
    return DoctorCheck(
        name="containers",
        result="failed" if failed else "warning" if troubles else "ok",
        message="; ".join((found.value.engine, *troubles, *found.value.facts))[:REASON_MAX],
        fix=found.value.fix or ("see docs/docker-cloud.md" if troubles else ""),
    )
