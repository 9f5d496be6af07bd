"""Rotates the sealing key while the plane runs, and reseals what older keys sealed.

The new key is on the disk before anything is sealed with it, and all keys open. Each instance takes
its resealed texts in one event that names the old ones, so a secret that is set meanwhile is kept.
A rotation that was interrupted is repeated as a whole: while any text is sealed with an older key,
no further key is made. Old keys stay until `keys drop` finds no text that they sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.actors import calls
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.instances.definition import arrival
from holdfast.instances.effects import KEY_NAME
from holdfast.instances.events import SecretsResealed
from holdfast.instances.ports import Context
from holdfast.instances.presenters import state_of
from holdfast.instances.state import Instance
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.chance import Chance
from holdfast.plane.operations import instance_address
from holdfast.plane.rig_tokens import SealedRigs
from holdfast.plane.secret_encryption import KeyRing, rotate
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.api.plane import KeysRotate, KeysRotated

INSTANCES_EACH: Final = 200
"""Instances resealed by one call at most, which takes seconds; the next call continues."""

_PAGE: Final = 200


class Held(NamedTuple):
    """The sealed texts of one instance, each with the name that it is bound to as context."""

    instance: str
    account: str
    texts: dict[str, str]


def _texts(state: Instance) -> dict[str, str]:
    held = state.credentials
    keys = dict.fromkeys((held.sealed_key, held.pending_sealed), KEY_NAME)
    secrets = {text: name for name, text in state.config.secrets.items()}
    return {text: name for text, name in (keys | secrets).items() if text}


async def held_texts(reader: Reader, *, after: str = "") -> AsyncIterator[Held]:
    """Yield the sealed texts of every instance, in the order of their ids."""
    while page := await reader.views(INSTANCE_VIEW, account=None, after=after, limit=_PAGE):
        for instance, _body, _seq in page:
            loaded = await reader.load(instance_address(instance))
            if loaded is not None:
                state = state_of(loaded, instance)
                yield Held(instance, state.account, _texts(state))
        after = page[-1][0]
        await asyncio.sleep(0)


class KeyRotation:
    """The handler of `keys.rotate`."""

    def __init__(
        self,
        ring: KeyRing,
        keys: Path,
        *,
        reader: Reader,
        mailboxes: Mailboxes,
        chance: Chance,
        rigs: SealedRigs,
    ) -> None:
        """Rotate the ring in the folder `keys`, and `ring`, the copy in memory of this plane."""
        self._ring = ring
        self._keys = keys
        self._reader = reader
        self._mailboxes = mailboxes
        self._chance = chance
        self._rigs = rigs
        self._turn = asyncio.Lock()

    async def rotate(self, call: Call) -> Reply:
        """Make a key unless a rotation is unfinished, and reseal what older ones sealed.

        That is INSTANCES_EACH instances at most, and after the last of them the rigs of towns.
        """
        body: KeysRotate = call.body
        async with self._turn:
            made = not body.after and not await self._is_under_way()
            if made:
                new = await asyncio.to_thread(rotate, self._keys, now_ms=call.now_ms)
                self._ring.follow(new)
            resealed = busy = done = 0
            last = ""
            async for held in self._stale(after=body.after):
                if done == INSTANCES_EACH:
                    break
                taken = await self._reseal(call, held)
                resealed, busy, done = resealed + taken, busy + (not taken), done + 1
                last = held.instance
            after = last if done == INSTANCES_EACH else ""
            if not after:
                resealed += await self._rigs.reseal()
            return Reply(
                KeysRotated(
                    key=self._ring.newest, made=made, resealed=resealed, busy=busy, next=after
                )
            )

    async def _is_under_way(self) -> bool:
        """Return whether any text is sealed with an older key, so that a rotation is unfinished."""
        async for _ in self._stale():
            return True
        return bool(await self._rigs.stale())

    async def _stale(self, *, after: str = "") -> AsyncIterator[Held]:
        async for held in held_texts(self._reader, after=after):
            old = {
                text: name for text, name in held.texts.items() if self._ring.needs_resealing(text)
            }
            if old:
                yield held._replace(texts=old)

    async def _reseal(self, call: Call, held: Held) -> int:
        """Send an instance its resealed texts; return their number, 0 if not yet taken."""
        sealed = {}
        for text, name in held.texts.items():
            context = Context(held.account, held.instance, name)
            sealed[text] = self._ring.seal(self._ring.open(text, context), context)
        answer = await calls.ask(
            call,
            SecretsResealed(sealed=sealed),
            mailboxes=self._mailboxes,
            chance=self._chance,
            actor=instance_address(held.instance),
            arrival=arrival,
            dedupe=call.endpoint,
        )
        return len(sealed) if answer.stamp is not None else 0
