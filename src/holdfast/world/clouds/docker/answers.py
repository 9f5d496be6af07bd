"""What an engine answers, decoded: containers, volumes, networks, and its refusals by kind. Pure.

Docker and Podman give one refusal different statuses (a taken name is 409 or 500), so the text
decides, and the status where the text says nothing. A 404 is `not_found` only if its text says that
the container or volume is absent: a proxy in between answers 404 as well, and what is not found may
be replaced.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct, field

from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.outcome import Conflict, Failure, Permanent, Retryable
from holdfast.kernel.secret import redact
from holdfast.world.clouds.errors import MESSAGE_CHARS_MAX
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    DENIED,
    INVALID,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    TRANSIENT,
    MachineState,
)

SUBNET_TAKEN: Final = "subnet_taken"
"""Conflict: addresses of a new network are in use on the engine's host."""

Subject: TypeAlias = Literal["machine", "volume", "network"]

_UNREACHABLE: Final = 900
"""The status aiodocker gives where no connection came about."""
_HOLDER: Final = re.compile(r"\b[0-9a-f]{64}\b")
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_ABSENT: Final = ("no such container", "no container with", "no such network", "network not found",
                  "unable to find network", "no such volume", "no such exec")  # fmt: skip
_STATE: Final = ("is not running", "container state improper", "not running", "is being used",
                 "is in use", "is restarting", "is paused", "removal of container")  # fmt: skip
_NO_IMAGE: Final = ("no such image", "image not known")
_NO_ROOM: Final = ("no space left", "cannot allocate memory", "quota exceeded")
_SUBNET: Final = ("already used on the host", "overlaps with", "is already being used",
                  "already allocated")  # fmt: skip


class State(Struct, frozen=True, rename="pascal"):
    """The state of a container."""

    status: str = ""
    exit_code: int = 0
    started_at: str = ""
    error: str = ""
    out_of_memory: bool = field(default=False, name="OOMKilled")


class Config(Struct, frozen=True, rename="pascal"):
    """What a container was made with."""

    labels: dict[str, str] | None = None
    env: list[str] | None = None


class Endpoint(Struct, frozen=True):
    """A container's place in a network."""

    address: str = field(default="", name="IPAddress")


class Published(Struct, frozen=True, rename="pascal"):
    """A port of the host that leads to one of a container."""

    host_ip: str = ""
    host_port: str = ""


class NetworkSettings(Struct, frozen=True, rename="pascal"):
    """The networks of a container, and its published ports."""

    networks: dict[str, Endpoint] | None = None
    ports: dict[str, list[Published] | None] | None = None


class Container(Struct, frozen=True, rename="pascal"):
    """One container in full."""

    id: str
    name: str
    created: str = ""
    state: State = State()
    config: Config = Config()
    network_settings: NetworkSettings = NetworkSettings()

    @property
    def labels(self) -> dict[str, str]:
        """Return its labels."""
        return self.config.labels or {}

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables it was made with."""
        pairs = (text.partition("=") for text in self.config.env or ())
        return {name: value for name, _, value in pairs}


class Listed(Struct, frozen=True, rename="pascal"):
    """One container of a listing."""

    id: str
    names: list[str] = []
    labels: dict[str, str] | None = None
    state: str = ""


class EngineVolume(Struct, frozen=True, rename="pascal"):
    """One volume of the engine."""

    name: str
    labels: dict[str, str] | None = None
    created_at: str = ""


class AddressRange(Struct, frozen=True, rename="pascal"):
    """Addresses of a network."""

    subnet: str = ""
    gateway: str = ""


class AddressPlan(Struct, frozen=True, rename="pascal"):
    """How a network gives addresses."""

    config: list[AddressRange] | None = None


class EngineNetwork(Struct, frozen=True, rename="pascal"):
    """One network of the engine."""

    name: str
    labels: dict[str, str] | None = None
    addresses: AddressPlan = field(default=AddressPlan(), name="IPAM")


class EngineInfo(Struct, frozen=True, rename="pascal"):
    """What an engine says of itself and its host."""

    name: str = ""
    driver: str = ""
    memory_limit: bool = False
    pids_limit: bool = False
    security_options: list[str] | None = None


_STATES: Final[dict[str, MachineState]] = {
    "created": "created",
    "configured": "created",
    "initialized": "created",
    "running": "started",
    "restarting": "starting",
    "paused": "suspended",
    "stopping": "stopping",
    "stopped": "stopped",
    "exited": "stopped",
    "removing": "destroying",
    "dead": "failed",
}


def state_of(status: str) -> MachineState:
    """Return the machine's state for an engine's word; an unknown one counts as failed."""
    return _STATES.get(status, "failed")


def exit_code_of(state: State) -> int | None:
    """Return the exit code as the port has it, killed by signal n as -n; None while it runs."""
    if state_of(state.status) != "stopped":
        return None
    return 128 - state.exit_code if state.exit_code > 128 else state.exit_code  # noqa: PLR2004


def moment_ms(text: str) -> int:
    """Return an engine's time in milliseconds; 0 for none (the year 1) or an unreadable one."""
    found = _STAMP.match(text)
    if found is None:
        return 0
    fraction = (found[2] or ".0")[:7]
    zone = "+00:00" if found[3] == "Z" else found[3]
    moment = datetime.fromisoformat(f"{found[1]}{fraction:0<7}{zone}").astimezone(UTC)
    return max(0, int(moment.timestamp() * SECOND_MS))


def classify(status: int, text: str, *, subject: Subject) -> Failure:
    """Return the typed failure for an engine's refusal."""
    message = f"{status}: {redact(text)[:MESSAGE_CHARS_MAX]}"
    low = text.lower()
    if status == _UNREACHABLE:
        return Retryable(TRANSIENT, f"the engine does not answer: {redact(text)[:200]}")
    if "name" in low and "in use by" in low:
        holder = _HOLDER.search(low)
        return Conflict(NAME_TAKEN, message, holder[0] if holder else None)
    if _has(low, _NO_IMAGE):
        return Permanent(INVALID, f"{message}; build it with holdfast image build")
    if subject == "network" and _has(low, _SUBNET):
        return Conflict(SUBNET_TAKEN, message)
    if status == 404:  # noqa: PLR2004
        return _absent(low, message, subject)
    if status == 409 or _has(low, _STATE):  # noqa: PLR2004
        return Conflict(CONFLICT, message)
    if _has(low, _NO_ROOM):
        return Retryable(CAPACITY, message)
    if status in {401, 403}:
        return Permanent(DENIED, message)
    if status in {400, 405, 406, 422}:
        return Permanent(INVALID, message)
    return Retryable(TRANSIENT, message)


def _absent(low: str, message: str, subject: Subject) -> Failure:
    if not _has(low, _ABSENT):
        return Retryable(TRANSIENT, f"{message} (no word of what is absent: is this an engine?)")
    missing = subject == "machine" and "volume" in low
    return Permanent(MISSING_VOLUME if missing else NOT_FOUND, message)


def _has(low: str, markers: tuple[str, ...]) -> bool:
    return any(marker in low for marker in markers)


def stats_of(answer: Any) -> Any:
    """Return one sample of figures: Podman's client wraps it in a list of one."""
    return answer[0] if isinstance(answer, list) and answer else answer


class CpuUsage(Struct, frozen=True):
    """CPU time in nanoseconds."""

    total_usage: int = 0


class CpuFigures(Struct, frozen=True):
    """Figures of the processors."""

    cpu_usage: CpuUsage = CpuUsage()


class MemoryFigures(Struct, frozen=True):
    """Figures of memory in bytes; `stats` is the cgroup's own list, where the engine gives it."""

    usage: int = 0
    stats: dict[str, int] = {}

    @property
    def resident(self) -> int:
        """Return the resident bytes: without the file cache where that is told apart."""
        for name in ("anon", "total_rss", "rss"):
            if name in self.stats:
                return self.stats[name]
        return self.usage


class PidFigures(Struct, frozen=True):
    """Figures of processes."""

    current: int = 0


class Figures(Struct, frozen=True):
    """One sample of a container's use."""

    cpu_stats: CpuFigures = CpuFigures()
    memory_stats: MemoryFigures = MemoryFigures()
    pids_stats: PidFigures = PidFigures()


class VolumeSize(Struct, frozen=True, rename="pascal"):
    """The bytes of a volume, -1 if the engine does not know."""

    size: int = -1


class SizedVolume(Struct, frozen=True, rename="pascal"):
    """A volume in the engine's account of its disk."""

    name: str
    usage_data: VolumeSize | None = None


class DiskUse(Struct, frozen=True, rename="pascal"):
    """The engine's account of its disk."""

    volumes: list[SizedVolume] | None = None
