"""Volumes of the engine: named, labelled, each with a user of its own.

No engine forks a volume, so a fork is a copy that a container makes. Another container, which is
never started, marks a copy as unfinished: it is made before the new volume and removed when the
copy is whole, and as long as it is there, the new volume counts as absent. A volume that a running
machine writes to is not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiodocker import Docker, DockerError

from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.docker.answers import Container, EngineVolume, Listed, moment_ms
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.listing import list_containers
from holdfast.world.clouds.docker.shape import (
    LABEL_MACHINE,
    LABEL_OWNER,
    LABEL_REGION,
    LABEL_UID,
    PREFIX,
    Limits,
    ulimits,
)
from holdfast.world.clouds.port import (
    CONFLICT,
    MISSING_VOLUME,
    NOT_FOUND,
    TRANSIENT,
    Volume,
    VolumeSpec,
    VolumeState,
)

LABEL_VOLUME_NAME: Final = "holdfast_volume_name"
LABEL_SIZE_GB: Final = "holdfast_size_gb"

UID_FIRST: Final = 10_000
UID_COUNT: Final = 50_000
"""Users of machines: below 65,536, which is all that an engine without root has."""

_COPY: Final = ("sh", "-c", "rm -rf /to/..?* /to/.[!.]* /to/* && cp -a /from/. /to/ && sync -f /to")
_ID_CHARS: Final = 20


class Volumes:
    """All volumes of one plane on one engine."""

    def __init__(self, engine: Engine, *, owner: str, image: str, limits: Limits) -> None:
        """Copy with containers of `image`."""
        self._engine = engine
        self._owner = owner
        self._image = image
        self._limits = limits
        self._fresh: set[str] = set()

    async def create(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Make or fork a volume; the same name and key return the same volume again."""
        volume_id = self._id(spec.name, idempotency_key)
        source: EngineVolume | None = None
        if spec.source_volume_id is not None:
            read = await self.inspect(spec.source_volume_id, absent=NOT_FOUND)
            if not isinstance(read, Ok):
                return read
            source = read.value
        taken = await self.listed()
        if not isinstance(taken, Ok):
            return taken
        there = volume_id in {one.name for one in taken.value}
        if source is not None:
            made = await self._fork(volume_id, spec, source, taken.value, timeout_ms / 1_000)
        elif not there:
            made = await self._make(volume_id, spec, source, taken.value)
        else:
            made = Ok(None)
        return await self.describe(volume_id) if isinstance(made, Ok) else made

    async def describe(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume's current state; fail with `not_found`."""
        found = await self.inspect(volume_id, absent=NOT_FOUND)
        if not isinstance(found, Ok):
            return found
        holders = await self.holders(volume_id)
        if not isinstance(holders, Ok):
            return holders
        return Ok(self._volume(found.value, holders.value))

    async def find(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return the volumes of this name, oldest first."""
        found = await self.listed()
        if not isinstance(found, Ok):
            return found
        named = [one for one in found.value if (one.labels or {}).get(LABEL_VOLUME_NAME) == name]
        volumes = []
        for one in sorted(named, key=lambda one: (moment_ms(one.created_at), one.name)):
            described = await self.describe(one.name)
            if isinstance(described, Ok):
                volumes.append(described.value)
            elif not (isinstance(described, Permanent) and described.code == NOT_FOUND):
                return described
        return Ok(tuple(volumes))

    async def destroy(self, volume_id: str) -> Outcome[None]:
        """Remove a volume with its data; fail with `conflict` while a machine holds it."""
        described = await self.describe(volume_id)
        if not isinstance(described, Ok):
            return described
        holder = described.value.attached_machine_id
        if holder is not None:
            text = f"volume {volume_id} is attached to machine {holder}"
            return Conflict(CONFLICT, text, holder)

        async def remove(docker: Docker) -> None:
            await (await docker.volumes.get(volume_id)).delete()

        removed = await self._engine.call(remove, subject="volume")
        self._fresh.discard(volume_id)
        return removed

    async def inspect(self, volume_id: str, *, absent: str) -> Outcome[EngineVolume]:
        """Return a volume of ours that is whole; another, or none, fails with the code `absent`."""

        async def show(docker: Docker) -> Any:
            return await (await docker.volumes.get(volume_id)).show()

        gone = Permanent(absent, f"volume {volume_id}: volume does not exist")
        if not volume_id.startswith(PREFIX):
            return gone
        found = await self._engine.read(EngineVolume, show, subject="volume")
        if isinstance(found, Permanent) and found.code == NOT_FOUND:
            return gone
        if not isinstance(found, Ok):
            return found
        if (found.value.labels or {}).get(LABEL_OWNER) != self._owner:
            return gone
        marked = await self._mark(volume_id)
        if not isinstance(marked, Ok):
            return marked
        return gone if marked.value else found

    async def check(self, volume_id: str, *, machine_id: str) -> Outcome[EngineVolume]:
        """Fail with `missing_volume`, or `conflict` if another machine holds it."""
        found = await self.inspect(volume_id, absent=MISSING_VOLUME)
        if not isinstance(found, Ok):
            return found
        holders = await self.holders(volume_id)
        if not isinstance(holders, Ok):
            return holders
        other = next((one for one in holders.value if one not in {"", machine_id}), None)
        if other is not None:
            return Conflict(CONFLICT, f"volume {volume_id} is attached to machine {other}", other)
        self._fresh.discard(volume_id)
        return found

    async def holders(self, volume_id: str) -> Outcome[list[str]]:
        """Return the ids of the machines that have the volume, running or not."""
        found = await self._engine.read(
            list[Listed],
            lambda docker: list_containers(docker, {"volume": [volume_id]}),
        )
        if not isinstance(found, Ok):
            return found
        ids = ((one.labels or {}).get(LABEL_MACHINE, "") for one in found.value)
        return Ok(sorted({one for one in ids if one}))

    async def listed(self) -> Outcome[list[EngineVolume]]:
        """Return every volume of this plane."""

        async def ask(docker: Docker) -> Any:
            filters = {"label": f"{LABEL_OWNER}={self._owner}"}
            return (await docker.volumes.list(filters=filters))["Volumes"] or []

        return await self._engine.read(list[EngineVolume], ask, subject="volume")

    # -- making

    async def _make(
        self, volume_id: str, spec: VolumeSpec, source: EngineVolume | None,
        taken: Sequence[EngineVolume],
    ) -> Outcome[None]:  # fmt: skip
        of_source = (source.labels or {}) if source is not None else {}
        config = {
            "Name": volume_id,
            "Labels": {
                LABEL_OWNER: self._owner,
                LABEL_VOLUME_NAME: spec.name,
                LABEL_REGION: spec.region,
                LABEL_SIZE_GB: of_source.get(LABEL_SIZE_GB, str(spec.size_gb)),
                LABEL_UID: of_source.get(LABEL_UID, str(free_uid(volume_id, taken))),
            },
        }

        async def make(docker: Docker) -> None:
            await docker.volumes.create(config)

        made = await self._engine.call(make, subject="volume")
        if isinstance(made, Ok) and source is None:
            self._fresh.add(volume_id)
        return made

    async def _fork(
        self, volume_id: str, spec: VolumeSpec, source: EngineVolume,
        taken: Sequence[EngineVolume], within_s: float,
    ) -> Outcome[None]:  # fmt: skip
        """Make the mark, the volume and the copy, or go on where an earlier try was cut."""
        marked = await self._mark(volume_id)
        if not isinstance(marked, Ok):
            return marked
        there = volume_id in {one.name for one in taken}
        if there and not marked.value:
            return Ok(None)
        idle = await self._refuse_running(source.name)
        if not isinstance(idle, Ok):
            return idle
        if not marked.value:
            placed = await self._engine.call(
                lambda docker: docker.containers.create(
                    self._side_container(("true",)), name=_mark_name(volume_id)
                )
            )
            if not isinstance(placed, Ok):
                return placed
        made = Ok(None) if there else await self._make(volume_id, spec, source, taken)
        if not isinstance(made, Ok):
            return made
        copied = await self._copy(source.name, volume_id, within_s)
        if not isinstance(copied, Ok):
            return copied
        return await self._engine.call(
            lambda docker: docker.containers.container(_mark_name(volume_id)).delete(force=True)
        )

    async def _refuse_running(self, volume_id: str) -> Outcome[None]:
        found = await self._engine.read(
            list[Listed],
            lambda docker: list_containers(docker, {"volume": [volume_id], "status": ["running"]}),
        )
        if not isinstance(found, Ok):
            return found
        if found.value:
            return Conflict(CONFLICT, f"volume {volume_id} is in use: stop its machine, then copy")
        return Ok(None)

    async def _copy(self, source: str, target: str, within_s: float) -> Outcome[None]:
        name = f"{PREFIX}copier-{target}"
        config = self._side_container(_COPY)
        config["HostConfig"] |= {
            "CapAdd": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
            "Mounts": [
                {"Type": "volume", "Source": source, "Target": "/from", "ReadOnly": True},
                {"Type": "volume", "Source": target, "Target": "/to"},
            ],
        }

        async def copy(docker: Docker) -> int:
            with suppress(DockerError):  # of an earlier try
                await docker.containers.container(name).delete(force=True, v=True)
            container = await docker.containers.create(config, name=name)
            try:
                await container.start()
                return int((await container.wait())["StatusCode"])
            finally:
                await container.delete(force=True, v=True)

        ended = await self._engine.call(copy, within_s=within_s)
        if not isinstance(ended, Ok):
            return ended
        if ended.value:
            text = f"the copy of {source} ended with {ended.value}: is there room on the engine?"
            return Retryable(TRANSIENT, text)
        return Ok(None)

    def _side_container(self, argv: tuple[str, ...]) -> dict[str, Any]:
        """Return the order for a container of ours that is no machine: without any network."""
        return {
            "Image": self._image,
            "Cmd": list(argv),
            "Entrypoint": [],
            "User": "0:0",
            "Labels": {LABEL_OWNER: self._owner},
            "HostConfig": {
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "NetworkMode": "none",
                "PidsLimit": self._limits.pids,
                "Ulimits": ulimits(self._limits),
            },
        }

    async def _mark(self, volume_id: str) -> Outcome[str]:
        """Return the id of the mark of an unfinished copy into it, empty for none."""
        found = await self._engine.read(
            Container, lambda docker: docker.containers.container(_mark_name(volume_id)).show()
        )
        if isinstance(found, Ok):
            return Ok(found.value.id)
        absent = isinstance(found, Permanent) and found.code == NOT_FOUND
        return Ok("") if absent else found

    def _id(self, name: str, key: str) -> str:
        return f"{PREFIX}vol-{derive('volume', self._owner, name, key)[:_ID_CHARS]}"

    def _volume(self, found: EngineVolume, holders: Sequence[str]) -> Volume:
        labels = found.labels or {}
        state: VolumeState = "created" if found.name in self._fresh else "detached"
        return Volume(
            id=found.name,
            name=labels.get(LABEL_VOLUME_NAME, ""),
            state="attached" if holders else state,
            region=labels.get(LABEL_REGION, ""),
            size_gb=size_gb(found),
            attached_machine_id=holders[0] if holders else None,
            created_at_ms=moment_ms(found.created_at),
        )


def free_uid(volume_id: str, taken: Sequence[EngineVolume]) -> int:
    """Return a user for a volume that no other volume has: the kernel counts processes by user."""
    used = {uid_of(one) for one in taken}
    first = int(derive("uid", volume_id)[:8], 16) % UID_COUNT
    following = (UID_FIRST + (first + step) % UID_COUNT for step in range(UID_COUNT))
    return next((uid for uid in following if uid not in used), UID_FIRST + first)


def uid_of(volume: EngineVolume) -> int:
    """Return the user that a volume belongs to."""
    uid = (volume.labels or {}).get(LABEL_UID, "")
    return int(uid) if uid.isdecimal() else UID_FIRST


def size_gb(volume: EngineVolume) -> int:
    """Return how large a volume may become, 0 for an unknown size."""
    size = (volume.labels or {}).get(LABEL_SIZE_GB, "")
    return int(size) if size.isdecimal() else 0


def _mark_name(volume_id: str) -> str:
    return f"{PREFIX}copying-{volume_id}"
