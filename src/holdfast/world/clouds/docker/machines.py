"""Steps on one machine's containers: find, make, replace, start, remove.

A machine has one container of its name, and at most one more that ends in `.next`: a specification
stored for the next start. The first is removed before the second takes its name, so a crash between
the two leaves the second alone, which then is the machine. The key to sealed values is put into a
volume of the container's own before each start; the controller empties the file when it has read
it. Call with the machine's lock held.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Final

from aiodocker import Docker
from msgspec import Struct

from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.docker.answers import Container, state_of
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.listing import list_ours
from holdfast.world.clouds.docker.shape import (
    KEY_FILE,
    KEY_FOLDER,
    LABEL_MACHINE,
    LABEL_NAME,
    LABEL_OWNER,
    LABEL_UID,
    NEXT,
    Plan,
    container_config,
    container_name,
    sealed_in,
)
from holdfast.world.clouds.port import (
    CAPACITY,
    COLLISION,
    INVALID,
    LABEL_INSTANCE,
    NAME_TAKEN,
    NOT_FOUND,
    MachineSpec,
)

START_S: Final = 60.0
"""The longest that an engine may take to start a container, in seconds."""


class Pair(Struct, frozen=True):
    """A machine's container, and the one that replaces it at its next start."""

    now: Container
    following: str = ""
    """The id of the next container, empty for none."""

    @property
    def name(self) -> str:
        """Return the machine's name."""
        return self.now.labels.get(LABEL_NAME, "")

    @property
    def running(self) -> bool:
        """Return whether its program runs."""
        return state_of(self.now.state.status) in {"started", "stopping", "starting", "suspended"}


class Containers:
    """The containers of one plane on one engine."""

    def __init__(
        self, engine: Engine, *, owner: str, keys: Callable[[MachineSpec], Secret | None]
    ) -> None:
        """`keys` returns the key that opens a machine's sealed values."""
        self._engine = engine
        self._owner = owner
        self._keys = keys

    async def find(self, machine_id: str) -> Outcome[Pair]:
        """Return a machine's containers; fail with `not_found` if there is none."""
        listed = await list_ours(self._engine, self._owner, f"{LABEL_MACHINE}={machine_id}")
        if not isinstance(listed, Ok):
            return listed
        following = [one for one in listed.value if _is_next(one.names)]
        now = [one for one in listed.value if not _is_next(one.names)]
        if not now and not following:
            return Permanent(NOT_FOUND, f"machine {machine_id}: no such machine")
        shown = await self.show((now or following)[0].id)
        if not isinstance(shown, Ok):
            return shown
        return Ok(Pair(shown.value, following[0].id if now and following else ""))

    async def show(self, container: str) -> Outcome[Container]:
        """Return a container by id or name."""
        return await self._engine.read(
            Container, lambda docker: docker.containers.container(container).show()
        )

    async def holder(self, name: str) -> Outcome[None]:
        """Fail with `name_taken`, or `collision`, if a container holds a machine's name."""
        shown = await self.show(container_name(name))
        if isinstance(shown, Ok):
            return self._taken(name, shown.value)
        absent = isinstance(shown, Permanent) and shown.code == NOT_FOUND
        return Ok(None) if absent else shown

    async def make(self, plan: Plan, *, following: bool = False) -> Outcome[str]:
        """Make a container that does not run yet; return its id."""
        name = container_name(plan.spec.name) + (NEXT if following else "")
        config = container_config(plan)

        async def create(docker: Docker) -> str:
            return (await docker.containers.create(config, name=name)).id

        made = await self._engine.call(create)
        if isinstance(made, Conflict) and made.code == NAME_TAKEN:
            held = await self.holder(plan.spec.name)
            return made if isinstance(held, Ok) else held
        return made

    async def promote(self, pair: Pair) -> Outcome[Container]:
        """Give the next container the machine's name, after removing the one that has it."""
        if pair.following:
            removed = await self.remove(pair.now.id)
            if not isinstance(removed, Ok):
                return removed
        following = pair.following or pair.now.id
        name = container_name(pair.name)

        async def rename(docker: Docker) -> None:
            await docker.containers.container(following).rename(name)

        if pair.following or _is_next([pair.now.name]):
            renamed = await self._engine.call(rename)
            if not isinstance(renamed, Ok):
                return renamed
        return await self.show(following)

    async def start(self, container: Container) -> Outcome[Container]:
        """Put the key in, and start it."""
        placed = await self._put_key(container)
        if not isinstance(placed, Ok):
            return placed

        async def start(docker: Docker) -> None:
            await docker.containers.container(container.id).start()

        started = await self._engine.call(start, within_s=START_S)
        return await self.show(container.id) if isinstance(started, Ok) else started

    async def signal(self, container: str, signal: str) -> Outcome[None]:
        """Send a running container a signal."""
        return await self._engine.call(
            lambda docker: docker.containers.container(container).kill(signal=signal)
        )

    async def remove(self, container: str) -> Outcome[None]:
        """Kill and remove a container with what only it has; named volumes stay."""
        await self.signal(container, "SIGKILL")

        async def delete(docker: Docker) -> None:
            await docker.containers.container(container).delete(force=True, v=True)

        removed = await self._engine.call(delete, within_s=START_S)
        absent = isinstance(removed, Permanent) and removed.code == NOT_FOUND
        return Ok(None) if absent else removed

    async def _put_key(self, container: Container) -> Outcome[None]:
        """Put the key to its sealed values where its controller reads it; nothing without any."""
        sealed = sealed_in(container.environment)
        if not sealed:
            return Ok(None)
        labels = container.labels
        spec = MachineSpec(
            name=labels.get(LABEL_NAME, ""), instance_id=labels.get(LABEL_INSTANCE, ""),
            sandbox_id="", account_id="", sealed=sealed,
        )  # fmt: skip
        try:
            key = self._keys(spec)
        except ValueError as error:  # no key of the ring opens it
            return Permanent(
                INVALID, f"its sealed values cannot be opened: {brief(error)}; restart the instance"
            )
        if key is None:
            return Ok(None)
        archive = key_archive(key, int(labels.get(LABEL_UID, "0")))

        async def put(docker: Docker) -> None:
            await docker.containers.container(container.id).put_archive(KEY_FOLDER, archive)

        return await self._engine.call(put)

    def _taken(self, name: str, found: Container) -> Failure:
        holder = found.labels.get(LABEL_MACHINE, found.id)
        if found.labels.get(LABEL_OWNER) != self._owner:
            text = f"the container {found.name} is not this plane's, and has the name {name!r}"
            return Conflict(COLLISION, text, holder)
        return Conflict(NAME_TAKEN, f"machine {holder} has the name {name!r}", holder)


def key_archive(key: Secret, uid: int) -> bytes:
    """Return a tar file with the key, readable by its user alone."""
    data = key.reveal().encode()
    entry = tarfile.TarInfo(KEY_FILE)
    entry.size, entry.uid, entry.gid, entry.mode = len(data), uid, uid, 0o600
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def full(text: str) -> Retryable:
    """Return the refusal to start a machine whose volume is too large."""
    fix = "make room in it, or set HOLDFAST_DOCKER_DISK_GB"
    return Retryable(CAPACITY, f"{text}, so its machine does not start: {fix}")


def _is_next(names: list[str]) -> bool:
    return any(name.endswith(NEXT) for name in names)
