"""What is sent to Fly's Machines API, and what of its answers is read. Pure.

Fields that Fly has and we do not use are left out, in both directions: an unknown field of an
answer is ignored, a missing one has a default. What has no value is not sent.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

IP_TYPES: Final = ("v6", "shared_v4")
"""Addresses of each app: one of its own, and one that Fly's apps share; both are free of charge."""


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the bodies that are sent."""


# ------------------------------------------------------------------------------------- apps


class CreateApp(Request, frozen=True, omit_defaults=True):
    """A new app in an organisation; machines of another network cannot reach it."""

    app_name: str
    org_slug: str
    network: str


class AssignIp(Request, frozen=True, omit_defaults=True):
    """A public address for an app."""

    type: str


class SetSecret(Request, frozen=True, omit_defaults=True):
    """A secret of an app, which its machines get as a variable of their environment."""

    value: str

    def __repr__(self) -> str:
        """Return a form without the value."""
        return "SetSecret()"


class Organization(Struct, frozen=True, kw_only=True, gc=False):
    """The owner of an app."""

    slug: str = ""


class App(Struct, frozen=True, kw_only=True, gc=False):
    """An app; in a listing it has no organisation."""

    name: str = ""
    organization: Organization = Organization()


class Apps(Struct, frozen=True, kw_only=True):
    """The apps of an organisation."""

    apps: tuple[App, ...] = ()


class SecretVersion(Struct, frozen=True, kw_only=True, gc=False):
    """The number of a secret's value: machines launched with at least this one have it."""

    version: int | None = None


# --------------------------------------------------------------------------------- machines


class Guest(Request, frozen=True, omit_defaults=True):
    """The size of a machine."""

    cpu_kind: str
    cpus: int
    memory_mb: int


class Mount(Request, frozen=True, omit_defaults=True):
    """Where a volume is in a machine's file system."""

    volume: str
    path: str


class PublishedPort(Request, frozen=True, omit_defaults=True):
    """A public port of a service, and what Fly's proxy does with its connections."""

    port: int
    handlers: tuple[str, ...]


class Published(Request, frozen=True, omit_defaults=True):
    """A port of a machine that Fly's proxy reaches; the proxy neither starts nor stops machines."""

    protocol: Literal["tcp"]
    internal_port: int
    ports: tuple[PublishedPort, ...]
    autostart: bool
    autostop: bool


class Check(Request, frozen=True, omit_defaults=True):
    """How Fly looks whether the machine answers; only shown, nothing follows from it."""

    type: Literal["http"]
    port: int
    method: str
    path: str
    interval: str
    timeout: str
    grace_period: str


class Restart(Request, frozen=True, omit_defaults=True):
    """What Fly does when the machine's program ends by itself."""

    policy: Literal["on-failure"]
    max_retries: int


class Config(Request, frozen=True, omit_defaults=True):
    """The configuration of a machine; an update replaces it as a whole."""

    image: str
    env: dict[str, str]
    guest: Guest
    metadata: dict[str, str]
    services: tuple[Published, ...]
    checks: dict[str, Check]
    restart: Restart
    mounts: tuple[Mount, ...] = ()

    def __repr__(self) -> str:
        """Return a form without the environment."""
        return f"Config(image={self.image!r}, metadata={self.metadata!r})"


class CreateMachine(Request, frozen=True, omit_defaults=True):
    """A new machine; its name is unique within the app."""

    name: str
    config: Config
    region: str = ""
    min_secrets_version: int | None = None


class UpdateMachine(Request, frozen=True, omit_defaults=True):
    """A new configuration; with `skip_launch` what runs is left alone."""

    config: Config
    min_secrets_version: int | None = None
    skip_launch: bool = False


class StopMachine(Request, frozen=True, omit_defaults=True):
    """A signal, and the time after which the machine is killed (`15s`)."""

    signal: str
    timeout: str


class Exec(Request, frozen=True, omit_defaults=True):
    """A command inside a machine; `timeout` is in seconds."""

    command: tuple[str, ...]
    timeout: int


class ExitEvent(Struct, frozen=True, kw_only=True, gc=False):
    """How a machine's program ended."""

    exit_code: int | None = None


class EventRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What belongs to an event."""

    exit_event: ExitEvent | None = None


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened to a machine; `timestamp` is in milliseconds since the epoch."""

    type: str = ""
    status: str = ""
    source: str = ""
    timestamp: int = 0
    request: EventRequest | None = None


class SeenMount(Struct, frozen=True, kw_only=True, gc=False):
    """A mount as Fly reports it."""

    volume: str = ""
    path: str = ""


class SeenConfig(Struct, frozen=True, kw_only=True):
    """What is read of a machine's configuration."""

    metadata: dict[str, str] | None = None
    mounts: tuple[SeenMount, ...] | None = None


class SeenMachine(Struct, frozen=True, kw_only=True):
    """A machine as Fly reports it."""

    id: str
    state: str
    name: str = ""
    region: str = ""
    instance_id: str = ""
    created_at: str = ""
    updated_at: str = ""
    config: SeenConfig | None = None
    events: tuple[Event, ...] | None = None


class Executed(Struct, frozen=True, kw_only=True, gc=False):
    """The result of a command."""

    exit_code: int = 0
    exit_signal: int | None = None
    stdout: str | None = ""
    stderr: str | None = ""


# ---------------------------------------------------------------------------------- volumes


class CreateVolume(Request, frozen=True, omit_defaults=True):
    """A new volume, or a copy of one, which has the size of its source."""

    name: str
    region: str = ""
    size_gb: int | None = None
    compute: Guest | None = None
    source_volume_id: str | None = None


class SeenVolume(Struct, frozen=True, kw_only=True, gc=False):
    """A volume as Fly reports it."""

    id: str
    state: str
    name: str = ""
    region: str = ""
    size_gb: int = 0
    attached_machine_id: str | None = None
    created_at: str = ""


class Done(Struct, frozen=True, kw_only=True, gc=False):
    """An answer of which nothing is read."""
