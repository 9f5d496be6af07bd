"""Joins a restored journal with the clouds, at the first start and before anything is decided.

The clouds are newer than the backup. Each instance is told which machines of it are there now, and
goes on from those; no call of the backup is carried out. A machine whose instance the backup does
not know is kept, ended or made an instance again, as the operator has said. Of every node all is
revoked, since the backup does not know what was revoked after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from holdfast.actors.ports import Arrival, Journal, Reader
from holdfast.consent.definition import KIND as NODE_KIND
from holdfast.consent.definition import arrival as node_arrival
from holdfast.consent.events import PlaneRestored
from holdfast.consent.views import NODE_VIEW
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.effects import KEY_NAME, seen_best_first
from holdfast.instances.handlers import KEY_PREFIX
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import Context
from holdfast.instances.views import DETAIL_VIEW, INSTANCE_VIEW, decode_detail
from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import Address, address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.plane.backup.manifest import BackupError
from holdfast.plane.backup.marker import MARKER, Marker, read_marker, remove_marker, write_marker
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.files import StoreError
from holdfast.plane.wiring.part import Job, Part
from holdfast.wire.controller.identity import key_hash, sandbox_of_instance
from holdfast.world.clouds.port import (
    LABEL_ACCOUNT,
    LABEL_AGENT,
    LABEL_INSTANCE,
    LABEL_SANDBOX,
    NOT_FOUND,
    Cloud,
    Machine,
    settles_destroy,
)

PAGE: Final = 500
_RETRY: Final = Backoff(first_ms=SECOND_MS, cap_ms=MINUTE_MS)
"""Waits between tries to end a machine."""
_GONE: Final = frozenset({"destroying", "destroyed"})
_DOWN: Final = frozenset({"created", "stopped", "failed", "suspended"})


class Found(NamedTuple):
    """A machine and the name of its cloud."""

    provider: str
    machine: Machine


class Settling:
    """The work that a restore leaves; without its note there is none."""

    def __init__(
        self,
        core: Core,
        clouds: Mapping[str, Cloud],
        *,
        account: str,
        accounts: Callable[[], Awaitable[frozenset[str]]],
    ) -> None:
        """Ask `clouds`; an adopted instance whose account is unknown belongs to `account`."""
        self._core = core
        self._clouds = clouds
        self._account = account
        self._accounts = accounts
        self._journal: Journal = core.stores.journal
        self._reader: Reader = core.stores.reader
        self._to_end: list[Found] = []

    async def start(self) -> None:
        """Tell instances what is there, before the engine starts; raise StoreError if unknown."""
        marker = read_marker(self._core.home)
        if marker is None:
            return
        machines = await self._machines()
        known = await self._known()
        unknown = [one for one in machines if one.machine.labels.get(LABEL_INSTANCE) not in known]
        told = nodes = 0
        if marker.machines:
            await self._drop_calls()
            told = await self._tell(marker, known, machines)
            nodes = await self._close_nodes(marker)
        adopted = 0
        if marker.unknown == "adopt":
            adopted = await self._adopt(marker, unknown)
        if marker.unknown == "end":
            self._to_end = unknown
        if self._to_end:
            write_marker(self._core.home, replace(marker, machines=False))
        else:
            remove_marker(self._core.home)
        self._core.log.info(
            "restore.settled", backup=marker.made_at, instances=told, unknown=len(unknown),
            adopted=adopted, to_end=len(self._to_end), nodes=nodes,
        )  # fmt: skip

    async def end_unknown(self) -> None:
        """End the machines that nobody owns, as it was ordered, until all are gone."""
        tries = 0
        while self._to_end:
            self._to_end = [one for one in self._to_end if not await self._end(one)]
            if not self._to_end:
                remove_marker(self._core.home)
                return
            tries += 1
            await asyncio.sleep(_RETRY.delay_ms(tries, "restore") / SECOND_MS)

    async def _end(self, one: Found) -> bool:
        """Return whether a machine is gone, or is somebody's by now."""
        machine = one.machine
        owner = machine.labels.get(LABEL_INSTANCE, "")
        if await self._reader.view(INSTANCE_VIEW, owner) is not None:
            return True
        outcome = await self._clouds[one.provider].destroy(machine.id)
        done = settles_destroy(outcome)
        why = "" if isinstance(outcome, Ok) else outcome.message
        self._core.log.warning(
            "restore.machine_ended" if done else "restore.machine_not_ended",
            cloud=one.provider, machine=machine.id, name=machine.name, reason=why,
        )  # fmt: skip
        return done

    async def _machines(self) -> list[Found]:
        """Return every machine that lives, as its cloud's source of truth describes it."""
        found = []
        for provider, cloud in self._clouds.items():
            listed = await cloud.find({})
            if not isinstance(listed, Ok):
                raise self._unanswered(provider, f"{listed.code}: {listed.message}")
            for row in listed.value:
                machine = await self._describe(provider, row.id)
                if machine is not None:
                    found.append(Found(provider, machine))
        return found

    async def _describe(self, provider: str, machine_id: str) -> Machine | None:
        """Return a machine, or None for one that is gone; a cloud that cannot say stops the start.

        What is not known to be gone must not be taken for gone.
        """
        answer = await self._clouds[provider].describe(machine_id)
        if isinstance(answer, Ok):
            return None if answer.value.state in _GONE else answer.value
        if isinstance(answer, Permanent) and answer.code == NOT_FOUND:
            return None
        raise self._unanswered(provider, f"{answer.code}: {answer.message}")

    def _unanswered(self, provider: str, why: str) -> StoreError:
        text = f"the restore waits for the cloud {provider!r}, which does not answer: {why}"
        return StoreError(
            self._core.home / MARKER, BackupError(text), fix="look at the cloud, and start again"
        )

    async def _known(self) -> dict[str, tuple[str, str]]:
        """Return provider and sandbox id of each instance; empty where no tick has made it yet."""
        known: dict[str, tuple[str, str]] = dict.fromkeys(await self._waiting(KIND), ("", ""))
        after = ""
        while rows := await self._reader.views(DETAIL_VIEW, account=None, after=after, limit=PAGE):
            for key, body, _seq in rows:
                detail = decode_detail(body)
                known[key] = (detail.provider, detail.sandbox_id)
            after = rows[-1][0]
        return known

    async def _waiting(self, kind: str) -> list[str]:
        """Return the actors of a kind with events that no tick has taken."""
        found: list[str] = []
        skip = 0
        while page := await self._journal.waiting_actors(PAGE, skip):
            found += [actor.id for actor in page if actor.kind == kind]
            skip += len(page)
        return found

    async def _close_nodes(self, marker: Marker) -> int:
        """Tell every node that what the backup holds may have been revoked since; count them."""
        nodes = dict.fromkeys(await self._waiting(NODE_KIND))
        after = ""
        while rows := await self._reader.views(NODE_VIEW, account=None, after=after, limit=PAGE):
            nodes |= dict.fromkeys(key for key, _body, _seq in rows)
            after = rows[-1][0]
        row = node_arrival(PlaneRestored(), dedupe=f"restored:{marker.id}", source="engine")
        await self._accept([(address(NODE_KIND, node), row) for node in nodes])
        return len(nodes)

    async def _drop_calls(self) -> None:
        """Drop the calls to clouds that waited when the backup was made: the clouds went on."""
        after = ""
        while page := await self._journal.waiting_effects(PAGE, after):
            for effect in page:
                if effect.actor.kind == KIND:
                    await self._journal.finish_effect(effect.id, "unwanted", None)
            after = page[-1].id

    async def _tell(
        self, marker: Marker, known: Mapping[str, tuple[str, str]], machines: Sequence[Found]
    ) -> int:
        """Tell each instance which machines of it there are; return how many instances."""
        of: dict[str, list[Found]] = {}
        for one in machines:
            of.setdefault(one.machine.labels.get(LABEL_INSTANCE, ""), []).append(one)
        rows = []
        for instance, (provider, sandbox) in known.items():
            if provider and provider not in self._clouds:
                continue  # nobody can say what became of its machine
            ours = [
                one.machine
                for one in of.get(instance, ())
                if provider in {"", one.provider}
                and sandbox in {"", one.machine.labels.get(LABEL_SANDBOX)}
            ]
            rows.append(_told(marker, instance, ours))
        await self._accept(rows)
        return len(rows)

    async def _adopt(self, marker: Marker, unknown: Sequence[Found]) -> int:
        """Make instances of unknown machines, from their labels; return how many."""
        accounts, rows = await self._accounts(), []
        for one in unknown:
            labels = one.machine.labels
            instance, agent = labels.get(LABEL_INSTANCE, ""), labels.get(LABEL_AGENT, "")
            why = "its labels are not those of an instance"
            if agent and _is_ours(labels):
                why = "the backup has its instance as destroyed; it is kept, and can be ended"
                if await self._journal.load(address(KIND, instance)) is None:
                    why = ""
            if why:
                self._core.log.warning("restore.not_adopted", machine=one.machine.id, reason=why)
                continue
            named = labels.get(LABEL_ACCOUNT, "")
            account = named if named in accounts else self._account
            made = self._made(one, instance, agent, account)
            rows.append(
                (
                    address(KIND, instance),
                    arrival(made, dedupe=f"adopted:{marker.id}", source="engine"),
                )
            )
            rows.append(_told(marker, instance, [one.machine]))
        await self._accept(rows)
        return len(rows) // 2

    def _made(self, one: Found, instance: str, agent: str, account: str) -> events.InstanceCreated:
        """Return the making of an instance for a machine that runs already."""
        core = self._core
        api_key = core.chance.token(KEY_PREFIX)
        return events.InstanceCreated(
            account=account,
            name=f"adopted-{instance[:8]}",
            sandbox_id=one.machine.labels[LABEL_SANDBOX],
            agent=agent,
            provider=one.provider,
            region=one.machine.region,
            desired="stopped" if one.machine.state in _DOWN else "running",
            key_hash=key_hash(api_key),
            sealed_key=core.keyring.seal(api_key, Context(account, instance, KEY_NAME)),
            key_expires_ms=core.clock.now_ms() + KEY_LIFE_MS,
        )

    async def _accept(self, rows: Sequence[tuple[Address, Arrival]]) -> None:
        for first in range(0, len(rows), PAGE):
            await self._journal.accept(rows[first : first + PAGE])


def _told(marker: Marker, instance: str, machines: Sequence[Machine]) -> tuple[Address, Arrival]:
    """Return the event that tells an instance its machines."""
    event = events.Restored(machines=seen_best_first(machines), hold=marker.missing == "hold")
    row = arrival(event, dedupe=f"restored:{marker.id}", source="engine")
    return address(KIND, instance), row


def _is_ours(labels: Mapping[str, str]) -> bool:
    """Return whether the labels are those that this code gives: instance and sandbox agree."""
    try:
        return labels.get(LABEL_SANDBOX) == sandbox_of_instance(labels.get(LABEL_INSTANCE, ""))
    except ValueError:
        return False


def restored_part(settling: Settling) -> Part:
    """Return the work as a part; it starts before the engine's."""
    return Part(
        name="restored",
        start=settling.start,
        jobs=(Job("restore.end_unknown", settling.end_unknown, ends=True),),
    )
