"""From a specification to what Fly is sent, and from Fly's answers to the port's values. Pure."""

from __future__ import annotations

import logging
from typing import Final, cast, get_args

from holdfast.wire.address import Address
from holdfast.wire.controller.machine import PLATFORM_HEALTH
from holdfast.wire.times import parse_time, time_text
from holdfast.world.clouds.fly.messages import (
    Check,
    Config,
    Event,
    Guest,
    Mount,
    Published,
    PublishedPort,
    Restart,
    SeenMachine,
    SeenVolume,
)
from holdfast.world.clouds.fly.names import Id
from holdfast.world.clouds.port import (
    Machine,
    MachineSpec,
    MachineState,
    Size,
    Volume,
    VolumeState,
    labels_of,
)
from holdfast.world.clouds.spec import SEALED_PREFIX, carried

HOME: Final = "/data"
"""Where the volume is mounted: the agent's home, and our state in a folder below."""
STATE: Final = "/data/.holdfast"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  a machine's own network; Fly's proxy comes from outside
CONTROLLER_PORT: Final = 18_789
AGENT_PORT: Final = 3_001
PUBLIC_PORT: Final = 443
DOMAIN: Final = "fly.dev"
"""Where Fly's proxy answers for each app."""
ROUTE: Final = "fly-force-instance-id"
"""The header that names the machine which is to get a request."""
RESTARTS_MAX: Final = 3
"""Restarts by Fly itself after a failure; then the machine stays stopped and the rules decide."""
SCOPE: Final = "HOLDFAST_MACHINE_SCOPE"
"""The variable with a machine's app; with Fly's own variable of its id it is our id."""
RESERVED_LABELS: Final = "fly_"

_STATES: Final = frozenset(get_args(MachineState))
_KNOWN_AS: Final[dict[str, MachineState]] = {
    "suspending": "stopping",
    "launch_failed": "failed",
}
_TRANSITIONAL: Final[MachineState] = "updating"
"""What a state is taken for that is not known: the machine is there, and neither up nor down."""
_VOLUME_STATES: Final = frozenset(get_args(VolumeState))

_log: Final = logging.getLogger("holdfast.clouds.fly")


def guest_of(size: Size) -> Guest:
    """Return the size of a machine in Fly's terms."""
    return Guest(cpu_kind=size.cpu_kind, cpus=size.cpus, memory_mb=size.memory_mb)


def config_of(spec: MachineSpec, *, app: str, image: str, volume: str | None) -> Config:
    """Return the whole configuration of a machine; `volume` is the id within the app."""
    return Config(
        image=image,
        env=environment_of(spec, app=app),
        guest=guest_of(spec.size),
        metadata=labels_of(spec),
        services=(
            Published(
                protocol="tcp",
                internal_port=CONTROLLER_PORT,
                ports=(PublishedPort(port=PUBLIC_PORT, handlers=("tls", "http")),),
                autostart=False,
                autostop=False,
            ),
        ),
        checks={
            "controller": Check(
                type="http",
                port=CONTROLLER_PORT,
                method="GET",
                path=PLATFORM_HEALTH.target(None),
                interval="30s",
                timeout="5s",
                grace_period="120s",
            )
        },
        restart=Restart(policy="on-failure", max_retries=RESTARTS_MAX),
        mounts=(Mount(volume=volume, path=HOME),) if volume else (),
    )


def environment_of(spec: MachineSpec, *, app: str) -> dict[str, str]:
    """Return a machine's environment: its own, then ours; secrets are sealed.

    The key that opens them is a secret of the app, which Fly adds.
    """
    return {
        **{carried(name): value for name, value in spec.env.items()},
        **{f"{SEALED_PREFIX}{name}": value for name, value in spec.sealed.items()},
        "HOME": HOME,
        "HOLDFAST_SANDBOX_ID": spec.sandbox_id,
        "HOLDFAST_INSTANCE_ID": spec.instance_id,
        "HOLDFAST_MACHINE_EPOCH": str(spec.epoch),
        "HOLDFAST_CONTROLLER_HOST": EVERYWHERE,
        "HOLDFAST_CONTROLLER_PORT": str(CONTROLLER_PORT),
        "HOLDFAST_AGENT_PORT": str(AGENT_PORT),
        "HOLDFAST_AGENT": spec.agent,
        "HOLDFAST_AGENT_HOME": HOME,
        "HOLDFAST_STATE_DIR": STATE,
        "KILOCLAW_MACHINE_CPU_KIND": spec.size.cpu_kind,
        SCOPE: app,
    }


def machine_of(app: str, seen: SeenMachine) -> Machine:
    """Return a machine as the port has it."""
    config = seen.config
    mounts = config.mounts if config is not None else None
    volume = next((one.volume for one in mounts or () if one.volume), None)
    return Machine(
        id=str(Id(app, seen.id)),
        name=seen.name,
        state=_state(seen),
        region=seen.region,
        incarnation=seen.instance_id,
        labels=dict((config.metadata if config is not None else None) or {}),
        volume_id=str(Id(app, volume)) if volume else None,
        created_at_ms=parse_time(seen.created_at) or 0,
        updated_at_ms=parse_time(seen.updated_at) or 0,
        address=str(Address(f"{app}.{DOMAIN}", PUBLIC_PORT)),
        tls=True,
        headers={ROUTE: seen.id},
        exit_code=_exit_code(seen.events or ()),
    )


def _state(seen: SeenMachine) -> MachineState:
    if seen.state in _STATES:
        return cast("MachineState", seen.state)
    if seen.state not in _KNOWN_AS:
        _log.warning("machine %s is in a state that is not known: %.40r", seen.id, seen.state)
    return _KNOWN_AS.get(seen.state, _TRANSITIONAL)


def _exit_code(events: tuple[Event, ...]) -> int | None:
    """Return the code of the newest exit among a machine's events."""
    exits = [one for one in events if one.type == "exit" and one.request is not None]
    newest = max(exits, key=lambda one: one.timestamp, default=None)
    exit_event = newest.request.exit_event if newest is not None and newest.request else None
    return exit_event.exit_code if exit_event is not None else None


def volume_of(app: str, seen: SeenVolume) -> Volume | None:
    """Return a volume as the port has it; None in a state that is not known."""
    if seen.state not in _VOLUME_STATES:
        return None
    holder = seen.attached_machine_id
    state = cast("VolumeState", seen.state)
    if state in {"created", "detached"} and holder:
        state = "attached"  # Fly calls a volume `created` for as long as it exists
    return Volume(
        id=str(Id(app, seen.id)),
        name=seen.name,
        state=state,
        region=seen.region,
        size_gb=seen.size_gb,
        attached_machine_id=str(Id(app, holder)) if holder else None,
        created_at_ms=parse_time(seen.created_at) or 0,
    )


def event_lines(seen: SeenMachine, *, lines: int) -> tuple[str, ...]:
    """Return the newest events of a machine as lines, the oldest first."""
    ordered = sorted(seen.events or (), key=lambda one: one.timestamp)
    texts = [_event_line(one) for one in ordered]
    return tuple(texts[-lines:]) if lines > 0 else ()


def _event_line(event: Event) -> str:
    parts = [time_text(event.timestamp), event.type, event.status]
    parts.append(f"(by {event.source})" if event.source else "")
    return " ".join(part for part in parts if part)
