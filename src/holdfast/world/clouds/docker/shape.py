"""The shape of a machine as a container: its names, labels, environment and limits. Pure.

Everything that keeps an agent from the host is in `container_config`; a limit that is not in there
does not exist. No secret may enter it: whoever may ask the engine can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.wire import parsers
from holdfast.world.clouds.docker.answers import Container, exit_code_of, moment_ms, state_of
from holdfast.world.clouds.port import Machine, MachineSpec, MachineState, Usage, labels_of
from holdfast.world.clouds.spec import SEALED_PREFIX, carried

LABEL_OWNER: Final = "holdfast_owner"
LABEL_MACHINE: Final = "holdfast_machine"
LABEL_NAME: Final = "holdfast_name"
LABEL_VOLUME: Final = "holdfast_volume"
LABEL_UID: Final = "holdfast_uid"
LABEL_REGION: Final = "holdfast_region"
LABEL_OWN: Final = "holdfast_labels"
"""Names the machine's own labels, as a JSON list: an image brings others."""

PREFIX: Final = "holdfast-"
NEXT: Final = ".next"
"""Ends the name of a container that replaces another one at its next start."""

CONTROLLER_PORT: Final = 18_789
AGENT_PORT: Final = 18_790
DATA: Final = "/data"
KEY_FOLDER: Final = "/run/holdfast"
KEY_FILE: Final = "env-key"
AGENTS: Final = "/opt/holdfast-agents"
"""Where an image has agents that are not bundled."""
CONTROLLER: Final = ("python3", "-I", "-m", "holdfast.machine.controller")
WRAPPER: Final = ("python3", "-I", "-m", "holdfast.machine.controller.run_confined", "--")

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLANE_VARIABLES: Final = ("HOLDFAST_CHECKIN_URL", "HOLDFAST_WAKE_URL", "HOLDFAST_PLANE_URL")
_CPU: Final = 1_000_000_000
_MB: Final = 1_048_576
_LOG_SIZE: Final = "8m"


class Limits(Struct, frozen=True, kw_only=True, gc=False):
    """What every machine may use at most, beside its own size."""

    pids: int = 512
    open_files: int = 4_096
    temporary_mb: int = 256
    disk_gb: int = 0
    """0 means the size of its volume."""


class Plan(Struct, frozen=True, kw_only=True):
    """One container to be made.

    `gateway` is the host's address in `network`. `plane` is the plane's URL as machines were told
    it, which becomes `plane_here`. `publish` is the host's address on which the controller's port
    is published, empty for not at all.
    """

    spec: MachineSpec
    machine_id: str
    owner: str
    image: str
    uid: int
    network: str
    plane: str = ""
    plane_here: str = ""
    proxy_here: str = ""
    gateway: str = ""
    publish: str = ""
    podman: bool = False
    limits: Limits = Limits()
    program: tuple[str, ...] = CONTROLLER
    confined: bool = True


def container_name(name: str) -> str:
    """Return the name of a machine's container and of its network."""
    return f"{PREFIX}{name}"


def environment(plan: Plan) -> dict[str, str]:
    """Return the variables of a machine: the spec's, then ours, which take precedence."""
    spec = plan.spec
    told = {
        name: f"{plan.plane_here}{value.removeprefix(plan.plane)}"
        for name, value in spec.env.items()
        if name in _PLANE_VARIABLES and plan.plane_here and value.startswith(plan.plane)
    }
    home = f"{DATA}/home"
    composed = {
        "LANG": "C.UTF-8",
        **({"HTTP_PROXY": plan.proxy_here, "HTTPS_PROXY": plan.proxy_here,
            "NO_PROXY": f"localhost,127.0.0.1,{plan.gateway}"} if plan.proxy_here else {}),
        **{carried(name): value for name, value in spec.env.items()},
        **told,
        **{f"{SEALED_PREFIX}{name}": value for name, value in spec.sealed.items()},
        "PATH": _PATH,
        "HOME": home,
        "TMPDIR": "/tmp",  # noqa: S108  the container's own
        "HOLDFAST_SANDBOX_ID": spec.sandbox_id,
        "HOLDFAST_INSTANCE_ID": spec.instance_id,
        "HOLDFAST_MACHINE_ID": plan.machine_id,
        "HOLDFAST_MACHINE_EPOCH": str(spec.epoch),
        "HOLDFAST_CONTROLLER_HOST": "0.0.0.0",  # noqa: S104  of its own network
        "HOLDFAST_CONTROLLER_PORT": str(CONTROLLER_PORT),
        "HOLDFAST_AGENT_PORT": str(AGENT_PORT),
        "HOLDFAST_AGENT": spec.agent,
        "HOLDFAST_AGENT_HOME": home,
        "HOLDFAST_STATE_DIR": f"{DATA}/state",
    }  # fmt: skip
    if spec.sealed:
        composed["HOLDFAST_ENV_KEY_FILE"] = f"{KEY_FOLDER}/{KEY_FILE}"
    if plan.confined:
        composed["HOLDFAST_CONFINE_ORDER"] = json.dumps(
            {"kind": "auto", "hidden": [f"{DATA}/state", KEY_FOLDER], "write": [home, "/tmp"],  # noqa: S108
             "path": _PATH}
        )  # fmt: skip
    return composed


def container_config(plan: Plan) -> dict[str, Any]:
    """Return the engine's order for a machine's container."""
    spec, limits = plan.spec, plan.limits
    mounts = [
        {"Type": "volume", "Source": spec.volume_id, "Target": DATA}
    ] if spec.volume_id else []  # fmt: skip
    anonymous = ([KEY_FOLDER] if spec.sealed else []) + ([] if spec.volume_id else [DATA])
    memory = spec.size.memory_mb * _MB
    port = f"{CONTROLLER_PORT}/tcp"
    host: dict[str, Any] = {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": spec.size.cpus * _CPU,
        "PidsLimit": limits.pids,
        "Ulimits": ulimits(limits),
        "Tmpfs": {"/tmp": f"rw,nosuid,nodev,size={limits.temporary_mb}m,mode=1777"},  # noqa: S108
        "NetworkMode": plan.network,
        "Mounts": mounts,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": log_config(podman=plan.podman),
    }
    if plan.publish:
        host["PortBindings"] = {port: [{"HostIp": plan.publish, "HostPort": ""}]}
    return {
        "Image": plan.image,
        "Cmd": list(plan.program),
        "Entrypoint": [],
        "User": f"{plan.uid}:{plan.uid}",
        "WorkingDir": DATA,
        "Env": [f"{name}={value}" for name, value in sorted(environment(plan).items())],
        "Labels": labels(plan),
        "StopSignal": "SIGTERM",
        "Volumes": {place: {} for place in anonymous},
        "ExposedPorts": {port: {}} if plan.publish else {},
        "HostConfig": host,
    }


def labels(plan: Plan) -> dict[str, str]:
    """Return all labels of a machine's container."""
    own = labels_of(plan.spec)
    return {
        **own,
        LABEL_OWN: json.dumps(sorted(own)),
        LABEL_OWNER: plan.owner,
        LABEL_MACHINE: plan.machine_id,
        LABEL_NAME: plan.spec.name,
        LABEL_VOLUME: plan.spec.volume_id or "",
        LABEL_UID: str(plan.uid),
        LABEL_REGION: plan.spec.region,
    }


def ulimits(limits: Limits) -> list[dict[str, Any]]:
    """Return limits of processes, said always: engines' own may be more than their host allows."""
    return [
        {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
        {"Name": "nproc", "Soft": limits.pids, "Hard": limits.pids},
    ]


def log_config(*, podman: bool) -> dict[str, Any]:
    """Return where output goes: a file of the engine's, of bounded size."""
    kind = "k8s-file" if podman else "json-file"
    return {"Type": kind, "Config": {"max-size": _LOG_SIZE}}


def incarnation(container: Container) -> str:
    """Return the name of one start of a container; empty if it never started."""
    started = moment_ms(container.state.started_at)
    return f"{container.id[:12]}-{started:x}" if started else ""


def machine_of(
    container: Container, *, direct: bool, usage: Usage | None = None,
    state: MachineState | None = None,
) -> Machine:  # fmt: skip
    """Return a container as the port's machine; `state` overrides the engine's word."""
    labels = container.labels
    now = state or state_of(container.state.status)
    return Machine(
        id=labels.get(LABEL_MACHINE, container.id),
        name=labels.get(LABEL_NAME, container.name.removeprefix("/")),
        state=now,
        region=labels.get(LABEL_REGION, ""),
        incarnation=incarnation(container),
        labels={name: labels[name] for name in _own_labels(labels) if name in labels},
        volume_id=labels.get(LABEL_VOLUME) or None,
        created_at_ms=moment_ms(container.created),
        updated_at_ms=moment_ms(container.state.started_at) or moment_ms(container.created),
        address=address_of(container, direct=direct) if now == "started" else "",
        exit_code=exit_code_of(container.state),
        usage=usage,
    )


def _own_labels(labels: Mapping[str, str]) -> list[str]:
    """Return the names of a machine's own labels; none, where somebody else made the container."""
    try:
        return parsers.json_as(list[str], labels.get(LABEL_OWN, "[]").encode())
    except msgspec.DecodeError:
        return []


def address_of(container: Container, *, direct: bool) -> str:
    """Return where the controller is reached: in its own network, or where it is published."""
    settings = container.network_settings
    if direct:
        found = (one.address for one in (settings.networks or {}).values() if one.address)
        address = next(found, "")
        return f"{address}:{CONTROLLER_PORT}" if address else ""
    ports = (settings.ports or {}).get(f"{CONTROLLER_PORT}/tcp") or []
    return next((f"{one.host_ip}:{one.host_port}" for one in ports if one.host_port), "")


def sealed_in(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the sealed values among a container's variables, by their real names."""
    return {
        name.removeprefix(SEALED_PREFIX): value
        for name, value in variables.items()
        if name.startswith(SEALED_PREFIX)
    }
