"""Looks at an engine for the doctor: what it is, what it can limit, what machines can reach.

What can be reached is tried from inside: a container as machines are, in a network as theirs, tries
the host's own listeners, the metadata address of providers, and an address of the internet.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiodocker import Docker, DockerError
from msgspec import Struct

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.wire import parsers
from holdfast.world.clouds.docker.cloud import Options
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.networks import Networks
from holdfast.world.clouds.docker.shape import LABEL_OWNER, container_name, ulimits

NAME: Final = "doctor"
METADATA: Final = ("169.254.169.254", 80)
INTERNET: Final = ("1.1.1.1", 443)
PORTS_MAX: Final = 64
PROBE_S: Final = 20.0
_LISTENING: Final = "0A"
_NOWHERE: Final = ("0100007F",)
_PROBE: Final = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(target):
    try:
        socket.create_connection(tuple(target), 1.5).close()
    except OSError:
        return False
    return True
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(reaches, targets))))
"""


class Report(Struct, frozen=True, kw_only=True):
    """What was found; `troubles` are what an operator should know, `fix` what to do first."""

    engine: str
    image: bool
    troubles: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    fix: str = ""


async def examine(engine: Engine, options: Options) -> Outcome[Report]:
    """Look at the engine; fail if it does not answer."""
    version = await engine.version()
    if not isinstance(version, Ok):
        return version
    info = await engine.info()
    if not isinstance(info, Ok):
        return info
    found = version.value
    name = f"{found.engine} {found.version}, API {found.api}"
    troubles = [
        f"this engine cannot limit {what}"
        for what, can in (("memory", info.value.memory_limit), ("processes", info.value.pids_limit))
        if not can
    ]
    image = await engine.call(lambda docker: docker.images.inspect(options.image))
    if not isinstance(image, Ok):
        absent = isinstance(image, Permanent)
        text = f"image {options.image} is not there" if absent else image.message
        fix = f"holdfast image build --base BASE --tag {options.image}"
        return Ok(Report(engine=name, image=False, troubles=(text, *troubles), fix=fix))
    reached = await try_egress(engine, options, podman=found.engine == "podman")
    if not isinstance(reached, Ok):
        troubles.append(f"what machines reach could not be tried: {reached.message}")
        return Ok(Report(engine=name, image=True, troubles=tuple(troubles)))
    troubles += reached.value
    facts = (f"machines have {'no way out' if options.internal else 'a default route'}",)
    return Ok(Report(engine=name, image=True, troubles=tuple(troubles), facts=facts))


async def try_egress(engine: Engine, options: Options, *, podman: bool) -> Outcome[list[str]]:
    """Return what a machine reaches and should not, in words."""
    networks = Networks(
        engine, owner=options.owner, subnet=options.subnet, internal=options.internal
    )
    network = await networks.ensure(f"{NAME}.{options.owner}", podman=podman)
    if not isinstance(network, Ok):
        return network
    known = {one.port for one in (options.plane_at, options.proxy) if one is not None}
    ports = [port for port in host_ports() if port not in known][:PORTS_MAX]
    targets = [METADATA, INTERNET, *((network.value.gateway, port) for port in ports)]
    try:
        printed = await engine.call(_probe(network.value.name, targets, options), within_s=PROBE_S)
    finally:
        await networks.remove(f"{NAME}.{options.owner}")
    if not isinstance(printed, Ok):
        return printed
    answers = parsers.json_as(list[bool], printed.value.encode())
    reached = [target for target, answer in zip(targets, answers, strict=False) if answer]
    return Ok(in_words(reached, internal=options.internal))


def in_words(reached: list[tuple[str, int]], *, internal: bool) -> list[str]:
    """Return what is reached and should not be."""
    words = []
    if METADATA in reached:
        words.append(f"machines reach the provider's metadata at {METADATA[0]}: block it")
    if INTERNET in reached and internal:
        words.append("machines reach the internet, though their networks are internal")
    ports = [str(port) for host, port in reached if (host, port) not in {METADATA, INTERNET}]
    if ports:
        words.append(f"machines reach ports of this host: {', '.join(ports)}")
    return words


def host_ports(table: Path = Path("/proc/net/tcp")) -> list[int]:
    """Return the TCP ports on which this host listens, beside those on the loopback."""
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except OSError:
        return []
    rows = (line.split() for line in lines)
    places = (row[1].split(":") for row in rows if row[3] == _LISTENING)
    return sorted({int(port, 16) for host, port in places if host not in _NOWHERE})


def _probe(network: str, targets: list[tuple[str, int]], options: Options) -> Any:
    config: dict[str, Any] = {
        "Image": options.image,
        "Cmd": ["python3", "-I", "-c", _PROBE, json.dumps(targets)],
        "Entrypoint": [],
        "User": "65000:65000",
        "Labels": {LABEL_OWNER: options.owner},
        "HostConfig": {
            "ReadonlyRootfs": True, "CapDrop": ["ALL"], "NetworkMode": network,
            "SecurityOpt": ["no-new-privileges"], "Ulimits": ulimits(options.limits),
        },
    }  # fmt: skip

    async def probe(docker: Docker) -> str:
        name = container_name(f"{NAME}.{options.owner}")
        with suppress(DockerError):  # of an earlier try
            await docker.containers.container(name).delete(force=True)
        container = await docker.containers.create(config, name=name)
        try:
            await container.start()
            await container.wait()
            return "".join(await container.log(stdout=True))
        finally:
            await container.delete(force=True)

    return probe
